"""The ending, of four, that continues a text: HellaSwag of the hub, its own train and validation splits.

    Sentence:Then, the man writes over the snow covering the window of a car, and a woman wearing winter clothes smiles.
    then\\nContinuation:\\n[0], the man adds wax to the windshield and cuts it.\\n[1], a person board a ski lift, while
    two men supporting the head of the person wearing winter clothes snow as the we girls sled.\\n[2], the man puts on a
    christmas coat, knitted with netting.\\n[3], the man continues removing the snow on his car.\\nAnswer:   ->   3

(One text, and one line for each ending; row 0 of train, https://huggingface.co/datasets/Rowan/hellaswag.) There is no
empty line before the cue here. The traps: the label is text, and is the empty text throughout the test split, which is
therefore not used; and `ctx` already ends in `ctx_b`, the beginning of the sentence that the endings go on with.
"""

from ia2.sources import HubSource, SourceRow, text_of, texts_of
from ia2.tasks.choices import choice_item
from ia2.tasks.forms import Dataset, Item, from_hub
from ia2.tasks.labels import numbered

_HUB = HubSource("Rowan/hellaswag", offline_task="capitals")
_NUM_CHOICES = 4


def _item(row: SourceRow) -> Item:
    return choice_item({"ctx": text_of(row, "ctx")}, texts_of(row, "endings"), text_of(row, "label"), _NUM_CHOICES)


HELLASWAG = Dataset(
    name="hellaswag",
    template="Sentence:{ctx}\nContinuation:\n{choices}\nAnswer:",
    load=from_hub(_HUB, _item, "train", "validation"),
    example=Item(
        {
            "ctx": "Then, the man writes over the snow covering the window of a car, and a woman wearing winter "
            "clothes smiles. then"
        },
        "3",
        (
            ", the man adds wax to the windshield and cuts it.",
            ", a person board a ski lift, while two men supporting the head of the person wearing winter clothes snow "
            "as the we girls sled.",
            ", the man puts on a christmas coat, knitted with netting.",
            ", the man continues removing the snow on his car.",
        ),
    ),
    family="commonsense",
    source="hub Rowan/hellaswag, train / validation",
    licence="MIT",
    size="39,905 / 10,042",
    labels=numbered(_NUM_CHOICES),
)
