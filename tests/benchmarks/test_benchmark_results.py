"""What a row prints and writes is worked out from its runs."""

import pytest
import torch
from comparing import TOLERANCES, Comparison
from floors import Phase, Rates
from machine import Timed
from results import Result, side

RATES = Rates(flops=100.0, moved=10.0)


def result(differences: list[str]) -> Result:
    """Ours takes 3 s; plain 12 s, from 3 s for a quarter of the work; arithmetic 1.5 s, moving 0.5 s."""
    runs = [Timed("", 9.0, 7_000_000), *(Timed("", seconds, 0) for seconds in (4.0, 2.0, 3.0))]
    comparison = Comparison("the plain side", TOLERANCES[torch.float32], num_tokens=1, differences=differences)
    return Result(
        row="row",
        work="work",
        bar=4.5,
        ours=side(runs),
        plain=side(runs, "a quarter measured, scaled", 0.25),
        phases=[Phase(150.0, 1.0), Phase(1.0, 5.0)],
        compared=[comparison],
        rate_bar=0.5,
    )


def test_numbers_are_those_of_the_medians() -> None:
    numbers = result([]).numbers(RATES)
    assert numbers["ratio"] == 4.0
    assert numbers["floor_seconds"] == 2.0
    assert numbers["times_the_floor"] == 1.5
    assert numbers["share_of_matrix_rate"] == pytest.approx(151 / 3 / 100)
    assert numbers["equal"]
    assert numbers["plain"] == {
        "seconds": [16.0, 8.0, 12.0],
        "first": 36.0,
        "peak_bytes": 7_000_000,
        "scaled": "a quarter measured, scaled",
        "median": 12.0,
    }


def test_what_missed_its_bar_and_what_differs_is_said() -> None:
    text = result(["token 1 where the other says 2"]).text(RATES)
    assert "4.00      bar 4.5: MISSED" in text
    assert "50% of the matrix rate (bar 50%: met)" in text
    assert "mostly arithmetic" in text
    assert "DIFFER  with the plain side: 1 tokens; token 1 where the other says 2" in text
    assert "7.0 MB above the weights" in text
