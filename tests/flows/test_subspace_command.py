"""Pairs of trained runs: which are compared, what is kept, and what is told."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from described import describe
from tiny_runs import leftovers, training

from ia2 import store
from ia2.analysis.subspace import PAIR_COLUMNS, ROW_COLUMNS, examine_overlaps
from ia2.commands.subspace import subspace
from ia2.commands.train import train
from ia2.config import SubspaceConfig
from ia2.errors import MachineError, UserError
from ia2.models.loading import ModelCache


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """Two methods in two runs each, and what is no LoRA; the base model is gone before anything is compared."""
    root, models = tmp_path_factory.mktemp("subspaces"), ModelCache()
    gone = shutil.copytree(tiny_model_folder, tmp_path_factory.mktemp("gone") / "tiny-llama")
    for run_idx in (0, 1):
        for kind in ("act", "tok"):
            train(training(root, gone, training_method=kind, run_idx=run_idx, num_train_epochs=1, keep="last"), models)
    train(training(root, gone, training_method="ia3-act", num_train_epochs=1, keep="last"), models)
    shutil.rmtree(gone)
    subspace(SubspaceConfig(root=root))
    return root


@pytest.fixture
def root(compared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(compared, tmp_path / "root")


def adapter(root: Path, method: str, run_idx: int) -> Path:
    (folder,) = (root / "outputs" / method / "capitals").glob(f"[!.]*_0.01_{run_idx}*")
    return folder / "adapter_model.safetensors"


def read_overlaps(root: Path) -> pd.DataFrame:
    return pd.concat([one.frame() for one in examine_overlaps(root).found], ignore_index=True)


def times(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "outputs" / "subspace").rglob("[!.]*.*")}


def test_methods_of_one_run_and_runs_of_one_method(compared: Path) -> None:
    frame = read_overlaps(compared)
    assert list(frame.columns) == [*PAIR_COLUMNS, *ROW_COLUMNS]
    pairs = frame.groupby(["relation", "method_a", "run_idx_a", "method_b", "run_idx_b"]).size()
    assert pairs.to_dict() == {
        ("methods", "tok", 0, "act", 0): 6,
        ("methods", "tok", 1, "act", 1): 6,
        ("runs", "act", 0, "act", 1): 6,
        ("runs", "tok", 0, "tok", 1): 6,
    }
    assert set(frame["dataset"]) == {"capitals"}
    assert set(frame["run_a"]) >= {adapter(compared, "act", 0).parent.relative_to(compared / "outputs").as_posix()}
    values = frame[["left_overlap", "right_overlap", "left_energy_overlap", "right_energy_overlap"]]
    assert ((values > 0) & (values <= 1 + 1e-9)).all(axis=None)


def test_runs_of_one_index_begin_with_the_same_a(compared: Path) -> None:
    """Why the right overlap of two methods says little by itself."""
    right = read_overlaps(compared).groupby("relation")["right_overlap"].mean()
    assert right["methods"] > 0.9
    assert right["runs"] < 0.5


def test_what_stands_is_not_compared_again_and_what_has_changed_is(root: Path) -> None:
    before = times(root)
    subspace(SubspaceConfig(root=root))
    assert times(root) == before
    weights = adapter(root, "act", 0)
    shutil.copy(adapter(root, "tok", 0), weights)
    describe(weights.parent, store.read_object(weights.parent / "run.json"))
    subspace(SubspaceConfig(root=root))
    assert {name for name, at in times(root).items() if at != before[name]} == {
        path.name for path in (root / "outputs" / "subspace").rglob("[!.]*.*") if involves(path, root)
    }
    frame = read_overlaps(root)
    same = frame[(frame["relation"] == "methods") & (frame["run_idx_a"] == 0)]
    assert same[["left_overlap", "right_overlap", "cosine"]].round(9).eq(1).all(axis=None)
    assert leftovers(root) == []


def involves(path: Path, root: Path) -> bool:
    content = json.loads(path.with_suffix(".json").read_text())
    return adapter(root, "act", 0).parent.relative_to(root / "outputs").as_posix() in (
        content["run_a"],
        content["run_b"],
    )


@pytest.mark.parametrize("end", ["parquet", "json"])
def test_what_is_damaged_is_compared_again(root: Path, end: str) -> None:
    before = read_overlaps(root)
    path = min((root / "outputs" / "subspace").rglob(f"[!.]*.{end}"))
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_overlaps(root)) == len(before) - 6
    subspace(SubspaceConfig(root=root))
    assert read_overlaps(root).equals(before)


@pytest.mark.parametrize(("of_the_same_size", "failures"), [(False, "1 runs or pairs"), (True, "2 runs or pairs")])
def test_an_adapter_that_was_edited_stops_no_other_pair(root: Path, of_the_same_size: bool, failures: str) -> None:
    """Of another size it is no run any more; else each of its pairs, which read its weights, finds it damaged."""
    weights = adapter(root, "act", 0)
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1" if of_the_same_size else b"nothing")
    shutil.rmtree(root / "outputs" / "subspace")
    told = f"{failures} could not be compared, the others stand; .*{re.escape(str(weights))} is damaged"
    with pytest.raises(MachineError, match=told):
        subspace(SubspaceConfig(root=root))
    assert len(read_overlaps(root)) == 12


def test_filters_choose_runs(root: Path) -> None:
    assert len(subspace(SubspaceConfig(root=root, run_indices=(0,)))) == 1
    assert len(subspace(SubspaceConfig(root=root, model_types=("tok", "base")))) == 1


def test_nothing_to_compare_is_a_mistake(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no trained run below .*; `ia2 train` makes one"):
        subspace(SubspaceConfig(root=tmp_path / "empty"))
    with pytest.raises(UserError, match="0 of the 1 runs that match are of LoRA"):
        subspace(SubspaceConfig(root=root, model_types=("ia3-act",)))
    with pytest.raises(UserError, match="1 of the 1 runs that match are of LoRA, and no two of them differ"):
        subspace(SubspaceConfig(root=root, model_types=("act",), run_indices=(0,)))


def test_the_table_shows_overlap_beside_chance_and_control(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = subspace(SubspaceConfig(root=compared))
    printed = capsys.readouterr().out
    assert printed.startswith("capitals, N = 4, tiny-llama")
    frame = read_overlaps(compared)
    for (relation, method), rows in frame.groupby(["relation", "method_b"]):
        label = f"{'tok' if relation == 'methods' else method}, {method} "
        (line,) = [line for line in printed.splitlines() if line.startswith(label)]
        assert f"{rows['left_overlap'].mean():.3f}" in line
        assert f"{rows['chance_left'].mean():.3f}" in line
    assert f"{len(paths)} pairs below {compared / 'outputs' / 'subspace'}" in printed
