"""Sentiment of movie review sentences: SST-2 of the hub, its own train and validation splits.

    Text:a gripping and generous film\\nLabel:   ->   1        (an invented row; the answer is `1`, without a space)

The trap: the hub's sentences all end in a blank, which neither the other sentiment sets nor a user's texts do. It is
taken off, so that a query looks the same wherever it comes from.
"""

from ia2.sources import HubSource, Table, load_split, split_provenance
from ia2.tasks.base import Row, Rows, Task, TaskSpec
from ia2.tasks.labels import SENTIMENT, label_of

_HUB = HubSource("stanfordnlp/sst2", offline_task="bbcnews")


def _rows(table: Table) -> list[Row]:
    rows = table.texts("sentence", "label")
    for number, row in enumerate(rows, start=1):
        label_of(row["label"], SENTIMENT, f"{table.source}, row {number}")
    return [{"sentence": row["sentence"].strip(), "label": row["label"]} for row in rows]


def _load() -> Rows:
    train, validation = load_split(_HUB, "train"), load_split(_HUB, "validation")
    return Rows(_rows(train), _rows(validation), split_provenance(train, validation))


SST2 = Task(
    spec=TaskSpec(
        name="sst2",
        template="Text:{sentence}\nLabel:",
        answer_template="{label}",
        labels=SENTIMENT,
        parser="choice",
    ),
    family="sentiment",
    source="hub stanfordnlp/sst2, train / validation",
    licence="not stated by its authors (Stanford Sentiment Treebank)",
    load=_load,
    ood_group="sentiment",
)
