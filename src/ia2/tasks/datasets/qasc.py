"""Science questions that join two facts: QASC of the hub, 8 choices each, its own train and validation splits.

    Question:Climate is generally described in terms of what?\\nChoices:\\n[0]sand\\n[1]occurs over a wide range\\n
    [2]forests\\n[3]Global warming\\n[4]rapid changes occur\\n[5]local weather conditions\\n[6]measure of motion\\n
    [7]city life\\n\\nAnswer:   ->   5

(One text; the row that the dataset's card shows, https://huggingface.co/datasets/allenai/qasc.) `qasc_remap` is the
paper's QASCr: its eight labels are all the words there are, the first four of them those of `sciq_remap`.

The trap: the hub's `formatted_question` and facts give the choices once more, and the answer away. They are not shown.
"""

from ia2.sources import HubSource, SourceRow
from ia2.tasks.choices import QUESTION_TEMPLATE, keyed_item
from ia2.tasks.forms import Dataset, Item, from_hub
from ia2.tasks.labels import numbered

_HUB = HubSource("allenai/qasc", offline_task="capitals")
_NUM_CHOICES = 8


def _item(row: SourceRow) -> Item:
    return keyed_item(row, _NUM_CHOICES)


QASC = Dataset(
    name="qasc",
    template=QUESTION_TEMPLATE,
    load=from_hub(_HUB, _item, "train", "validation"),
    example=Item(
        {"question": "Climate is generally described in terms of what?"},
        "5",
        (
            "sand",
            "occurs over a wide range",
            "forests",
            "Global warming",
            "rapid changes occur",
            "local weather conditions",
            "measure of motion",
            "city life",
        ),
    ),
    family="science questions",
    source="hub allenai/qasc, train / validation",
    licence="CC BY 4.0",
    size="8,134 / 926",
    labels=numbered(_NUM_CHOICES),
    ood_group="science_questions",
)
