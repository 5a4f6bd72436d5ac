"""`ia2 reparse`: stored responses parsed again, and the old and new numbers side by side."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ia2 import store
from ia2.commands.card import is_behind, refresh_card
from ia2.commands.reparse import Reparsed, original_of, parse_again, parser_name, replace_record, restore_cut
from ia2.config import Config, Filter, ReparseConfig
from ia2.errors import UserError
from ia2.flows.data import name_of
from ia2.flows.records import fields_of, passes
from ia2.report.results import Record, read_results
from ia2.tasks import task
from ia2.tasks.answers import PARSERS
from ia2.tasks.base import TaskSpec
from ia2.tasks.pool import load_pool

log = logging.getLogger(__name__)


def reparse(config: ReparseConfig) -> list[Reparsed]:
    """Parse the records again, show and (without `dry_run`) write the changes; a second time nothing changes."""
    root = store.resolve_root(config)
    for path in [] if config.dry_run else restore_cut(root):
        log.warning("%s was cut off while it was replaced, and is back as evaluation wrote it", path)
    given = {name_of(dataset): dataset for dataset in config.eval_datasets}
    records = _records(root, config, tuple(given))
    datasets = dict.fromkeys(record.settings.eval_dataset for record in records)
    specs = {name: _spec(root, given.get(name, name), config) for name in datasets}
    done = [_reparse_one(root, record, *specs[record.settings.eval_dataset], config) for record in records]
    num_changed = sum(new.changes for new in done)
    verb = "would be" if config.dry_run else "are"
    print(f"{len(done)} records: {num_changed} {verb} changed, {len(done) - num_changed} are parsed the same.")
    print("Parsed were the stored responses, up to the blank line: what a model said after it is not known.")
    return done


def _records(root: Path, config: ReparseConfig, datasets: Sequence[str]) -> list[Record]:
    """The records that pass the filters; UserError where none does."""
    results = read_results(root)
    for problem in results.problems:
        log.warning("%s is left out: %s", problem.path, problem.reason)
    chosen = [
        record
        for record in results.records
        if (not datasets or record.settings.eval_dataset in datasets)
        and passes(fields_of(record), config, tuple(Filter.model_fields.keys() - Config.model_fields))
    ]
    if not chosen:
        found = ", ".join(dict.fromkeys(record.settings.eval_dataset for record in results.records)) or "none"
        raise UserError(f"no record below {root / 'outputs' / 'evaluations'} is asked for; evaluated are: {found}")
    return chosen


def _spec(root: Path, dataset: str, config: ReparseConfig) -> tuple[TaskSpec, bool]:
    """The task to parse responses to a dataset with, and whether an evaluation below this root would parse them so.

    The task is that of the file that describes the dataset, else as it was prepared; flags come before both.
    UserError where they do not make a parser.
    """
    name = name_of(dataset)
    own = load_pool(root, name).spec if store.pool_path(root, name).exists() else task(dataset).spec
    spec = own if name == dataset else task(dataset).spec
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
    known = {key: value for key, value in given.items() if value is not None}
    spec = TaskSpec.model_validate(spec.model_dump() | known)
    return spec, parser_name(spec) == parser_name(own)


def _reparse_one(root: Path, record: Record, spec: TaskSpec, usual: bool, config: ReparseConfig) -> Reparsed:
    command = config.command("reparse")
    if config.dry_run:
        new = parse_again(record.path, spec, usual, command)
    else:
        with store.file_lock(record.path.with_suffix("")):
            new = parse_again(record.path, spec, usual, command)
            if new.changes:
                replace_record(new)
        # The card of the record's run, where that exists; a killed command may have left it behind its record
        folder = None if record.run is None else store.run_folder(root, record.run)
        if folder is not None and store.is_run(folder) and is_behind(folder, record.path):
            refresh_card(root, folder)
    title = f"{new.path}, parsed by {parser_name(spec)}"
    if not new.changes:
        print(f"{title}: the same")
        return new
    width = max(map(len, new.numbers))
    print(f"{title}: {new.num_changed} of {len(new.examples)} answers differ")
    print(f"  {'':{width}}  {'before':>9}  {'now':>9}")
    for name, value in new.numbers.items():
        print(f"  {name:{width}}  {new.before['metrics'][name]:>9.3f}  {value:>9.3f}")
    print(f"  as evaluated: {original_of(new.path).name}\n")
    return new
