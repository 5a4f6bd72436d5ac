"""The growth of time is measured at three sizes of every axis, and judged by the formula."""

import sys

import bench_scale
import pytest
from bench_scale import Point


def test_every_axis_is_measured_at_three_sizes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_scale.py", "--model", "tiny", "--repeats", "1"])
    monkeypatch.setattr(bench_scale, "SPREAD", float("inf"))  # of a tiny model, time is all overhead
    assert bench_scale.main() == 0
    table = capsys.readouterr().out.split("quotient\n")[1].splitlines()
    axes = [line.rsplit(maxsplit=4)[0].strip() for line in table]
    assert axes == [axis for axis in [*bench_scale.AXES, "collect: layers", "collect: width"] for _ in range(3)]


def test_time_follows_where_it_grows_as_the_formula_does() -> None:
    assert bench_scale.follows("N", {1: Point(1.0, 0.5), 2: Point(2.0, 1.0), 4: Point(4.0, 1.1)})
    assert not bench_scale.follows("N", {1: Point(1.0, 0.5), 2: Point(2.0, 1.0), 4: Point(8.0, 1.9)})
