"""Items: rows of any source in one shape, before a form of the task renders them.

A task file converts rows by its tables (`item_of`), a built-in module by its own function. A row that does not fit is
an error that names it, never a guess. An answer is always text: the hub holds labels as numbers in one dataset and as
words in the next. Of a multiple-choice question it is the index of the right choice, counted from 0 as the prompt
lists them, whatever the source calls it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from ia2.errors import UserError
from ia2.sources import HubSource, SourceRow, Table, bundled_table, load_hub_split, row_of, text_of, texts_of
from ia2.tasks.sampling import MIN_TRAIN
from ia2.tasks.task_files import FileSource, HubRows, TaskFile
from ia2.tasks.task_spec import Row, columns_in

T = TypeVar("T")

QUESTION_TEMPLATE = "Question:{question}\nChoices:\n{choices}\n\nAnswer:"
"""The empty line before the cue is the published one. It is within a query, so that it ends no response."""


@dataclass(frozen=True)
class Item:
    """One row of a dataset before a form renders it.

    fields: the texts of the query. answer: the label, the index of the right choice, or the final answer.
    solution: what the normal form answers where that is more than `answer`.
    """

    fields: Row
    answer: str
    choices: tuple[str, ...] = ()
    solution: str = ""


@dataclass(frozen=True)
class Items:
    """Items that a source gave: of both splits, and where they came from."""

    train: Sequence[Item]
    validation: Sequence[Item]
    provenance: Mapping[str, str]


Convert = Callable[[SourceRow], Item | None]
"""One row of a source as an item, None where it is left out; ValueError where it is not what its task expects."""


def label_of(value: str, labels: Mapping[str, str]) -> str:
    """`labels[value]`; ValueError names an unknown value and the known ones."""
    if value not in labels:
        raise ValueError(f"unknown label {value!r}; known: {', '.join(labels)}")
    return labels[value]


def numbered(count: int) -> dict[str, str]:
    """The labels of a question with `count` choices: the index of the right one."""
    return {str(index): f"choice {index}" for index in range(count)}


def choice_item(fields: Row, choices: Sequence[str], answer: str, most: int) -> Item:
    """A question with 2 to `most` choices and the index of the right one; ValueError where that is not so."""
    if not 2 <= len(choices) <= most:
        raise ValueError(f"{len(choices)} choices; 2 to {most} are expected")
    label_of(answer, numbered(len(choices)))
    return Item(fields, answer, tuple(choices))


def item_of(described: TaskFile, row: SourceRow, text: Callable[[SourceRow, str], str] = text_of) -> Item | None:
    """A row as a task file describes it, None where it is left out; `text` reads a column.

    ValueError where the answer is not in the label map, or is none of the choices.
    """
    if any(text(row, column) != value for column, value in described.source.keep.items()):
        return None
    asked, answered = columns_in(described.template), columns_in(described.answer)
    names = [name for name in (*asked, *answered) if described.choices is None or name != "choices"]
    fields = {name: text(row, described.columns.get(name, name)) for name in names}
    if len(answered) > 1:
        return Item(fields, "")
    answer = fields.pop(answered[0])
    if described.choices is not None:
        return _chosen(described, row, fields, answer)
    if described.label_map:
        label = label_of(answer, described.label_map)
        return Item(fields, label) if label else None
    if described.hard and described.hard.answer_after:
        return Item(fields, answer.rpartition(described.hard.answer_after)[2].strip(), solution=answer)
    return Item(fields, answer)


def _chosen(described: TaskFile, row: SourceRow, fields: Row, answer: str) -> Item | None:
    choices = described.choices
    assert choices is not None
    texts = _listed(row, choices.texts)
    if choices.keys:
        keys, column = _listed(row, choices.keys), described.columns.get("answer", "answer")
        if len(texts) != len(keys) or answer not in keys:
            raise ValueError(f"{column} {answer!r} and the labels {', '.join(keys) or 'none'} of {len(texts)} choices")
        answer = str(keys.index(answer))
    item = choice_item(fields, texts, answer, choices.most or len(described.labels))
    return item if choices.only in (None, len(texts)) else None


def _listed(row: SourceRow, column: str) -> list[str]:
    """A column that holds a list of texts; `choices.text` is the column `text` of the column `choices`."""
    outer, _, inner = column.partition(".")
    return texts_of(row_of(row, outer), inner) if inner else texts_of(row, column)


# Where the items of built-in datasets come from


def load_items(described: TaskFile) -> Items:
    """The items of a built-in task file, whose table is one of this package's, or on the hub."""

    def convert(row: SourceRow) -> Item | None:
        item = item_of(described, row)
        if item is not None and described.labels and not item.choices:
            label_of(item.answer, described.labels)
        return item

    source = described.source
    if isinstance(source, HubRows):
        hub = HubSource(source.hub, source.config, source.offline_task, source.revision)
        if source.validation:
            return from_hub(hub, convert, source.train, source.validation)()
        table = load_hub_split(hub, source.train)
    else:
        table = bundled_table(source.file)
    return Items(*held_out(table.converted(convert), source), table.provenance)


def held_out(rows: Sequence[T], source: FileSource | HubRows) -> tuple[list[T], list[T]]:
    """Training and validation rows, the latter all of them, or the last ones, which may be shuffled before."""
    rows = list(rows)
    if source.hold_out == "all":
        return [], rows
    if source.hold_out == "shuffled":
        Random(source.seed).shuffle(rows)
    most = len(rows) - MIN_TRAIN
    if source.num_validation is not None and source.num_validation > most:
        raise UserError(f"num_validation = {source.num_validation} of {len(rows)} rows; at most {most} are possible")
    num_train = len(rows) - (source.num_validation or min(500, len(rows) // 2))
    return rows[:num_train], rows[num_train:]


def from_hub(source: HubSource, convert: Convert, train: str, validation: str) -> Callable[[], Items]:
    """A dataset of the hub with two splits of these names."""

    def load() -> Items:
        return items_of(load_hub_split(source, train), load_hub_split(source, validation), convert)

    return load


def items_of(train: Table, validation: Table, convert: Convert) -> Items:
    """The items of two tables."""
    tables = {"train": train, "validation": validation}
    provenance = {f"{name}_{key}": value for name, table in tables.items() for key, value in table.provenance.items()}
    return Items(train.converted(convert), validation.converted(convert), provenance)


def with_last_held_out(
    source: HubSource, convert: Convert, split: str, order: Callable[[Item], bytes] | None = None
) -> Callable[[], Items]:
    """A dataset of the hub with one split, whose last 500 items (half of them at most) are held out for validation.

    `order` sorts the items first, where those of a table are grouped and its end is not like the rest.
    """

    def load() -> Items:
        table = load_hub_split(source, split)
        items = table.converted(convert)
        if order is not None:
            items.sort(key=order)
        num_train = len(items) - min(500, len(items) // 2)
        return Items(items[:num_train], items[num_train:], table.provenance)

    return load
