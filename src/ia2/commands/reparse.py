"""A record parsed again: another parser over the responses that are stored, without a model.

Gold answers and responses go through the same parser, and numbers that follow from it (accuracy, parse rate, labels
given) are computed by the functions that evaluation uses. Numbers of a model's probabilities stay as they were. The
responses are those that were stored, up to the blank line at which they were ended: text after it is not known.

Two files cannot be replaced at one moment, so the record's JSON goes first and comes last: killed in between, a command
leaves no record instead of one whose numbers are not those of its examples, and the originals beside it bring it back.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ia2 import store
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSet, grade, label_answers
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
from ia2.results.records import SCHEMA
from ia2.store.measurements import write_measured
from ia2.tasks.base import Example, TaskSpec

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


def parser_name(spec: TaskSpec) -> str:
    """The parser of a task, with the text that it looks for."""
    sought = {"after_marker": spec.marker, "regex": spec.pattern}.get(spec.parser)
    return spec.parser if sought is None else f"{spec.parser} {sought!r}"


def parse_again(path: Path, spec: TaskSpec, usual: bool, command: str) -> Reparsed:
    """The record at `path`, parsed as `spec` says; `usual` where an evaluation of the dataset would parse so.

    UserError where its labels are not those of `spec`.
    """
    before, examples = store.read_object(path), pd.read_parquet(path.with_suffix(".parquet"))
    names = before.get("labels")
    labels = label_answers(spec) if names else ()
    if names and (list(spec.labels) != names or not {*examples["gold"]} <= {*labels}):
        raise UserError(
            f"{path} was evaluated with the labels {', '.join(names)}, on whose probabilities other numbers rest; the "
            f"task {spec.name} has {', '.join(spec.labels) or 'none'} or writes them otherwise: evaluate it again"
        )
    numbers: Numbers = {}
    beside: dict[str, dict[str, Any]] = {"undecided": {}, "recall": {}, "confusion": {}}
    columns, correct = [], {}
    for with_icl, rows in examples.groupby("with_icl", sort=False):
        name, golds = CONDITIONS[bool(with_icl)], rows["gold"].tolist()
        stored = zip(rows["idx"], rows["question"], golds, strict=True)
        prompts = tuple(Prompt((), Example(int(idx), question, gold)) for idx, question, gold in stored)
        gold_labels = tuple(labels.index(gold) for gold in golds) if labels else ()
        grades = grade(EvaluationSet(spec.name, spec, prompts, labels, gold_labels), rows["response"].tolist())
        found = {"accuracy": accuracy(grades.correct), "parse_rate": parse_rate(grades.parsed)}
        if names:
            found |= class_metrics(gold_labels, grades.labels, len(labels))
            beside["recall"][name] = recalls(gold_labels, grades.labels, names)
            beside["confusion"][name] = confusion(gold_labels, grades.labels, names)
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
        "eval": settings if usual else {**settings, "reader": parser_name(spec)},
        "metrics": {**before["metrics"], **numbers},
        **{key: value or None for key, value in beside.items() if key in before},
        "reparsed": {"reader": parser_name(spec), "command": command},
    }
    new = pd.concat(columns).sort_index()
    changed = _plain(examples[new.columns]) != _plain(new)
    return Reparsed(path, before, record, examples.assign(**new), numbers, int(changed.any(axis=1).sum()))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The values as they compare: no answer is the same as no answer, and is no text that a parser could give."""
    return frame.astype(object).where(frame.notna(), False)


def replace_record(new: Reparsed) -> None:
    """Write the record in place of the one before, whose files are kept if they are evaluation's own.

    To be called with the record locked.
    """
    if "reparsed" not in new.before:
        for file in (new.path.with_suffix(".parquet"), new.path):
            _copy(file, original_of(file))
    content = {**new.record, "schema": SCHEMA}
    write_measured(new.path, content, "examples_sha256", lambda rows: new.examples.to_parquet(rows, index=False))


def original_of(file: Path) -> Path:
    """The place of a file as evaluation wrote it; nothing that reads records takes it for one."""
    return file.with_name(file.name + ORIGINAL)


def restore_cut(root: Path) -> list[Path]:
    """Bring back the records whose replacing was cut off, as evaluation wrote them; returns their paths."""
    restored = []
    for original in sorted((root / "outputs" / "evaluations").rglob(f"*.json{ORIGINAL}")):
        path = original.with_suffix("")
        table = path.with_suffix(".parquet")
        with store.file_lock(path.with_suffix("")):
            if not path.exists() and table.exists():  # both are gone where a person removed them
                for file in (table, path):
                    _copy(original_of(file), file)
                restored.append(path)
    return restored


def _copy(file: Path, target: Path) -> None:
    with store.atomic_write(target) as temporary:
        shutil.copyfile(file, temporary)
