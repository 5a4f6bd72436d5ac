"""Every row of the benchmarks runs on a tiny model, finds both sides equal, and finds it out where they are not."""

import json
import sys
from pathlib import Path

import bench_collect
import bench_evaluate
import bench_train
import pytest
import running
import torch
from results import Result
from running import DTYPES, Bench, Row
from shapes import tiny

MODULES = (bench_collect, bench_train, bench_evaluate)
ON_CPU: list[Row] = [row for module in MODULES for row in module.ON_CPU]
ON_GPU: list[Row] = [row for module in MODULES for row in module.ON_GPU]
CPU = torch.device("cpu")


def bench(dtype: str) -> Bench:
    return Bench(ours=tiny(CPU, DTYPES[dtype]), plain=tiny(CPU, DTYPES[dtype]), repeats=1)


TOK = next(row for row in ON_CPU if row.name == "train-tok")
CASES = [(row, dtype) for row in (TOK, *ON_GPU) for dtype in DTYPES]


@pytest.mark.parametrize(("row", "dtype"), CASES, ids=[f"{row.name}-{dtype}" for row, dtype in CASES])
def test_both_sides_compute_the_same(row: Row, dtype: str) -> None:
    result = row.small().measure(bench(dtype))
    assert [one.differences for one in result.compared] == [[] for _ in result.compared]
    assert all(one.num_tokens or one.errors for one in result.compared)
    assert len(result.ours.seconds) >= 1
    assert result.ratio > 0


@pytest.mark.parametrize("row", [TOK, ON_GPU[0], ON_GPU[3], ON_GPU[4]], ids=lambda row: row.name)
def test_a_side_that_computes_something_else_is_found_out(row: Row) -> None:
    other = bench("float32")
    with torch.no_grad():
        next(value for name, value in other.ours.named_parameters() if name.endswith("1.self_attn.o_proj.weight")).mul_(
            1.01
        )
    assert not row.small().measure(other).equal


def test_the_bars_are_those_that_were_set() -> None:
    assert {row.name: row.bar for row in ON_CPU} == {
        "collect-t32": 20,
        "collect-t1": 1.7,
        "train-act": 3.5,
        "train-tok": 3.5,
        "evaluate": 6,
    }
    assert {row.name: row.bar for row in ON_GPU} == {
        "collect-t200": 40,
        "collect-long": 1.5,
        "collect-orders": 8,
        "train-act": 6,
        "evaluate": 8,
        "evaluate-one-list": 8,
        "evaluate-fresh": 1.3,
    }


def test_a_row_stops_repeating_when_its_time_is_up() -> None:
    given = bench("float32")
    hurried = Bench(given.ours, given.plain, repeats=3, limit=0.0)
    assert [len(hurried.in_turns(lambda: 1, lambda _one: 2).ours)] == [2]
    assert len(Bench(given.ours, given.plain, repeats=3).in_turns(lambda: 1, lambda _one: 2).plain) == 4


def test_a_share_of_the_work_is_scaled_to_the_whole() -> None:
    row = bench_collect.CollectRow("half", 1, 10, 2, 4, 4, plain_queries=2, plain_steps=2)
    result = row.measure(bench("float32"))
    assert result.plain.scaled == "2 of 4 prompts, 2 of 4 steps measured, scaled"
    assert [one.num_tokens for one in result.compared] == [4]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where results are written when a benchmark is run from the command line, on the tiny model."""
    arguments = ["bench", "--model", "tiny", "--repeats", "1", "--out", str(tmp_path / "results.jsonl")]
    monkeypatch.setattr(sys, "argv", arguments)
    return tmp_path / "results.jsonl"


def test_the_command_prints_and_writes_every_row(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert running.main(bench_train.ON_CPU, "about", "smollm2-135m") == 0
    lines = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    assert [line["row"] for line in lines] == ["train-act", "train-tok"]
    assert {"machine", "date", "torch", "model", "dtype", "ratio", "bar", "floor_seconds", "equal"} <= lines[0].keys()
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("train-act", "ours", "plain", "ratio", "floor", "equal", "matrix rate"))


def test_a_row_that_fails_costs_no_other(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_row: Row, _bench: Bench) -> Result:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(bench_collect.CollectRow, "measure", broken)
    assert running.main((*bench_collect.ON_CPU, *bench_evaluate.ON_CPU), "about", "smollm2-135m") == 1
    assert len(told.read_text(encoding="utf-8").splitlines()) == 1


def test_a_row_that_there_is_not_is_named(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [*sys.argv, "collect-t3"])
    with pytest.raises(SystemExit):
        running.main(bench_collect.ON_CPU, "about", "smollm2-135m")
