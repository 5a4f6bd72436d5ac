r"""The number that a solution ends in, read exactly: `1,000.50`, `-$3`, `50%`, `3 1/2`, `\frac{1}{2}`, `½`.

A number is compared as plain text, so each value has one: a decimal where it ends (`0.5`), else a reduced fraction
(`10/3`). Nothing is rounded: `0.33` is not `1/3`. Text around a number is left out, `50%` is 50 and `5 kg` is 5;
what would have to be computed is not: of `2^10` the 2 is read, of `1e5` the 1. Digits parted as in other languages,
`12,50`, `1.234,56`, `1 234,5` and `1'234`, are not read at all: of a part of them, 50, every price would be right.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

_MARKER = "####"

_LONGEST = 1000
"""Characters of the longest number that is read: a response that repeats a digit for ever has no answer."""

# A minus is a sign only where no quantity stands before it (`-5`, `= -5`, `$-5`, but not `9-5`), and digits inside a
# word (`CO2`) or behind another number's point are no number. A comma groups three digits and never less. One blank
# joins an integer and the fraction behind it.
_MINUS = "[-−–﹣－]"
_CURRENCY = "[$€£¥₹]"
_NUMERAL = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)\]}}%.]){_MINUS}{_CURRENCY}?|{_CURRENCY}{_MINUS})?"
    rf"(?<![\w.])(?:(?P<whole>[0-9]+) (?=[0-9]+/[0-9]))?(?P<numerator>{_NUMERAL})(?:/(?P<denominator>{_NUMERAL}))?"
)

_CHAIN = re.compile(r"(?<![\w.])[\w.]+(?:/[\w.]+){2,}")
"""A date or a path, `12/25/2024`: its slashes are no fraction bars."""

_PARTED = re.compile(
    "(?<![0-9])(?:[0-9]{1,3}(?: [0-9]{3})+,[0-9]+|[0-9]+(?:[.,'’\u00a0\u2009\u202f][0-9]+)+)"  # no-break, thin blanks
)
_OURS = re.compile(_NUMERAL)

_NUMERATOR_OR_DENOMINATOR = rf"\s*(?:\{{\s*({_MINUS}?{_NUMERAL})\s*\}}|([0-9]))"
_LATEX = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[,!]", ""),
        (r"\{,\}", ","),
        (r"\\([$%])", r"\1"),
        (r"(?<=\w)(?=\\[dtc]?frac|[¼-¾⅐-⅞])", " "),
        (rf"\\[dtc]?frac{_NUMERATOR_OR_DENOMINATOR * 2}", r"\1\2/\3\4"),
        (rf"[\^_]\{{[^{{}}]*\}}|\^{_MINUS}?[0-9]+", ""),
        (r"(\\[A-Za-z]+)(?=[0-9])", r"\1 "),
    )
]
r"""In this order: spaces, `{,}`, escapes, fractions (`3\frac12` is `3 1/2`), powers and indices, and `\cdot5`."""

_FRACTION_SIGNS = {ord(sign): unicodedata.normalize("NFKC", sign).replace("⁄", "/") for sign in "⁄¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}


def announced(text: str, marker: str) -> list[str] | None:
    """The lines behind the first `marker` that hold anything, up to a blank line; None without a marker.

    The first marker is the first answer's: what a model writes behind that answer belongs to questions of its own.
    """
    _, found, rest = text.partition(marker)
    if not found:
        return None
    return [line.strip() for line in rest.split("\n\n", maxsplit=1)[0].splitlines() if line.strip()]


def read_number(text: str) -> str | None:
    """The number announced by the first `####`, else the last number of the text.

    The announcement is the rest of its line (or the next line that holds a number, before a blank one), of an equation
    what follows its last `=`. An announcement without a number is unreadable: no number was given as the answer.
    """
    lines = announced(text, _MARKER)
    if lines is None:
        numbers = list(_numbers(text))
        return numbers[-1] if numbers else None
    for line in lines:
        for part in (line.rpartition("=")[2], line):
            if (first := next(_numbers(part), None)) is not None:
                return first
    return None


def _numbers(text: str) -> Iterator[str]:
    for match in _NUMBER.finditer(_plain(text)):
        value = _value(match)
        if value is not None:
            yield _canonical(value)


def _plain(text: str) -> str:
    """The text with its fractions as `1/2` and without what LaTeX puts into and around numbers."""
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    text = _PARTED.sub(lambda parted: parted[0] if _OURS.fullmatch(parted[0]) else "?", text)
    return _CHAIN.sub(lambda chain: chain[0].replace("/", " / "), text.translate(_FRACTION_SIGNS))


def unit_of(text: str) -> str | None:
    """The currency or percent sign, or "", of a text that is one number, read as above; None for any other text.

    >>> unit_of("-$3"), unit_of("50 %"), unit_of("+1,000.5"), unit_of("12,50"), unit_of("5 kg")
    ('$', '%', '', None, None)
    """
    plain = _plain(text)
    numbers = list(_NUMBER.finditer(plain))
    if len(numbers) != 1 or _value(numbers[0]) is None:
        return None
    around = f"{plain[: numbers[0].start()]}{numbers[0]['sign'] or ''}{plain[numbers[0].end() :]}"
    unit = re.sub(rf"{_MINUS}|[+\s]", "", around)
    return unit if re.fullmatch(rf"{_CURRENCY}?|%", unit) else None


def _value(match: re.Match[str]) -> Fraction | None:
    """None for what is no number: a division by zero, and more digits than an answer has."""
    if len(match[0]) > _LONGEST:
        return None
    numerator, denominator = (Fraction((match[part] or "1").replace(",", "")) for part in ("numerator", "denominator"))
    if not denominator:
        return None
    size = numerator / denominator
    if size < 1:  # `3 1/2` is one number; in `3 5/2` the fraction stands alone
        size += int(match["whole"] or 0)
    return -size if match["sign"] else size


def _canonical(value: Fraction) -> str:
    """`0.5` for a half, `10/3` for ten thirds, whose decimals never end."""
    twos = (value.denominator & -value.denominator).bit_length() - 1
    rest, fives = value.denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest > 1 or not places:
        return str(value)
    digits = str(abs(value) * 10**places).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
