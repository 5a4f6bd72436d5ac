"""Golden outputs: a store's numbers under names of their own, and what is reported where they differ."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden import compare, main, tensors_of, values_of
from safetensors.numpy import save_file

VALUES = {"tok/towns/a/statistics/best_dev_loss": "0.5", "evaluations/base/rows/0/response": "yes"}


def kept(folder: Path, values: dict[str, str], weight: np.ndarray) -> Path:
    folder.mkdir()
    save_file({"tok/towns/a/lora_A": weight}, folder / "tensors.safetensors")
    pd.DataFrame({"name": values.keys(), "value": values.values()}).to_csv(folder / "values.csv", index=False)
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return kept(tmp_path / "old", VALUES, np.ones((2, 3), np.float32))


def test_equal_ones_are_equal(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(old), str(old)]) == 0
    assert capsys.readouterr().out.startswith("0 differences")


@pytest.mark.parametrize(
    ("changes", "weight", "named"),
    [
        ({"tok/towns/a/statistics/best_dev_loss": "0.500001"}, 1.0, "best_dev_loss"),
        ({"evaluations/base/rows/0/response": "no"}, 1.0, "response"),
        ({"tok/towns/a/statistics/best_dev_loss": None}, 1.0, "best_dev_loss"),
        ({}, 1.0 + 2**-20, "lora_A"),
        ({}, float("nan"), "lora_A"),
    ],
)
def test_a_change_is_reported_by_its_name(
    old: Path, changes: dict[str, str], weight: float, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {key: value for key, value in (VALUES | changes).items() if value is not None}
    weights = np.ones((2, 3), np.float32)
    weights[1, 2] = weight
    new = kept(old.with_name("new"), values, weights)
    assert compare(old, new, rounding=0.0, expected=[]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("CHANGED")]
    assert named in line
    assert compare(old, new, rounding=0.0, expected=[f"*{named}"]) == 0


def test_rounding_and_what_is_new_change_nothing(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = VALUES | {"tok/towns/a/statistics/best_dev_loss": "0.500001", "tok/towns/a/statistics/other": "1.0"}
    new = kept(tmp_path / "new", values, np.full((2, 3), 1.0 + 2**-20, np.float32))
    assert compare(old, new, rounding=1e-5, expected=[]) == 0
    assert "other: is new" in capsys.readouterr().out
    assert compare(old, kept(tmp_path / "wide", VALUES, np.ones((3, 2), np.float32)), rounding=1e-5, expected=[]) == 1


def test_what_is_kept_of_a_store(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "tok" / "towns" / "a"
    record = tmp_path / "outputs" / "evaluations" / "base" / "towns" / "b.json"
    for folder in (run, record.parent, tmp_path / "reports", tmp_path / "outputs" / "targets" / "0f3a"):
        folder.mkdir(parents=True)
    save_file({"lora_A": np.zeros(2, np.float32)}, run / "adapter_model.safetensors")
    save_file({"tokens": np.arange(3)}, tmp_path / "outputs" / "targets" / "0f3a" / "tokens.safetensors")
    (run / "final_loss_statistics.json").write_text(
        '{"best_step": 3, "seconds": 1.5, "phases": {"tok": {"loss": 0.25}}}'
    )
    (run / "history.jsonl").write_text('{"step": 0}\n{"step": 1, "seconds": 0.1}\n')
    record.write_text(json.dumps({"metrics": {"accuracy": 50}, "created": "today"}))
    pd.DataFrame({"idx": [7], "response": ["yes"], "top": [[0.5, 0.25]]}).to_parquet(record.with_suffix(".parquet"))
    pd.DataFrame({"record": ["b.json"], "metric": ["accuracy"], "value": ["50.0"], "command": ["ia2 x"]}).to_csv(
        tmp_path / "reports" / "results.csv", index=False
    )
    assert {name: one.tolist() for name, one in tensors_of(tmp_path)} == {
        "tok/towns/a/lora_A": [0.0, 0.0],
        "targets/0/tokens/tokens": [0, 1, 2],
    }
    assert dict(values_of(tmp_path)) == {
        "tok/towns/a/statistics/best_step": "3.0",
        "tok/towns/a/statistics/phases/tok/loss": "0.25",
        "tok/towns/a/history/0/step": "0.0",
        "tok/towns/a/history/1/step": "1.0",
        "evaluations/base/towns/b/rows/0/idx": "7.0",
        "evaluations/base/towns/b/rows/0/response": "yes",
        "evaluations/base/towns/b/rows/0/top/0": "0.5",
        "evaluations/base/towns/b/rows/0/top/1": "0.25",
        "evaluations/base/towns/b/metrics/accuracy": "50.0",
        "results/b.json/accuracy/value": "50.0",
    }
