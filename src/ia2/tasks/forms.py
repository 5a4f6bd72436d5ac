"""One dataset, asked in up to three forms, each a task of its own.

normal: the dataset's template and its labels, or a worked solution. `_hard`: the bare texts and `:::`, choices as
`a::b::c:`, and the answer alone, never the reasoning. `_remap`: the normal prompt, with unrelated words for labels, in
listed choices and answers alike; there is none for free text, nor for more labels than there are words.

A dataset's module says what its rows are, as `Item`s; how they are asked in each form is said here, once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ia2.sources import HubSource, SourceRow, Table, load_hub_split
from ia2.tasks.labels import REMAP_WORDS
from ia2.tasks.task_spec import Form, ParserName, Row, Rows, Task, TaskSpec, columns_in

REMAPPED_NUM_TOKENS = 4
"""A remap word is one to three tokens, by the tokenizer, and the blank line that ends the response is one more."""


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


@dataclass(frozen=True)
class Dataset:
    """Shared fields of a dataset's forms. In `template`, `{choices}` is the place of the listed choices."""

    name: str
    template: str
    load: Callable[[], Items]
    example: Item
    family: str
    source: str
    licence: str
    size: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Answer text -> meaning; empty for free text."""
    parser: ParserName = "choice"
    num_generated_tokens: int = 1
    hard_parser: ParserName = "choice"
    """Parser of the answer alone: the hard form of free text."""
    hard_num_generated_tokens: int = 1
    ood_group: str = ""


def forms(dataset: Dataset) -> list[Task]:
    """The tasks that a dataset is: normal and hard, and remap where its labels allow it."""
    remap = [_remap(dataset)] if 0 < len(dataset.labels) <= len(REMAP_WORDS) else []
    return [_normal(dataset), _hard(dataset), *remap]


def _normal(dataset: Dataset) -> Task:
    spec = TaskSpec(
        name=dataset.name,
        template=dataset.template,
        answer_template="{answer}",
        labels=dict(dataset.labels),
        parser=dataset.parser,
        num_generated_tokens=dataset.num_generated_tokens,
    )
    return _task(dataset, spec, "normal", _shown_plainly)


def _hard(dataset: Dataset) -> Task:
    fields = columns_in(dataset.template)
    texts = "\n".join(f"{{{name}}}" for name in fields if name != "choices")
    spec = TaskSpec(
        name=f"{dataset.name}_hard",
        template=f"{texts}:::" + ("{choices}" if "choices" in fields else ""),
        answer_template="{answer}",
        labels=dict(dataset.labels),
        parser=dataset.hard_parser,
        num_generated_tokens=dataset.hard_num_generated_tokens,
    )
    return _task(dataset, spec, "hard", _shown_bare)


def _remap(dataset: Dataset) -> Task:
    words = dict(zip(dataset.labels, REMAP_WORDS, strict=False))
    spec = TaskSpec(
        name=f"{dataset.name}_remap",
        template=dataset.template,
        answer_template="{answer}",
        labels={words[label]: meaning for label, meaning in dataset.labels.items()},
        remap=words,
        parser=dataset.parser,
        num_generated_tokens=REMAPPED_NUM_TOKENS,
    )

    def shown(item: Item) -> Row:
        return _row(item, [f"[{word}]{choice}" for word, choice in _named(item, REMAP_WORDS)], words[item.answer])

    return _task(dataset, spec, "remap", shown)


def _shown_plainly(item: Item) -> Row:
    indices = [str(index) for index in range(len(item.choices))]
    return _row(item, [f"[{index}]{choice}" for index, choice in _named(item, indices)], item.solution or item.answer)


def _shown_bare(item: Item) -> Row:
    choices = "::".join(choice for _, choice in _named(item, item.choices))
    return _row(item, [f"{choices}:"], item.answer)


def _named(item: Item, names: Sequence[str]) -> list[tuple[str, str]]:
    """Each choice on one line, with its name."""
    return [(name, " ".join(choice.split())) for name, choice in zip(names, item.choices, strict=False)]


def _row(item: Item, choices: Sequence[str], answer: str) -> Row:
    listed = {"choices": "\n".join(choices)} if item.choices else {}
    return {**item.fields, **listed, "answer": answer}


def _task(dataset: Dataset, spec: TaskSpec, form: Form, shown: Callable[[Item], Row]) -> Task:
    def load() -> Rows:
        items = dataset.load()
        return Rows(list(map(shown, items.train)), list(map(shown, items.validation)), items.provenance)

    return Task(
        spec=spec,
        family=dataset.family,
        source=dataset.source,
        licence=dataset.licence,
        load=load,
        example=shown(dataset.example),
        size=dataset.size,
        ood_group=dataset.ood_group and dataset.ood_group + spec.name.removeprefix(dataset.name),
        form=form,
    )


# Where items come from

Convert = Callable[[SourceRow], Item | None]
"""One row of a source as an item, None where it is left out; ValueError where it is not what its task expects."""


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


def held_out(
    source: HubSource,
    convert: Convert,
    split: str,
    num_validation: int = 500,
    order: Callable[[Item], bytes] | None = None,
) -> Callable[[], Items]:
    """A dataset of the hub with one split, whose last items (half of them at most) are held out for validation.

    `order` sorts the items first, where those of a table are grouped and its end is not like the rest.
    """

    def load() -> Items:
        table = load_hub_split(source, split)
        items = table.converted(convert)
        if order is not None:
            items.sort(key=order)
        num_train = len(items) - min(num_validation, len(items) // 2)
        return Items(items[:num_train], items[num_train:], table.provenance)

    return load


def validation_only(source: HubSource, convert: Convert, split: str) -> Callable[[], Items]:
    """A dataset of the hub that is for evaluation only: it has no training items."""

    def load() -> Items:
        table = load_hub_split(source, split)
        return Items([], table.converted(convert), table.provenance)

    return load


def subset(dataset: Dataset, name: str, load: Callable[[], Items], size: str) -> Dataset:
    """A dataset that differs from another in name, rows and size only."""
    return replace(dataset, name=f"{dataset.name}_{name}", load=load, size=size)
