"""Tables as plain text: the first column to the left, the others, which are numbers, to the right."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ia2.measure.statistics import standard_deviation
from ia2.report.captions import number


def aligned(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines below their heading and a rule."""
    widths = [max(len(line[place]) for line in (heading, *lines)) for place in range(len(heading))]
    whole = [heading, ["-" * width for width in widths], *lines]
    return ["  ".join(_padded(line, widths)).rstrip() for line in whole]


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *numbers = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in numbers)]


def mean_and_sd(values: Iterable[float], form: str = ".3f") -> str:
    """`0.512 ± 0.013` over runs (ddof 1), without a spread for one run, and a dash where a run was not measured."""
    array = np.array(list(values), dtype=np.float64)
    sd = standard_deviation(array)
    mean = number(float(array.mean()) if array.size else float("nan"), form)
    return mean if np.isnan(sd) else f"{mean} ± {number(sd, form)}"


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells each of several settings from the others, such as `lr 0.001`; empty where nothing does."""
    names = dict.fromkeys(name for one in settings for name in one)
    differing = [name for name in names if len({str(one.get(name)) for one in settings}) > 1]
    return [", ".join(f"{name} {one[name]}" for name in differing if name in one) for one in settings]
