"""`ia2 reparse`: another parser over the responses that are stored, without a model; old and new numbers side by side.

Gold answers and responses go through the same parser, and numbers that follow from it (accuracy, parse rate, labels
given) are computed by the functions that evaluation uses. Numbers of a model's probabilities stay as they were. The
responses are those that were stored, up to the blank line at which they were ended: text after it is not known.

Two files cannot be replaced at one moment, so the record's JSON goes first and comes last: killed in between, a command
leaves no record instead of one whose numbers are not those of its examples, and the originals beside it bring it back.
"""

import logging
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ia2 import store
from ia2.commands.card import is_behind, refresh_card
from ia2.commands.data_files import name_of
from ia2.config import Config, Filter, ReparseConfig
from ia2.errors import UserError
from ia2.evaluation.calibration import CONDITIONS
from ia2.evaluation.evaluation_set import grade, label_answers
from ia2.evaluation.metrics import (
    Numbers,
    accuracy,
    agreement,
    class_metrics,
    confusion,
    parse_rate,
    recalls,
)
from ia2.results.records import SCHEMA, Record, examine_records
from ia2.results.where import fields_of, passes
from ia2.store.measurements import write_measured
from ia2.tasks import task
from ia2.tasks.parsers import PARSERS
from ia2.tasks.pool import load_pool
from ia2.tasks.task_spec import TaskSpec

log = logging.getLogger(__name__)

ORIGINAL = ".original"
"""Ends the name of a record, or of its examples, as evaluation wrote it."""


@dataclass(frozen=True)
class Reparsed:
    """A record as it was and parsed again; `numbers` are the metrics that follow from parsing.

    `num_changed` counts the rows of `examples` whose answer is another, or is judged otherwise.
    """

    path: Path
    before: dict[str, Any]
    record: dict[str, Any]
    examples: pd.DataFrame
    numbers: Numbers
    num_changed: int

    @property
    def changes(self) -> bool:
        """True where anything would be written differently, apart from the note of the parser and command."""
        keys = (self.before.keys() | self.record.keys()) - {"reparsed"}
        return self.num_changed > 0 or any(self.before.get(key) != self.record.get(key) for key in keys)


def reparse(config: ReparseConfig) -> list[Reparsed]:
    """Parse the records again, show and (without `dry_run`) write the changes; a second time nothing changes.

    UserError where no record passes the filters.
    """
    root = store.resolve_root(config)
    if not config.dry_run:
        _restore_cut(root)
    results, given = examine_records(root), {name_of(dataset): dataset for dataset in config.eval_datasets}
    for problem in results.problems:
        log.warning("%s is left out: %s", problem.path, problem.reason)
    records = [
        record
        for record in results.found
        if (not given or record.settings.eval_dataset in given)
        and passes(fields_of(record), config, tuple(Filter.model_fields.keys() - Config.model_fields))
    ]
    if not records:
        found = ", ".join(dict.fromkeys(record.settings.eval_dataset for record in results.found)) or "none"
        raise UserError(f"no record below {root / 'outputs' / 'evaluations'} is asked for; evaluated are: {found}")
    datasets = dict.fromkeys(record.settings.eval_dataset for record in records)
    specs = {name: _spec(root, given.get(name, name), config) for name in datasets}
    done = [_reparse_one(root, record, *specs[record.settings.eval_dataset], config) for record in records]
    num_changed = sum(new.changes for new in done)
    verb = "would be" if config.dry_run else "are"
    print(f"{len(done)} records: {num_changed} {verb} changed, {len(done) - num_changed} are parsed the same.")
    print("Parsed were the stored responses, up to the blank line: what a model said after it is not known.")
    return done


