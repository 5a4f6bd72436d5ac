"""Parsers of responses: one per kind of answer, and gold and prediction go through the same one.

A parser forgives what is not part of the answer (blanks, letter case where it carries nothing, the thousands comma) and
nothing else: what cannot be read is None, counts as wrong, and shows in the parse rate. `same` compares what was read.
`contains` is the lenient counterpart, with which a report says how much of a gain is format.
"""

import re
import unicodedata
from collections.abc import Callable

from ia2.tasks.parsers.boxed import last_box, read_boxed
from ia2.tasks.parsers.equivalence import equivalent
from ia2.tasks.parsers.number import announced, read_number
from ia2.tasks.task_spec import ParserName, TaskSpec

__all__ = ["PARSERS", "contains", "last_box", "parse", "same"]

_AROUND_A_LABEL = "()[]{}<>.,:;!?*_\"'`"

_THOUSANDS_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")


def parse(text: str, spec: TaskSpec) -> str | None:
    """The answer in `text`, in the form in which answers of this task are compared; None where it cannot be read."""
    return PARSERS[spec.parser](text, spec)


def same(ours: str | None, gold: str | None, spec: TaskSpec) -> bool | None:
    r"""True where two parsed answers are one: the same text, or in boxes what means the same (`\frac{1}{2}` and `0.5`).

    An answer of None, which could not be read, is the same as nothing. The verdict is None where it takes too long.
    """
    if ours is None or gold is None:
        return False
    if ours == gold or spec.parser != "boxed":
        return ours == gold
    return equivalent(ours, gold)


def contains(text: str, gold: str) -> bool:
    """True where the parsed answer `gold` is anywhere in `text`, as whole words or number (`2,000` is `2000`)."""
    wanted, whole = (_THOUSANDS_COMMA.sub("", _folded(part)) for part in (gold, text))
    found = rf"(?<!\w)(?<![0-9][.,]){re.escape(wanted)}(?!\w)(?![.,][0-9])"
    return wanted != "" and re.search(found, whole) is not None


def _choice(text: str, spec: TaskSpec) -> str | None:
    """The label that the text begins with, without brackets and punctuation: ` 1.` is `1`, `10` and `-1` are not.

    Of labels that begin alike, such as `not` and `not sure`, the one of more words.
    """
    words = text.split()
    for num_words in range(len(words), 0, -1):
        beginning = " ".join(words[:num_words])
        for label in (beginning, beginning.strip(_AROUND_A_LABEL)):
            if label in spec.labels and len(label.split()) == num_words:
                return label
    return None


def _line(text: str, _spec: TaskSpec) -> str | None:
    """The first line, case-folded, blanks collapsed. Punctuation stays: a full stop after `Paris` is another format."""
    lines = text.lstrip().splitlines()
    return _folded(lines[0]) if lines else None


def _after_marker(text: str, spec: TaskSpec) -> str | None:
    """The first line with anything in it behind the first marker, case-folded, blanks collapsed."""
    lines = announced(text, spec.marker)
    return _folded(lines[0]) if lines else None


def _regex(text: str, spec: TaskSpec) -> str | None:
    """The first match of the pattern: its first group that took part, or all of it where it has no groups.

    `^` and `$` are the ends of each line; case counts unless the pattern begins with `(?i)`. The pattern is its
    owner's: one that backtracks without end, such as `(a+)+$`, is not interrupted, though a response is short.
    """
    found = re.search(spec.pattern, text, re.MULTILINE)
    if found is None:
        return None
    groups = [group for group in found.groups() if group is not None]
    answer = groups[0] if groups else "" if found.re.groups else found[0]
    return answer.strip() or None


def _exact(text: str, _spec: TaskSpec) -> str | None:
    """All of the text: Unicode in its compatibility form (NFKC), blanks and line breaks collapsed, case kept."""
    return " ".join(unicodedata.normalize("NFKC", text).split()) or None


PARSERS: dict[ParserName, Callable[[str, TaskSpec], str | None]] = {
    "choice": _choice,
    "line": _line,
    "number": lambda text, _spec: read_number(text),
    "boxed": lambda text, _spec: read_boxed(text),
    "after_marker": _after_marker,
    "regex": _regex,
    "exact": _exact,
}


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
