"""`ia2 reparse`: stored responses read again, and the old and new numbers side by side."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ia2 import store
from ia2.commands.card import is_behind, refresh_card
from ia2.commands.reparse import Reading, Reread, original_of, replace_record, reread, restore_cut
from ia2.config import ReparseConfig
from ia2.errors import UserError
from ia2.flows.data import name_of
from ia2.report.results import Record, read_results
from ia2.tasks import task
from ia2.tasks.answers import PARSERS
from ia2.tasks.base import TaskSpec
from ia2.tasks.pool import load_pool

log = logging.getLogger(__name__)


def reparse(config: ReparseConfig) -> list[Reread]:
    """Read the records again, show what that changes, and write it unless `dry_run`; the same again changes nothing."""
    root = store.resolve_root(config)
    for path in [] if config.dry_run else restore_cut(root):
        log.warning("%s was cut off while it was replaced, and is back as evaluation wrote it", path)
    named = {name_of(dataset): dataset for dataset in config.eval_datasets}
    records = _records(root, config, tuple(named))
    readings = {name: _reading(root, named.get(name, name), config) for name in dict.fromkeys(map(_dataset, records))}
    done = [_reparse_one(root, record, readings[_dataset(record)], config) for record in records]
    num_changed = sum(new.changes for new in done)
    verb = "would be" if config.dry_run else "are"
    print(f"{len(done)} records: {num_changed} {verb} changed, {len(done) - num_changed} read the same as they stand.")
    print("Read were the stored responses, up to the blank line: what a model said after it is not known.")
    return done


def _dataset(record: Record) -> str:
    return record.settings.eval_dataset


def _records(root: Path, config: ReparseConfig, datasets: Sequence[str]) -> list[Record]:
    """The records that pass the filters; UserError where none does."""
    results = read_results(root)
    for problem in results.problems:
        log.warning("%s is left out: %s", problem.path, problem.reason)
    chosen = [
        record
        for record in results.records
        if (not datasets or _dataset(record) in datasets)
        and (not config.model_types or record.method in config.model_types)
        and (not config.trained_datasets or record.trained_dataset in config.trained_datasets)
    ]
    if not chosen:
        found = ", ".join(dict.fromkeys(map(_dataset, results.records))) or "none"
        raise UserError(f"no record below {root / 'outputs' / 'evaluations'} is asked for; evaluated are: {found}")
    return chosen


def _reading(root: Path, dataset: str, config: ReparseConfig) -> Reading:
    """How to read the responses to a dataset: as the file says that describes it, else as it was prepared.

    Flags come before both. Usual is what an evaluation below this root would do.
    """
    name = name_of(dataset)
    own = load_pool(root, name).spec if store.pool_path(root, name).exists() else task(dataset).spec
    spec = _with_parser(own if name == dataset else task(dataset).spec, config)
    return Reading(spec, usual=Reading(spec, True).parser == Reading(own, True).parser)


def _with_parser(spec: TaskSpec, config: ReparseConfig) -> TaskSpec:
    """The spec with the parser of the flags; UserError where they do not make one."""
    implied = "regex" if config.pattern else "after_marker" if config.marker else spec.parser
    parser = config.parser or implied
    if parser not in PARSERS:
        raise UserError(f"parser={parser!r}; valid: {', '.join(PARSERS)}")
    if parser == "choice" and not spec.labels:
        raise UserError(f"parser=choice: {spec.name} has no labels to choose from; give a task file with them")
    for flag, value, reads in (("pattern", config.pattern, "regex"), ("marker", config.marker, "after_marker")):
        if value is not None and parser != reads:
            raise UserError(f"--{flag} is for the parser {reads}, not {parser}")
    given = {"parser": parser, "pattern": config.pattern, "marker": config.marker}
    return TaskSpec.model_validate(
        spec.model_dump() | {key: value for key, value in given.items() if value is not None}
    )


def _reparse_one(root: Path, record: Record, reading: Reading, config: ReparseConfig) -> Reread:
    command = config.command("reparse")
    if config.dry_run:
        new = reread(record.path, reading, command)
    else:
        with store.file_lock(record.path.with_suffix("")):
            new = reread(record.path, reading, command)
            if new.changes:
                replace_record(new)
        _mend_card(root, record)
    for line in _told(new, reading):
        print(line)
    return new


def _mend_card(root: Path, record: Record) -> None:
    """Let the card of the record's run, if that is there, say what the record says now; a killed command left it."""
    folder = None if record.run is None else store.run_folder(root, record.run)
    if folder is not None and store.is_run(folder) and is_behind(folder, record.path):
        refresh_card(root, folder)


def _told(new: Reread, reading: Reading) -> list[str]:
    """A line on the record, and its old and new numbers where it changes."""
    title = f"{new.path}, read by {reading.parser}"
    if not new.changes:
        return [f"{title}: the same"]
    width = max(map(len, new.numbers))
    rows = [f"  {'':{width}}  {'stands':>9}  {'re-read':>9}"]
    for name, value in new.numbers.items():
        rows.append(f"  {name:{width}}  {new.stands['metrics'][name]:>9.3f}  {value:>9.3f}")
    kept = f"  as evaluated: {original_of(new.path).name}"
    return [f"{title}: {new.num_changed} of {len(new.examples)} answers differ", *rows, kept, ""]
