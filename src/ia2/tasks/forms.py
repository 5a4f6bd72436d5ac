"""One dataset, asked in up to three forms, each a task of its own.

normal: the dataset's template and its labels, or a worked solution. `_hard`: the bare texts and `:::`, choices as
`a::b::c:`, and the answer alone, never the reasoning. `_remap`: the normal prompt, with unrelated words for labels, in
listed choices and answers alike; there is none for free text, nor for more labels than there are words.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ia2.tasks.items import Item, Items
from ia2.tasks.task_files import REMAP_WORDS, TaskFormat
from ia2.tasks.task_spec import Form, Row, Rows, Task, columns_in


@dataclass(frozen=True)
class Dataset:
    """A dataset that needs code: its format, the function that makes its items, and one of them to be shown."""

    described: TaskFormat
    load: Callable[[], Items]
    example: Item


def row_in_form(described: TaskFormat, item: Item) -> Row:
    """The columns of the query and of the answer of an item, in the form that `described` has."""
    row, answered = dict(item.fields), columns_in(described.answer)
    answer, names = item.solution or item.answer, [str(index) for index in range(len(item.choices))]
    if described.form == "hard":
        answer = item.answer
    if described.form == "remap":
        words = described.remap_words
        answer, names = words.get(item.answer, item.answer), list(REMAP_WORDS)
    if item.choices:
        choices = [" ".join(choice.split()) for choice in item.choices]  # each on one line
        listed = "\n".join(f"[{name}]{choice}" for name, choice in zip(names, choices, strict=False))
        row["choices"] = "::".join(choices) + ":" if described.form == "hard" else listed
    return row | ({answered[0]: answer} if len(answered) == 1 else {})


def task_in_form(dataset: Dataset, form: Form) -> Task:
    """The task that a built-in dataset is in one form."""
    ending = "" if form == "normal" else f"_{form}"
    named = {"form": form, "name": dataset.described.name + ending}
    described = dataset.described.model_copy(update=named)

    def load() -> Rows:
        items = dataset.load()
        train, validation = ([row_in_form(described, one) for one in part] for part in (items.train, items.validation))
        return Rows(train, validation, items.provenance)

    about = described.about
    return Task(
        spec=described.spec,
        family=about.family,
        source=about.source,
        licence=about.licence,
        load=load,
        example=row_in_form(described, dataset.example),
        size=about.size,
        ood_group=about.ood_group and about.ood_group + ending,
        form=form,
    )
