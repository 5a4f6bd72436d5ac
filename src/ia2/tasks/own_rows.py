"""A person's own rows: where they are, which can be used, and which are held out.

What would spoil a run silently (a row without text or answer, an answer that is no label, one class only) is an error
that names the row, before anything is written. What training survives (the same question with two answers, a label
that no row has) is a warning. A file is read row by row and a bounded sample of it is kept.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ia2 import store
from ia2.errors import UserError, did_you_mean
from ia2.sources import (
    HubSource,
    SourceRow,
    Table,
    check_columns,
    iterate_objects,
    load_hub_split,
    say_once,
    text_of_cell,
)
from ia2.tasks.forms import row_in_form
from ia2.tasks.items import held_out, item_of
from ia2.tasks.parsers import parse
from ia2.tasks.sampling import MIN_TRAIN, Bounds, NumberedRow, Sample, hold_out_by_label, sample_rows
from ia2.tasks.task_files import FileSource, HubRows, RowSource, TaskFile, read_task_file
from ia2.tasks.task_spec import Row, Rows, Task, TaskSpec, answer_text, columns_in, paragraph

log = logging.getLogger(__name__)

BOUNDS = Bounds()
NUM_SHOWN = 3
"""Most rows or values that a warning shows."""


@dataclass(frozen=True)
class Part:
    """Usable rows of one file or split, and its provenance."""

    name: str
    sample: Sample
    provenance: dict[str, str]

    @property
    def rows(self) -> list[Row]:
        return [numbered.row for numbered in self.sample.rows]


def read_task(path: Path) -> Task:
    """The task that a person's file describes; UserError in one line names the file, the field and the remedy."""
    described = read_task_file(path)
    spec, source, about = described.spec, described.source, described.about

    def load() -> Rows:
        try:
            return load_rows(described, path.parent)
        except UserError as error:
            raise UserError(f"{error} (task file {path})") from error

    try:
        item = item_of(described, described.example) if described.example else None
    except ValueError as error:
        raise UserError(f"{path}: [example]: {error}") from error
    origin = f"hub {source.hub}" if isinstance(source, HubRows) else f"file {Path(source.file).name}"
    return Task(
        spec=spec,
        family=about.family,
        source=about.source or origin,
        licence=about.licence,
        load=load,
        example=row_in_form(described, item) if item else {column: f"<{column}>" for column in needed_columns(spec)},
        size=about.size,
        ood_group=about.ood_group,
        form=described.form,
    )


def load_rows(described: TaskFile, folder: Path) -> Rows:
    """The rows of both parts, checked; file names are relative to `folder`.

    UserError names the row where a text or an answer is empty or an answer is no label; and the source where a column
    is missing, only one label occurs, or there are too few rows.
    """
    train, validation = _parts(described, folder)
    _check_training_rows(described.spec, train)
    if validation is None:
        return _held_out(described.spec, described.source, train)
    provenance = {
        **{f"train_{key}": value for key, value in train.provenance.items()},
        **{f"validation_{key}": value for key, value in validation.provenance.items()},
    }
    return Rows(train.rows, validation.rows, provenance)


def _parts(described: TaskFile, folder: Path) -> tuple[Part, Part | None]:
    source = described.source
    if isinstance(source, FileSource):
        names = [name for name in (source.file, source.validation_file) if name]
        try:
            paths = [folder / Path(name).expanduser() for name in names]
        except RuntimeError as error:  # ~nosuchuser
            raise UserError(f"{' and '.join(names)}: {error} Give the path in full") from None
        parts = [_file_part(described, path) for path in paths]
    else:
        hub = HubSource(source.hub, source.config, source.offline_task, source.revision)
        splits = [split for split in (source.train, source.validation) if split]
        parts = [_hub_part(described, load_hub_split(hub, split)) for split in splits]
    return parts[0], parts[1] if len(parts) > 1 else None


def _file_part(described: TaskFile, path: Path) -> Part:
    rows = _rows(described, iterate_objects(path, _source_columns(described)), str(path))
    sample = sample_rows(usable_rows(rows, described.spec, str(path)), BOUNDS, described.source.seed)
    return _part(path.name, sample, {"source": f"file {path.name}", "sha256": store.file_digest(path)})


