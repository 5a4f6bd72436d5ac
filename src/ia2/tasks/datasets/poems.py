"""Sentiment of verses: Poem Sentiment of the hub. Its train split is validation; there are no training rows.

    Text:and that is why, the lonesome day,\\nLabel:   ->   0        (the answer is `0`, without a space)

The hub counts negative 0, positive 1, no impact 2, mixed 3: the last two are left out, which leaves 288 of 892 rows.
The trap: the publisher's own files count -1, 1, 0, 2, and its example row has another label than its file. A file made
from those is refused where it says -1, and where it does not its labels are wrong: take the hub's.
"""

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset, Item, validation_only
from ia2.tasks.labels import SENTIMENT, label_of

_HUB = HubSource("google-research-datasets/poem_sentiment", offline_task="movies")
_LABELS = {**SENTIMENT, "2": "no impact", "3": "mixed"}


def _item(row: SourceRow) -> Item | None:
    label = text_of(row, "label")
    label_of(label, _LABELS)
    sentence = text_of(row, "verse_text")
    return Item({"sentence": sentence}, label) if label in SENTIMENT else None


POEMS = Dataset(
    name="poems",
    template="Text:{sentence}\nLabel:",
    load=validation_only(_HUB, _item, "train"),
    example=Item({"sentence": "and that is why, the lonesome day,"}, "0"),
    family="sentiment",
    source="hub google-research-datasets/poem_sentiment, train, for validation only",
    licence="CC BY 4.0",
    size="0 / 288",
    labels=SENTIMENT,
    ood_group="sentiment",
)