def _spec(root: Path, dataset: str, config: ReparseConfig) -> tuple[TaskSpec, bool]:
    """The task to parse responses to a dataset with; True where an evaluation below this root would parse them so.

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
    return spec, _parser_name(spec) == _parser_name(own)


def _parser_name(spec: TaskSpec) -> str:
    """The parser of a task, with the text that it looks for."""
    sought = {"after_marker": spec.marker, "regex": spec.pattern}.get(spec.parser)
    return spec.parser if sought is None else f"{spec.parser} {sought!r}"


def _reparse_one(root: Path, record: Record, spec: TaskSpec, usual: bool, config: ReparseConfig) -> Reparsed:
    """Parse one record again, write it (without `dry_run`) where anything changes, and print its numbers."""
    path = record.path
    with nullcontext() if config.dry_run else store.file_lock(path.with_suffix("")):
        new = _parse_again(path, spec, usual, config.command("reparse"))
        if new.changes and not config.dry_run:
            if "reparsed" not in new.before:  # the files are evaluation's own
                for file in (path.with_suffix(".parquet"), path):
                    _copy(file, original_of(file))
            content, examples = {**new.record, "schema": SCHEMA}, new.examples
            write_measured(path, content, "examples_sha256", lambda rows: examples.to_parquet(rows, index=False))
    # The card of the record's run, where that exists; a killed command may have left it behind its record
    folder = None if config.dry_run or record.run is None else store.run_folder(root, record.run)
    if folder is not None and store.is_run(folder) and is_behind(folder, path):
        refresh_card(root, folder)
    title = f"{path}, parsed by {_parser_name(spec)}"
    if not new.changes:
        print(f"{title}: the same")
        return new
    width = max(map(len, new.numbers))
    print(f"{title}: {new.num_changed} of {len(new.examples)} answers differ")
    print(f"  {'':{width}}  {'before':>9}  {'now':>9}")
    for name, value in new.numbers.items():
        print(f"  {name:{width}}  {new.before['metrics'][name]:>9.3f}  {value:>9.3f}")
    print(f"  as evaluated: {original_of(path).name}\n")
    return new


def _parse_again(path: Path, spec: TaskSpec, usual: bool, command: str) -> Reparsed:
    """The record at `path`, parsed as `spec` says; `usual` where an evaluation of the dataset would parse so.

    UserError where its labels are not those of `spec`.
    """
    before, examples = store.read_object(path), pd.read_parquet(path.with_suffix(".parquet"))
    names = before.get("labels")
    if names and (list(spec.labels) != names or not {*examples["gold"]} <= {*label_answers(spec)}):
        raise UserError(
            f"{path} was evaluated with the labels {', '.join(names)}, on whose probabilities other numbers rest; the "
            f"task {spec.name} has {', '.join(spec.labels) or 'none'} or writes them otherwise: evaluate it again"
        )
    numbers: Numbers = {}
    beside: dict[str, dict[str, Any]] = {"undecided": {}, "recall": {}, "confusion": {}}
    columns, correct = [], {}
    for with_icl, rows in examples.groupby("with_icl", sort=False):
        name, grades = CONDITIONS[bool(with_icl)], grade(spec, rows["gold"].tolist(), rows["response"].tolist())
        found = {"accuracy": accuracy(grades.correct), "parse_rate": parse_rate(grades.parsed)}
        if names:
            labels = grades.gold_labels, grades.given_labels
            found |= class_metrics(*labels, len(names))
            beside["recall"][name], beside["confusion"][name] = recalls(*labels, names), confusion(*labels, names)
        else:
            found["anywhere_accuracy"] = accuracy(grades.anywhere)
        numbers |= {f"{name}_{key}": value for key, value in found.items() if f"{name}_{key}" in before["metrics"]}
        beside["undecided"][name], correct[name] = grades.num_undecided, grades.correct
        parsed = {"parsed": grades.parsed, "correct": grades.correct, "anywhere_correct": grades.anywhere}
        columns.append(pd.DataFrame(parsed, index=rows.index))
    if "accuracy_delta" in before["metrics"]:
        numbers["accuracy_delta"] = numbers["with_icl_accuracy"] - numbers["without_icl_accuracy"]
    both = len(correct) == len(CONDITIONS)
    beside["agreement"] = agreement(correct["with_icl"], correct["without_icl"]) if both else {}
    # The parser where it is not the dataset's own: a report then keeps such records apart
    settings = {key: value for key, value in before["eval"].items() if key != "reader"}
    record = {
        **before,
        "eval": settings if usual else {**settings, "reader": _parser_name(spec)},
        "metrics": {**before["metrics"], **numbers},
        **{key: value or None for key, value in beside.items() if key in before},
        "reparsed": {"reader": _parser_name(spec), "command": command},
    }
    new = pd.concat(columns).sort_index()
    # No answer is the same as no answer, and is no text that a parser could give
    was, now = (frame.astype(object).where(frame.notna(), False) for frame in (examples[new.columns], new))
    return Reparsed(path, before, record, examples.assign(**new), numbers, int((was != now).any(axis=1).sum()))


def _restore_cut(root: Path) -> None:
    """Bring back the records whose replacing was cut off, as evaluation wrote them."""
    for original in sorted((root / "outputs" / "evaluations").rglob(f"*.json{ORIGINAL}")):
        path = original.with_suffix("")
        table = path.with_suffix(".parquet")
        with store.file_lock(path.with_suffix("")):
            if not path.exists() and table.exists():  # both are gone where a person removed them
                for file in (table, path):
                    _copy(original_of(file), file)
                log.warning("%s was cut off while it was replaced, and is back as evaluation wrote it", path)


def original_of(file: Path) -> Path:
    """The place of a file as evaluation wrote it; nothing that reads records takes it for one."""
    return file.with_name(file.name + ORIGINAL)


def _copy(file: Path, target: Path) -> None:
    with store.atomic_write(target) as temporary:
        shutil.copyfile(file, temporary)
