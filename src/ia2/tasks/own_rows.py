"""A person's own rows: where they are, which can be used, and which are held out.

What would spoil a run silently (a row without text or answer, an answer that is no label, one class only) is an error
that names the row, before anything is written. What training survives (the same question with two answers, a label
that no row has) is a warning. A file is read row by row and a bounded sample of it is kept.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ia2 import store
from ia2.errors import UserError, did_you_mean
from ia2.sources import HubSource, check_columns, iterate_rows, load_hub_split, say_once, text_of_cell
from ia2.tasks.parsers import parse
from ia2.tasks.sampling import MIN_TRAIN, Bounds, NumberedRow, Sample, hold_out_by_label, sample_rows
from ia2.tasks.task_spec import Row, Rows, TaskSpec, answer_text, paragraph

log = logging.getLogger(__name__)

BOUNDS = Bounds()
NUM_SHOWN = 3
"""Most rows or values that a warning shows."""


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    num_validation: int | None = Field(default=None, ge=1)
    """Rows that are held out where the source has no validation part (default: 30% of them, at most 500)."""
    seed: int = 42
    """Decides which rows are held out, and which are kept of a large file."""


class FileSource(_Source):
    """Rows of a local file, and of a second one for validation."""

    file: str = Field(min_length=1)
    validation_file: str = ""


class HubRows(_Source):
    """Rows of a dataset of the hub."""

    hub: str = Field(min_length=1)
    config: str | None = None
    revision: str | None = None
    train: str = "train"
    validation: str = ""
    """The split for validation; none: rows of the training split are held out."""


RowSource = FileSource | HubRows


@dataclass(frozen=True)
class Part:
    """Usable rows of one file or split, and its provenance."""

    name: str
    sample: Sample
    provenance: dict[str, str]

    @property
    def rows(self) -> list[Row]:
        return [numbered.row for numbered in self.sample.rows]


def load_rows(spec: TaskSpec, source: RowSource, folder: Path) -> Rows:
    """The rows of both parts, checked; file names are relative to `folder`.

    UserError names the row where a text or an answer is empty or an answer is no label; and the source where a column
    is missing, only one label occurs, or there are too few rows.
    """
    train, validation = _parts(spec, source, folder)
    _check_training_rows(spec, train)
    if validation is None:
        return _held_out(spec, source, train)
    provenance = {
        **{f"train_{key}": value for key, value in train.provenance.items()},
        **{f"validation_{key}": value for key, value in validation.provenance.items()},
    }
    return Rows(train.rows, validation.rows, provenance)


def _parts(spec: TaskSpec, source: RowSource, folder: Path) -> tuple[Part, Part | None]:
    if isinstance(source, FileSource):
        names = [name for name in (source.file, source.validation_file) if name]
        try:
            paths = [folder / Path(name).expanduser() for name in names]
        except RuntimeError as error:  # ~nosuchuser
            raise UserError(f"{' and '.join(names)}: {error} Give the path in full") from None
        parts = [_file_part(spec, path, source.seed) for path in paths]
    else:
        splits = [split for split in (source.train, source.validation) if split]
        parts = [_hub_part(spec, source, split) for split in splits]
    return parts[0], parts[1] if len(parts) > 1 else None


def _file_part(spec: TaskSpec, path: Path, seed: int) -> Part:
    rows = iterate_rows(path, needed_columns(spec))
    sample = sample_rows(usable_rows(rows, spec, str(path)), BOUNDS, seed)
    return _part(path.name, sample, {"source": f"file {path.name}", "sha256": store.file_digest(path)})


def _hub_part(spec: TaskSpec, source: HubRows, split: str) -> Part:
    table = load_hub_split(HubSource(source.hub, source.config, revision=source.revision), split)
    columns = needed_columns(spec)
    check_columns(table.source, columns, list(table.rows[0]) if table.rows else [])
    rows = (
        {c: text_of_cell(row.get(c), f"{table.source}, row {number}, column {c!r}") for c in columns}
        for number, row in enumerate(table.rows, start=1)
    )
    sample = sample_rows(usable_rows(rows, spec, table.source), BOUNDS, source.seed)
    return _part(table.source, sample, table.provenance)


def _part(name: str, sample: Sample, provenance: dict[str, str]) -> Part:
    kept = {"rows": str(sample.num_rows)}
    if len(sample.rows) < sample.num_rows:
        log.info("%s: kept a random %d of its %d rows", name, len(sample.rows), sample.num_rows)
        kept["rows_kept"] = str(len(sample.rows))
    return Part(name, sample, provenance | kept)


def rows_that_ask(spec: TaskSpec, source: RowSource, folder: Path, questions: Collection[str]) -> list[tuple[str, str]]:
    """File and number of each row that asks one of the questions, and which."""
    asked = (
        (f"{part.name}, row {one.number}", spec.question(one.row))
        for part in _parts(spec, source, folder)
        if part is not None
        for one in part.sample.rows
    )
    return [(where, question) for where, question in asked if question in questions]


def needed_columns(spec: TaskSpec) -> tuple[str, ...]:
    """The columns of the question and those of the answer, each once."""
    return tuple(dict.fromkeys((*spec.fields, *spec.answer_fields)))


# Checks


def usable_rows(rows: Iterable[Row], spec: TaskSpec, where: str) -> Iterator[NumberedRow]:
    """The rows with their numbers; UserError names the first whose answer is no label, or, at the end, is empty.

    Free text that is not taught as it was written, or that the parser cannot read, is reported with an example.
    """
    number = 0
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    labelled: set[str] = set()  # files are long, labels few
    for number, row in enumerate(rows, start=1):
        faults = dict(_faults(row, spec))
        counts.update(faults.keys())
        for fault, shown in faults.items():
            first.setdefault(fault, f"row {number}: {shown}")
        if "empty" in faults:
            continue
        if spec.labels and (label := answer_label(row, spec)) not in labelled:
            _check_label(label, spec, f"{where}, row {number}")
            labelled.add(label)
        yield NumberedRow(number, row)
    if "empty" in first:
        raise UserError(
            f"{where}, {first['empty']} is empty ({counts['empty']} rows are so); fill it in, or delete such rows"
        )
    if "changed" in first:
        say_once(
            f"{where}: {counts['changed']} of {number} answers are taught without outer blanks and blank lines, at "
            f"which a response ends; {first['changed']}"
        )
    if "unreadable" in first:
        told = (
            f"{where}: the parser {spec.parser!r} cannot read {counts['unreadable']} of {number} answers: no "
            f"response is right, as in {first['unreadable']}; correct them, or take another parser, such as line"
        )
        if counts["unreadable"] == number:
            raise UserError(told)
        say_once(told)


def _faults(row: Row, spec: TaskSpec) -> Iterator[tuple[str, str]]:
    """Each fault of a row and its place or example: empty, or of free text changed and unreadable."""
    for part, columns in (("text", spec.fields), ("answer", spec.answer_fields)):
        if not any(row[column].strip() for column in columns):
            yield "empty", f"the {part} ({', '.join(columns)})"
            return
    if not spec.labels:
        answer = spec.answer(row)
        if parse(answer, spec) is None:
            yield "unreadable", _shown(answer)
        for text in (row[column] for column in spec.answer_fields):
            if (taught := answer_text(text)) != text:
                yield "changed", f"{_shown(text)} is taught as {_shown(taught)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:40]}...{text[-17:]}")


def _check_label(label: str, spec: TaskSpec, where: str) -> None:
    if label not in spec.labels:
        known, meant = ", ".join(map(repr, spec.labels)), did_you_mean(label, spec.labels)
        raise UserError(
            f"{where}: the answer {label!r} is none of the labels {known}{meant}; correct it, or add it to them"
        )


def answer_label(row: Row, spec: TaskSpec) -> str:
    """The value of the answer's column; empty for free text, whose rows are all of one kind."""
    return paragraph(row[spec.answer_fields[0]]) if spec.labels else ""