def _hub_part(described: TaskFile, table: Table) -> Part:
    check_columns(table.source, _source_columns(described), list(table.rows[0]) if table.rows else [])
    rows = _rows(described, table.rows, table.source)
    sample = sample_rows(usable_rows(rows, described.spec, table.source), BOUNDS, described.source.seed)
    return _part(table.source, sample, table.provenance)


def _source_columns(described: TaskFile) -> tuple[str, ...]:
    """The columns of the source that a row needs, each once; of a nested one its outer part is not looked for."""
    names = [*columns_in(described.template), *columns_in(described.answer)]
    if described.choices is not None:
        names.remove("choices")
    listed = [described.choices.texts, described.choices.keys] if described.choices is not None else []
    columns = [described.columns.get(name, name) for name in names]
    outer = [column.partition(".")[0] for column in listed if column]
    return tuple(dict.fromkeys([*columns, *outer, *described.source.keep]))


def _rows(described: TaskFile, objects: Iterable[SourceRow], where: str) -> Iterator[Row | None]:
    """The rows as the task asks them, None for those that its file leaves out."""
    for number, row in enumerate(objects, start=1):
        at = f"{where}, row {number}"

        def text(row: SourceRow, column: str, at: str = at) -> str:
            return text_of_cell(row.get(column), f"{at}, column {column!r}")

        try:
            item = item_of(described, row, text)
        except ValueError as error:
            raise UserError(f"{at}: {error}") from error
        yield None if item is None else row_in_form(described, item)


def _part(name: str, sample: Sample, provenance: dict[str, str]) -> Part:
    kept = {"rows": str(sample.num_rows)}
    if len(sample.rows) < sample.num_rows:
        log.info("%s: kept a random %d of its %d rows", name, len(sample.rows), sample.num_rows)
        kept["rows_kept"] = str(len(sample.rows))
    return Part(name, sample, provenance | kept)


def rows_that_ask(described: TaskFile, folder: Path, questions: Collection[str]) -> list[tuple[str, str]]:
    """File and number of each row that asks one of the questions, and which."""
    spec = described.spec
    asked = (
        (f"{part.name}, row {one.number}", spec.question(one.row))
        for part in _parts(described, folder)
        if part is not None
        for one in part.sample.rows
    )
    return [(where, question) for where, question in asked if question in questions]


def needed_columns(spec: TaskSpec) -> tuple[str, ...]:
    """The columns of the question and those of the answer, each once."""
    return tuple(dict.fromkeys((*spec.fields, *spec.answer_fields)))


# Checks


def usable_rows(rows: Iterable[Row | None], spec: TaskSpec, where: str) -> Iterator[NumberedRow]:
    """The rows but for None, numbered; UserError names the first whose answer is no label, or, at the end, is empty.

    Free text that is not taught as it was written, or that the parser cannot read, is reported with an example.
    """
    number = 0
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    labelled: set[str] = set()  # files are long, labels few
    for number, row in enumerate(rows, start=1):
        if row is None:
            continue
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
        numbers = [" and ".join(str(one.number) for one in rows[:NUM_SHOWN]) for rows in contradicted[:NUM_SHOWN]]
        told = "%s: %d texts have more than one answer: rows %s"
        log.warning(told, train.name, len(contradicted), "; ".join(numbers))


# Validation


def _held_out(spec: TaskSpec, source: RowSource, part: Part) -> Rows:
    rows = part.rows
    how = source.hold_out
    try:
        if how == "label":
            asked = [spec.question(row) for row in rows]
            labels = [answer_label(row, spec) for row in rows]
            number = source.num_validation or default_num_validation(len(set(asked)), len(spec.labels))
            held = hold_out_by_label(asked, labels, number, source.seed)
            train = [row for index, row in enumerate(rows) if index not in held]
            validation = [row for index, row in enumerate(rows) if index in held]
        else:
            train, validation = held_out(rows, source)
    except UserError as error:
        raise UserError(f"{part.name}: {error}") from error
    described = f"{len(validation)} rows, {'by label' if how == 'label' else how}, seed {source.seed}"
    return Rows(train, validation, part.provenance | {"held_out": described})


def default_num_validation(num_questions: int, num_labels: int = 0) -> int:
    """Number of rows to hold out by default: 30% and at most 500, but one of each label, and never above half."""
    return max(min(500, num_questions * 3 // 10), min(num_labels, num_questions // 2), 1)
