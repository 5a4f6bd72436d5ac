"""Mathematical word problems with up to five choices: MathQA of the hub, train, and test for validation.

The example is the row that the dataset's card shows, https://huggingface.co/datasets/allenai/math_qa.

The traps: the choices are one string, `a ) 24 , b ) 120 , c ) 625 , d ) 720 , e ) 1024` in most rows and a list printed
by Python, `['a ) 24', 'b ) 120', ...]`, in others. Commas do not part them, for a choice may hold some (`1 , 024`), and
neither do all letters before a parenthesis: `( a + b )` does not begin choice b.
"""

import ast
import re
from itertools import pairwise

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import QUESTION_TEMPLATE, Item, choice_item, from_hub, numbered
from ia2.tasks.task_files import About, TaskFormat

_HUB = HubSource("allenai/math_qa", offline_task="gsm8ks")
_LETTERS = "abcde"
_PARENTHESIS = re.compile(r"(?P<open>\()|(?:(?<![a-z0-9])(?P<letter>[a-e])\s*)?\)")
_MARKER = re.compile(r"\s*[a-e]\s*\)\s*")


def options_of(text: str) -> list[str]:
    """The choices in an options string, in the order of their letters; ValueError where it does not begin with `a )`.

    >>> options_of("a ) rs . 1 , 024 , b ) 5 ( a + b ) , c ) none of these")
    ['rs . 1 , 024', '5 ( a + b )', 'none of these']
    """
    if text.strip().startswith("["):
        return [_MARKER.sub("", option, count=1).strip() for option in _printed_list(text)]
    readings = [_split_at(text, _markers(text, nested=nested)) for nested in (False, True)]
    return max(readings, key=len)  # with an unclosed parenthesis the first reading ends too soon


def _printed_list(text: str) -> list[str]:
    try:
        options = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"options {text!r} cannot be read") from error
    return [str(option) for option in options]


def _markers(text: str, *, nested: bool) -> list[re.Match[str]]:
    """The places of `a )`, `b )` and so on, in this order; those that close a parenthesis only if `nested`."""
    markers: list[re.Match[str]] = []
    depth = 0
    for match in _PARENTHESIS.finditer(text):
        closes = depth > 0 and not match["open"]
        depth += 1 if match["open"] else -closes
        if match["letter"] == _LETTERS[len(markers) : len(markers) + 1] and (nested or not closes):
            markers.append(match)
    return markers


def _split_at(text: str, markers: list[re.Match[str]]) -> list[str]:
    if not markers or text[: markers[0].start()].strip():
        raise ValueError(f"options {text!r} do not begin with 'a )'")
    ends = [*(marker.start() for marker in markers), len(text)]
    return [
        text[marker.end() : end].strip().removesuffix(",").strip()
        for marker, (_, end) in zip(markers, pairwise(ends), strict=True)
    ]


def _item(row: SourceRow) -> Item:
    letter = text_of(row, "correct")
    if letter not in tuple(_LETTERS):
        raise ValueError(f"correct is {letter!r}; a letter from a to e is needed")
    options = options_of(text_of(row, "options"))
    fields = {"question": text_of(row, "Problem")}
    return choice_item(fields, options, str(_LETTERS.index(letter)), len(_LETTERS))


MATHQA = Dataset(
    TaskFormat(
        name="mathqa",
        template=QUESTION_TEMPLATE,
        answer="{answer}",
        parser="choice",
        num_generated_tokens=1,
        labels=numbered(len(_LETTERS)),
        about=About(
            family="mathematics",
            source="hub allenai/math_qa, train / test",
            licence="Apache-2.0",
            size="29,837 / 2,985",
        ),
    ),
    load=from_hub(_HUB, _item, "train", "test"),
    example=Item(
        {
            "question": "a multiple choice test consists of 4 questions , and each question has 5 answer choices . "
            "in how many r ways can the test be completed if every question is unanswered ?"
        },
        "2",
        ("24", "120", "625", "720", "1024"),
    ),
)
DATASETS = (MATHQA,)