def _check_training_rows(spec: TaskSpec, train: Part) -> None:
    rows = train.sample.rows
    if len(rows) < MIN_TRAIN + 1:
        raise UserError(
            f"{train.name} has {train.sample.num_rows} rows; at least {MIN_TRAIN + 1} are needed, {MIN_TRAIN} to "
            "train on and 1 to validate with (some hundreds are better): add rows"
        )
    found = {answer_label(numbered.row, spec) for numbered in rows}
    if spec.labels and len(found) == 1:
        raise UserError(f"{train.name}: every row has the label {found.pop()!r}; at least two labels are needed")
    if missing := [label for label in spec.labels if label not in found]:
        more = f" and {len(missing) - NUM_SHOWN} more" if len(missing) > NUM_SHOWN else ""
        shown = ", ".join(map(repr, missing[:NUM_SHOWN])) + more
        log.warning("%s: none of %d rows has the label %s", train.name, len(rows), shown)
    _warn_of_contradictions(spec, train)


def _warn_of_contradictions(spec: TaskSpec, train: Part) -> None:
    rows_of: dict[str, list[NumberedRow]] = defaultdict(list)
    for numbered in train.sample.rows:
        rows_of[spec.question(numbered.row)].append(numbered)
    contradicted = [
        rows for rows in rows_of.values() if len({spec.answer(numbered.row).strip() for numbered in rows}) > 1
    ]
    if contradicted:
        log.warning(
            "%s: %d texts have more than one answer: rows %s",
            train.name,
            len(contradicted),
            "; ".join(_numbers(rows) for rows in contradicted[:NUM_SHOWN]),
        )


def _numbers(rows: Sequence[NumberedRow]) -> str:
    return " and ".join(str(numbered.number) for numbered in rows[:NUM_SHOWN])


# Validation


def _held_out(spec: TaskSpec, source: RowSource, part: Part) -> Rows:
    rows = part.rows
    asked = [spec.question(row) for row in rows]
    labels = [answer_label(row, spec) for row in rows]
    number = source.num_validation or default_num_validation(len(set(asked)), len(spec.labels))
    try:
        held = hold_out_by_label(asked, labels, number, source.seed)
    except UserError as error:
        raise UserError(f"{part.name}: {error}") from error
    train = [row for index, row in enumerate(rows) if index not in held]
    validation = [row for index, row in enumerate(rows) if index in held]
    held_out = {"held_out": f"{len(validation)} rows, by label, seed {source.seed}"}
    return Rows(train, validation, part.provenance | held_out)


def default_num_validation(num_questions: int, num_labels: int = 0) -> int:
    """Number of rows to hold out by default: 30% and at most 500, but one of each label, and never above half."""
    return max(min(500, num_questions * 3 // 10), min(num_labels, num_questions // 2), 1)
