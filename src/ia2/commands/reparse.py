"""A record read again: another parser over the responses that are stored, without a model.

Gold answers and responses go through the same parser, and what follows from reading (accuracy, parse rate, which labels
were given) is computed by the functions that evaluation uses. What a model's probabilities say stays as it was. The
responses are those that were stored, up to the blank line at which they were ended: what came after is not known.

Two files cannot be replaced at one moment, so the record's JSON goes first and comes last: killed in between, a command
leaves no record instead of one whose numbers are not those of its examples, and the originals beside it bring it back.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ia2 import store
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSet, Grades, grade, label_answers
from ia2.evaluation.metrics import (
    CONDITIONS,
    Numbers,
    accuracy,
    agreement,
    class_metrics,
    confusion,
    parse_rate,
    recalls,
)
from ia2.prompts.prompt import Prompt
from ia2.report.reading import write_measured
from ia2.report.results import SCHEMA
from ia2.tasks.base import Example, TaskSpec

ORIGINAL = ".original"
"""Ends the name of a record, or of its examples, as evaluation wrote it."""


@dataclass(frozen=True)
class Reading:
    """How responses are to be read, and whether a new evaluation would read them so."""

    spec: TaskSpec
    usual: bool

    @property
    def parser(self) -> str:
        """The parser, with what it looks for."""
        sought = {"after_marker": self.spec.marker, "regex": self.spec.pattern}.get(self.spec.parser)
        return self.spec.parser if sought is None else f"{self.spec.parser} {sought!r}"


@dataclass(frozen=True)
class Reread:
    """A record as it stands and read again; `numbers` are the metrics that follow from reading.

    `num_changed` counts the rows of `examples` whose answer is another, or is judged otherwise.
    """

    path: Path
    stands: dict[str, Any]
    record: dict[str, Any]
    examples: pd.DataFrame
    numbers: Numbers
    num_changed: int

    @property
    def changes(self) -> bool:
        """Whether anything would be written otherwise than it stands, the note of who read it apart."""
        keys = (self.stands.keys() | self.record.keys()) - {"reparsed"}
        return self.num_changed > 0 or any(self.stands.get(key) != self.record.get(key) for key in keys)


@dataclass(frozen=True)
class _Condition:
    """The stored rows of one condition, their responses read."""

    rows: pd.DataFrame
    gold_labels: tuple[int, ...]
    num_labels: int
    marks: Grades

    @property
    def numbers(self) -> Numbers:
        """The metrics that follow from reading."""
        marks = self.marks
        numbers = {"accuracy": accuracy(marks.correct), "parse_rate": parse_rate(marks.parsed)}
        if self.num_labels:
            return numbers | class_metrics(self.gold_labels, marks.labels, self.num_labels)
        return numbers | {"anywhere_accuracy": accuracy(marks.anywhere)}

    @property
    def columns(self) -> pd.DataFrame:
        """The columns of the examples that follow from reading."""
        marks = {"parsed": self.marks.parsed, "correct": self.marks.correct, "anywhere_correct": self.marks.anywhere}
        return pd.DataFrame(marks, index=self.rows.index)


def reread(path: Path, reading: Reading, command: str) -> Reread:
    """The record at `path`, read again. UserError where its labels are not those of the task that reads."""
    stands, examples = store.read_object(path), pd.read_parquet(path.with_suffix(".parquet"))
    conditions = {
        CONDITIONS[bool(with_icl)]: _read(path, stands.get("labels"), rows, reading.spec)
        for with_icl, rows in examples.groupby("with_icl", sort=False)
    }
    numbers = {
        f"{name}_{key}": value
        for name, one in conditions.items()
        for key, value in one.numbers.items()
        if f"{name}_{key}" in stands["metrics"]
    }
    if "accuracy_delta" in stands["metrics"]:
        numbers["accuracy_delta"] = numbers["with_icl_accuracy"] - numbers["without_icl_accuracy"]
    columns = pd.concat([one.columns for one in conditions.values()]).sort_index()
    record = {
        **stands,
        "eval": _settings(stands["eval"], reading),
        "metrics": {**stands["metrics"], **numbers},
        **{key: value for key, value in _beside_metrics(conditions, stands).items() if key in stands},
        "reparsed": {"reader": reading.parser, "command": command},
    }
    changed = _plain(examples[columns.columns]) != _plain(columns)
    return Reread(path, stands, record, examples.assign(**columns), numbers, int(changed.any(axis=1).sum()))


def _read(path: Path, names: list[str] | None, rows: pd.DataFrame, spec: TaskSpec) -> _Condition:
    """The rows of one condition, read; `names` are the labels that the record was made with, None for free text."""
    labels = label_answers(spec) if names else ()
    golds = rows["gold"].tolist()
    if names and (list(spec.labels) != names or not {*golds} <= {*labels}):
        raise UserError(
            f"{path} was evaluated with the labels {', '.join(names)}, on whose probabilities other numbers rest; the "
            f"task {spec.name} has {', '.join(spec.labels) or 'none'} or writes them otherwise: evaluate it again"
        )
    stored = zip(rows["idx"], rows["question"], golds, strict=True)
    queries = tuple(Prompt((), Example(int(idx), question, gold)) for idx, question, gold in stored)
    gold_labels = tuple(labels.index(gold) for gold in golds) if labels else ()
    questions = EvaluationSet(spec.name, spec, queries, labels, gold_labels)
    return _Condition(rows, gold_labels, len(labels), grade(questions, rows["response"].tolist()))


def _settings(settings: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    """The `eval` part, with the parser where it is not the dataset's own: a report then keeps such records apart."""
    kept = {key: value for key, value in settings.items() if key != "reader"}
    return kept if reading.usual else {**kept, "reader": reading.parser}


