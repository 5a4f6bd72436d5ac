"""How a response is read: one reader per kind of answer, and gold and prediction go through the same one.

A reader forgives what is not part of the answer (blanks, letter case where it carries nothing, the thousands comma) and
nothing else: what cannot be read is None, counts as wrong, and shows in the parse rate. `contains` is the lenient
counterpart, with which a report says how much of a gain is format.
"""

import re
from collections.abc import Callable

from ia2.tasks.base import ParserName, TaskSpec

_AROUND_A_LABEL = "()[]{}<>.,:;!?*_\"'`"

# A minus is a sign only where no quantity stands before it (`-5`, `= -5`, `$-5`, but not `9-5`), and digits inside a
# word (`CO2`) or behind another number's point are no number. A comma groups three digits and never less.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)%.])[-−][$€£]?|[$€£][-−])?"
    r"(?<![\w.])(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)?(?P<fraction>\.[0-9]+)?"
)
_THOUSANDS_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")


def parse(text: str, spec: TaskSpec) -> str | None:
    """The answer in `text`, in the form in which answers of this task are compared; None where it cannot be read."""
    return PARSERS[spec.parser](text, spec)


def contains(text: str, gold: str) -> bool:
    """Whether the parsed answer `gold` stands anywhere in `text`, as whole words or number (`2,000` is `2000`)."""
    wanted, whole = (_THOUSANDS_COMMA.sub("", _folded(part)) for part in (gold, text))
    found = rf"(?<!\w)(?<![0-9][.,]){re.escape(wanted)}(?!\w)(?![.,][0-9])"
    return wanted != "" and re.search(found, whole) is not None


def _choice(text: str, spec: TaskSpec) -> str | None:
    """The first word, without brackets and punctuation, if it is a label: ` 1.` is `1`, `10` and `-1` are not."""
    word = next(iter(text.split(maxsplit=1)), "").strip(_AROUND_A_LABEL)
    return word if word in spec.labels else None


def _line(text: str, _spec: TaskSpec) -> str | None:
    """The first line, case-folded, blanks collapsed. Punctuation stays: a full stop after `Paris` is another format."""
    lines = text.lstrip().splitlines()
    return _folded(lines[0]) if lines else None


def _number(text: str, _spec: TaskSpec) -> str | None:
    """The number announced by the first `####`, else the last number of the text, in plain digits: `16.0` is `16`.

    The announcement is the rest of its line (or the next line that holds a number, before a blank one), of an equation
    what follows its last `=`. An announcement without a number is unreadable: no number was given as the answer.
    """
    _, marker, announced = text.partition("####")
    if not marker:
        numbers = _numbers(text)
        return numbers[-1] if numbers else None
    for line in announced.strip().split("\n\n", maxsplit=1)[0].splitlines():
        if numbers := _numbers(line.rpartition("=")[2]) or _numbers(line):
            return numbers[0]
    return None


def _exact(text: str, _spec: TaskSpec) -> str | None:
    return text.strip() or None


PARSERS: dict[ParserName, Callable[[str, TaskSpec], str | None]] = {
    "choice": _choice,
    "line": _line,
    "number": _number,
    "exact": _exact,
}


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _numbers(text: str) -> list[str]:
    return [_plain(match) for match in _NUMBER.finditer(text) if match["whole"] or match["fraction"]]


def _plain(match: re.Match[str]) -> str:
    """Digits without commas, leading or trailing zeros. Done on the text: no number is too long, none is rounded."""
    whole = (match["whole"] or "").replace(",", "").lstrip("0") or "0"
    fraction = (match["fraction"] or "").rstrip("0").rstrip(".")
    sign = "-" if match["sign"] and (whole != "0" or fraction) else ""
    return f"{sign}{whole}{fraction}"
