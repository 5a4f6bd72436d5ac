"""Exam questions of 14 subjects with up to ten choices: MMLU-Pro of the hub, whole (`mmlupro`) or by subject.

The example is row 0 of test, https://huggingface.co/datasets/TIGER-Lab/MMLU-Pro, category business.
`mmlupro_{category}` has the questions of one subject, its blank as `_`: mmlupro_computer_science. Ten labels are more
than there are words, so that there is no remap form.

The traps: the hub's validation split has 70 rows, for prompts; train and validation are both cut from its test split.
That is sorted by subject, and its last 500 rows are engineering alone; the questions are therefore taken in the order
of the sha256 of their text, as good as random and the same everywhere. Copies (159 in health and law, says the card)
are neighbours in it, so that they are not in both parts. The parts of different names are cut separately: what is
validation in one subject can be training in the whole.
"""

import hashlib

from ia2.sources import HubSource, SourceRow, text_of, texts_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import QUESTION_TEMPLATE, Convert, Item, choice_item, label_of, numbered, with_last_held_out
from ia2.tasks.task_files import About, TaskFormat

_HUB = HubSource("TIGER-Lab/MMLU-Pro", offline_task="capitals")
_MOST_CHOICES = 10
_NUM_QUESTIONS = {
    "biology": 717,
    "business": 789,
    "chemistry": 1132,
    "computer science": 410,
    "economics": 844,
    "engineering": 969,
    "health": 818,
    "history": 381,
    "law": 1101,
    "math": 1351,
    "other": 924,
    "philosophy": 499,
    "physics": 1299,
    "psychology": 798,
}
_SLUGS = {category: category.replace(" ", "_") for category in _NUM_QUESTIONS}


def _item(row: SourceRow) -> Item:
    fields = {"question": text_of(row, "question")}
    return choice_item(fields, texts_of(row, "options"), text_of(row, "answer_index"), _MOST_CHOICES)


def _item_of(slug: str) -> Convert:
    def convert(row: SourceRow) -> Item | None:
        return _item(row) if label_of(text_of(row, "category"), _SLUGS) == slug else None

    return convert


def _digest(item: Item) -> bytes:
    return hashlib.sha256(item.fields["question"].encode()).digest()


def _dataset(name: str, convert: Convert, num_questions: int) -> Dataset:
    num_validation = min(500, num_questions // 2)
    return Dataset(
        TaskFormat(
            name=name,
            template=QUESTION_TEMPLATE,
            answer="{answer}",
            parser="choice",
            num_generated_tokens=1,
            labels=numbered(_MOST_CHOICES),
            about=About(
                family="exam questions",
                source="hub TIGER-Lab/MMLU-Pro, test; the last 500 (half at most) by the sha256 of their text held out",
                licence="MIT",
                size=f"{num_questions - num_validation:,} / {num_validation}",
            ),
        ),
        load=with_last_held_out(_HUB, convert, "test", order=_digest),
        example=_EXAMPLE,
    )


_EXAMPLE = Item(
    {
        "question": "Typical advertising regulatory bodies suggest, for example that adverts must not: encourage "
        "_________, cause unnecessary ________ or _____, and must not cause _______ offence."
    },
    "8",
    (
        "Safe practices, Fear, Jealousy, Trivial",
        "Unsafe practices, Distress, Joy, Trivial",
        "Safe practices, Wants, Jealousy, Trivial",
        "Safe practices, Distress, Fear, Trivial",
        "Unsafe practices, Wants, Jealousy, Serious",
        "Safe practices, Distress, Jealousy, Serious",
        "Safe practices, Wants, Fear, Serious",
        "Unsafe practices, Wants, Fear, Trivial",
        "Unsafe practices, Distress, Fear, Serious",
    ),
)
DATASETS = (
    _dataset("mmlupro", _item, sum(_NUM_QUESTIONS.values())),
    *(_dataset(f"mmlupro_{slug}", _item_of(slug), _NUM_QUESTIONS[name]) for name, slug in _SLUGS.items()),
)
