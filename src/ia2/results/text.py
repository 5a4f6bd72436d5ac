"""Tables as plain text: the first column to the left, the others, which are numbers, to the right."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ia2.config import TrainConfig
from ia2.evaluation.statistics import standard_deviation
from ia2.results.captions import number


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


def told_apart(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each name, with those settings in brackets in which others of the same name differ: `act [lr 0.001]`."""
    told = list(names)
    for name in set(names):
        places = [place for place, other in enumerate(names) if other == name]
        values: dict[str, set[str]] = {}
        for place in places:
            for field in settings[place]:
                values.setdefault(field, {str(settings[other].get(field)) for other in places})
        differing = [field for field, found in values.items() if len(found) > 1]
        for place in places:
            details = [f"{field} {settings[place][field]}" for field in differing if field in settings[place]]
            told[place] = f"{name} [{', '.join(details)}]" if details else name
    return told


def settings_of(*runs: TrainConfig | None) -> dict[str, Any]:
    """What decides these runs but for their method and index."""
    fields = {name: value for run in runs if run for name, value in run.relevant_fields().items()}
    return {name: value for name, value in fields.items() if name not in ("run_idx", "training_method")}
