"""Sentiment of movie review sentences: SST-2 of the hub, its own train and validation splits.

    Text:a gripping and generous film\\nLabel:   ->   1        (an invented row; the answer is `1`, without a space)

The trap: the hub's sentences all end in a blank, which neither the other sentiment sets nor a user's texts do. It is
taken off, so that a query looks the same wherever it comes from.
"""

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset, Item, from_hub
from ia2.tasks.labels import SENTIMENT, label_of

_HUB = HubSource("stanfordnlp/sst2", offline_task="movies")


def _item(row: SourceRow) -> Item:
    label = text_of(row, "label")
    label_of(label, SENTIMENT)
    return Item({"sentence": text_of(row, "sentence")}, label)


SST2 = Dataset(
    name="sst2",
    template="Text:{sentence}\nLabel:",
    load=from_hub(_HUB, _item, "train", "validation"),
    example=Item({"sentence": "a gripping and generous film"}, "1"),
    family="sentiment",
    source="hub stanfordnlp/sst2, train / validation",
    licence="not stated by its authors (Stanford Sentiment Treebank)",
    size="67,349 / 872",
    labels=SENTIMENT,
    ood_group="sentiment",
)
