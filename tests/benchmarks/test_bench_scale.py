"""The growth of time is measured at three sizes of every axis, and judged by the formula."""

import sys
from dataclasses import replace

import bench_scale
import pytest
from bench_scale import COLLECT, TRAIN, Point


def test_every_axis_has_three_sizes_each_twice_the_one_before() -> None:
    for sizes in (*bench_scale.AXES.values(), bench_scale.DEPTHS, bench_scale.WIDTHS):
        first = min(sizes)
        assert list(sizes) == [first, 2 * first, 4 * first]


def test_every_size_is_measured_and_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    axes = {"queries": {n: replace(COLLECT, num_queries=n) for n in (9, 10)}, "N": {8: replace(TRAIN, num_examples=8)}}
    monkeypatch.setattr(bench_scale, "AXES", axes)
    monkeypatch.setattr(bench_scale, "SPREAD", float("inf"))  # of a tiny model, time is all overhead
    monkeypatch.setattr(sys, "argv", ["bench_scale.py", "--model", "tiny", "--repeats", "1"])
    assert bench_scale.main() == 0
    lines = capsys.readouterr().out.split("quotient\n")[1].splitlines()
    told = [(line.rsplit(maxsplit=4)[0].strip(), int(line.split()[-4])) for line in lines]
    assert told[:3] == [("queries", 9), ("queries", 10), ("N", 8)]
    assert told[3:6] == [("collect: layers", n) for n in (1, 2, 4)]
    assert told[6:] == [("collect: width", n) for n in (64, 128, 256)]


def test_time_follows_where_it_grows_as_the_formula_does() -> None:
    assert bench_scale.follows("N", {1: Point(1.0, 0.5), 2: Point(2.0, 1.0), 4: Point(4.0, 1.1)})
    assert not bench_scale.follows("N", {1: Point(1.0, 0.5), 2: Point(2.0, 1.0), 4: Point(8.0, 1.9)})