def _beside_metrics(conditions: Mapping[str, _Condition], stands: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of reading beside its metrics."""
    given = {name: (one.gold_labels, one.marks.labels) for name, one in conditions.items() if one.num_labels}
    both = [conditions[name].marks.correct for name in (CONDITIONS[True], CONDITIONS[False]) if name in conditions]
    return {
        "undecided": {name: one.marks.num_undecided for name, one in conditions.items()},
        "agreement": agreement(*both) if len(both) == len(CONDITIONS) else None,
        "recall": {name: recalls(*one, stands["labels"]) for name, one in given.items()} or None,
        "confusion": {name: confusion(*one, stands["labels"]) for name, one in given.items()} or None,
    }


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The values as they compare: no answer is the same as no answer, and is no text that a parser could give."""
    return frame.astype(object).where(frame.notna(), False)


# Writing


def replace_record(new: Reread) -> None:
    """Write the record in place of the one that stands, whose files are kept if they are evaluation's own.

    To be called with the record locked.
    """
    table = new.path.with_suffix(".parquet")
    if "reparsed" not in new.stands:
        for file in (table, new.path):
            _copy(file, original_of(file))
    content = {**new.record, "schema": SCHEMA}
    write_measured(new.path, content, "examples_sha256", lambda rows: new.examples.to_parquet(rows, index=False))


def original_of(file: Path) -> Path:
    """Where a file is kept as evaluation wrote it; no reader of records takes it for one."""
    return file.with_name(file.name + ORIGINAL)


def restore_cut(root: Path) -> list[Path]:
    """Bring back the records whose replacing was cut off, as evaluation wrote them; returns their paths."""
    originals = (root / "outputs" / "evaluations").rglob(f"*.json{ORIGINAL}")
    return [path for path in sorted(file.with_suffix("") for file in originals) if _restored(path)]


def _restored(path: Path) -> bool:
    table = path.with_suffix(".parquet")
    with store.file_lock(path.with_suffix("")):
        cut = not path.exists() and table.exists()  # both are gone where a person removed them
        for file in (table, path) if cut else ():
            _copy(original_of(file), file)
    return cut


def _copy(file: Path, target: Path) -> None:
    with store.atomic_write(target) as temporary:
        shutil.copyfile(file, temporary)
