"""Topics of news items, by title and first sentences: AG News of the hub, train, and its test split for validation.

    Text:Wall St. Bears Claw Back Into the Black (Reuters) Reuters - Short-sellers, Wall Street's dwindling\\band of
    ultra-cynics, are seeing green again.\\nLabel:   ->   2        (one line; the answer is `2`, without a space)

The traps: the publisher's own files count the topics from 1, the hub from 0; and many items hold remains of the pages
they were taken from (a backslash for a line break, ` #39;` for an apostrophe, `&lt;b&gt;` for a tag). They stay, since
all published numbers rest on them; bbcnews, the out-of-distribution set, has none.
"""

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset, Item, from_hub
from ia2.tasks.labels import AGNEWS as LABELS
from ia2.tasks.labels import label_of

_HUB = HubSource("fancyzhx/ag_news", offline_task="bbcnews")


def _item(row: SourceRow) -> Item:
    label = text_of(row, "label")
    label_of(label, LABELS)
    return Item({"text": text_of(row, "text")}, label)


AGNEWS = Dataset(
    name="agnews",
    template="Text:{text}\nLabel:",
    load=from_hub(_HUB, _item, "train", "test"),
    example=Item({"text": "Wall St. Bears Claw Back Into the Black (Reuters) Reuters - Short-sellers are back"}, "2"),
    family="news topics",
    source="hub fancyzhx/ag_news, train / test",
    licence="not stated; texts: their publishers', for research and non-commercial use (Gulli's AG corpus)",
    size="120,000 / 7,600",
    labels=LABELS,
    ood_group="news_topics",
)
