"""What one row of a benchmark came to: printed for people, and written as one line of JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from comparing import Comparison
from floors import Phase, Rates
from machine import Timed


@dataclass(frozen=True)
class Side:
    """Seconds of each repeat for the whole work, those of the first call before them, and its peak of memory.

    `scaled` says what was really run where that was less than the whole work.
    """

    seconds: Sequence[float]
    first: float
    peak_bytes: int
    scaled: str = ""

    @property
    def median(self) -> float:
        return median(self.seconds)


def side(runs: Sequence[Timed[object]], scaled: str = "", share: float = 1.0) -> Side:
    """From the runs of one side, the first for warming up, each of `share` of the whole work."""
    return Side(
        seconds=[run.seconds / share for run in runs[1:]],
        first=runs[0].seconds / share,
        peak_bytes=runs[0].peak_bytes,
        scaled=scaled if share < 1 else "",
    )


@dataclass(frozen=True)
class Result:
    """Both sides of a row, the floor, and what was compared."""

    row: str
    work: str
    bar: float
    ours: Side
    plain: Side
    phases: Sequence[Phase]
    compared: Sequence[Comparison]
    rate_bar: float = 0.0
    more: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both sides computed the same."""
        return not any(comparison.differences for comparison in self.compared)

    @property
    def ratio(self) -> float:
        return self.plain.median / self.ours.median

    def rate(self, rates: Rates) -> float:
        """What ours reaches of the measured rate of a matrix product."""
        return sum(phase.flops for phase in self.phases) / self.ours.median / rates.flops

    def numbers(self, rates: Rates) -> dict[str, object]:
        """Everything as JSON values."""
        floor = rates.seconds(self.phases)
        return {
            "row": self.row,
            "work": self.work,
            "ratio": self.ratio,
            "bar": self.bar,
            "ours": {**asdict(self.ours), "median": self.ours.median},
            "plain": {**asdict(self.plain), "median": self.plain.median},
            "floor_seconds": floor,
            "times_the_floor": self.ours.median / floor,
            "flops": sum(phase.flops for phase in self.phases),
            "moved_bytes": sum(phase.moved for phase in self.phases),
            "share_of_matrix_rate": self.rate(rates),
            "rate_bar": self.rate_bar,
            "equal": self.equal,
            "compared": [str(comparison) for comparison in self.compared],
            "more": list(self.more),
        }

    def text(self, rates: Rates) -> str:
        floor = rates.seconds(self.phases)
        bound = "arithmetic" if self._bound_by_arithmetic(rates) else "moving bytes"
        rate_bar = f" (bar {self.rate_bar:.0%}: {_met(self.rate(rates) >= self.rate_bar)})" if self.rate_bar else ""
        lines = [
            f"{self.row}: {self.work}",
            f"  ours    {_side(self.ours)}",
            f"  plain   {_side(self.plain)}{'; ' * bool(self.plain.scaled)}{self.plain.scaled}",
            f"  ratio   {self.ratio:10.2f}      bar {self.bar:g}: {_met(self.ratio >= self.bar)}",
            f"  floor   {floor:10.4f} s    mostly {bound}; ours takes {self.ours.median / floor:.2f} times that, "
            f"at {self.rate(rates):.0%} of the matrix rate{rate_bar}",
            *(f"  {'DIFFER' if one.differences else 'equal '}  {one}" for one in self.compared),
            *(f"          {line}" for line in self.more),
        ]
        return "\n".join(lines)

    def _bound_by_arithmetic(self, rates: Rates) -> bool:
        arithmetic = [phase for phase in self.phases if phase.flops / rates.flops > phase.moved / rates.moved]
        return rates.seconds(arithmetic) > rates.seconds(self.phases) / 2


def _met(reached: bool) -> str:
    return "met" if reached else "MISSED"


def _side(one: Side) -> str:
    spread = f"{min(one.seconds):.4g} to {max(one.seconds):.4g}, first {one.first:.4g}"
    runs = f"{len(one.seconds)} measured: {spread}"
    return f"{one.median:10.4f} s    {one.peak_bytes / 1e6:9.1f} MB above the weights    ({runs})"


def append(path: Path, numbers: dict[str, object]) -> None:
    """Add one line of JSON to a file."""
    with path.open("a", encoding="utf-8") as stream:
        print(json.dumps(numbers), file=stream)
