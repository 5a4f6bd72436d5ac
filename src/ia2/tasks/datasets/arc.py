"""Grade-school science questions that are hard to look up: ARC-Challenge of the hub, train, and test for validation.

    Question:One year, the oak trees in a park began producing more acorns than usual. The next year, the population of
    chipmunks in the park also increased. Which best explains why there were more chipmunks the next year?\\nChoices:\\n
    [0]Shady areas increased.\\n[1]Food sources increased.\\n[2]Oxygen levels increased.\\n
    [3]Available water increased.\\n\\nAnswer:   ->   1

(One text; the row that the dataset's card shows, https://huggingface.co/datasets/allenai/ai2_arc.) The traps: the key
is a letter in most rows (A to D) and a number in others (1 to 4), so that it is looked up among the row's own labels;
and a few questions have three or five choices, which are left out, since all questions of a task share one label set.
"""

from ia2.sources import HubSource, SourceRow
from ia2.tasks.choices import QUESTION_TEMPLATE, keyed_item
from ia2.tasks.forms import Dataset, Item, from_hub
from ia2.tasks.labels import numbered

_HUB = HubSource("allenai/ai2_arc", config="ARC-Challenge", offline_task="capitals")
_NUM_CHOICES = 4
_MOST_CHOICES = 5


def _item(row: SourceRow) -> Item | None:
    item = keyed_item(row, _MOST_CHOICES)
    return item if len(item.choices) == _NUM_CHOICES else None


ARC = Dataset(
    name="arc",
    template=QUESTION_TEMPLATE,
    load=from_hub(_HUB, _item, "train", "test"),
    example=Item(
        {
            "question": "One year, the oak trees in a park began producing more acorns than usual. The next year, the "
            "population of chipmunks in the park also increased. Which best explains why there were more chipmunks "
            "the next year?"
        },
        "1",
        ("Shady areas increased.", "Food sources increased.", "Oxygen levels increased.", "Available water increased."),
    ),
    family="science questions",
    source="hub allenai/ai2_arc ARC-Challenge, train / test, questions with four choices",
    licence="CC BY-SA 4.0",
    size="1,119 / 1,172, a few of them without four choices",
    labels=numbered(_NUM_CHOICES),
    ood_group="science_questions",
)
