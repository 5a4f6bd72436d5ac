"""Sentiment of financial news sentences: the hub's Financial PhraseBank, where at least half of the annotators agree.

    Text:Operating profit decreased to EUR 11.2 mn from EUR 16.6 mn .\\nLabel:   ->   0        (the answer has no space)

The hub counts negative 0, neutral 1, positive 2: neutral is left out and positive becomes 1, as in the other sets of
its group. The traps: the blanks before punctuation and the broken umlauts (`Sepp+ñl+ñ`) are the corpus's own and stay;
and the corpus lists its sentences by class, in long runs. Its end, which is held out, has a far larger share of
negatives than the rest: read accuracy beside macro F1 and the accuracy of the majority class.
"""

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset, Item, held_out
from ia2.tasks.labels import SENTIMENT, label_of

_HUB = HubSource("takala/financial_phrasebank", config="sentences_50agree", offline_task="nyt")
_NEUTRAL = ""
_LABELS = {"0": "0", "1": _NEUTRAL, "2": "1"}


def _item(row: SourceRow) -> Item | None:
    label = label_of(text_of(row, "label"), _LABELS)
    sentence = text_of(row, "sentence")
    return None if label == _NEUTRAL else Item({"sentence": sentence}, label)


FINSEN = Dataset(
    name="finsen",
    template="Text:{sentence}\nLabel:",
    load=held_out(_HUB, _item, "train"),
    example=Item({"sentence": "Operating profit decreased to EUR 11.2 mn from EUR 16.6 mn ."}, "0"),
    family="sentiment",
    source="hub takala/financial_phrasebank sentences_50agree, train; the last 500 held out",
    licence="CC BY-NC-SA 3.0",
    size="1,467 / 500",
    labels=SENTIMENT,
    ood_group="sentiment",
)
