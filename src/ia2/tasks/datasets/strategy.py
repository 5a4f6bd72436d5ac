"""Yes-or-no questions whose reasoning steps are not in the question: StrategyQA of the hub, asked in two ways.

strategytf: the answer alone, as a digit. strategyreason: the facts first, in one line, then the answer as a word.

The hub's only split is called test, and holds the 2,290 training questions of StrategyQA; the last 500 are held out.
The trap: a fact may lack its full stop, end in a blank or hold two. The facts are therefore joined by single blanks,
and are otherwise unchanged.
"""

from ia2.sources import HubSource, SourceRow, text_of, texts_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import Item, label_of, with_last_held_out
from ia2.tasks.task_files import About, HardForm, TaskFormat

_HUB = HubSource("wics/strategy-qa")
_LABELS = {"false": "0", "true": "1"}
_ABOUT = About(
    family="implicit reasoning",
    source="hub wics/strategy-qa, test; the last 500 held out",
    licence="not stated on the hub; StrategyQA: MIT",
    size="1,790 / 500",
)
_CASIO = "Can you buy Casio products at Petco?"


def _judged(row: SourceRow) -> Item:
    label = label_of(_truth(row), _LABELS)
    return Item({"question": text_of(row, "question")}, label)


def _reasoned(row: SourceRow) -> Item:
    truth = _truth(row)
    label_of(truth, _LABELS)
    facts = " ".join(" ".join(texts_of(row, "facts")).split())
    return Item({"question": text_of(row, "question")}, truth, solution=f"{facts}\n#### {truth}")


def _truth(row: SourceRow) -> str:
    """`true` or `false`, which the hub holds as a truth value and a text file as a word."""
    return text_of(row, "answer").lower()


STRATEGYTF = Dataset(
    TaskFormat(
        name="strategytf",
        template="Question:{question}\nAnswer:",
        answer="{answer}",
        parser="choice",
        num_generated_tokens=1,
        labels={label: meaning for meaning, label in _LABELS.items()},
        about=_ABOUT,
    ),
    load=with_last_held_out(_HUB, _judged, "test"),
    example=Item({"question": _CASIO}, "0"),
)
STRATEGYREASON = Dataset(
    TaskFormat(
        name="strategyreason",
        template="Question:{question}\nAnswer:",
        answer="{answer}",
        parser="after_marker",
        num_generated_tokens=200,
        hard=HardForm(parser="line", num_generated_tokens=4),
        about=_ABOUT,
    ),
    load=with_last_held_out(_HUB, _reasoned, "test"),
    example=Item({"question": _CASIO}, "false", solution="Petco is a chain store that sells pet supplies\n#### false"),
)
DATASETS = (STRATEGYTF, STRATEGYREASON)
