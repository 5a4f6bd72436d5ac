"""`ia2 evaluate --advise` on the tiny model, whose answers are noise: what it measures, reads and prints."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_runs import evaluation, files_of, training

from ia2 import store
from ia2.cli import main
from ia2.commands.evaluate import evaluate
from ia2.errors import UserError
from ia2.flows.advising import advise
from ia2.results.records import Training

SMALL = {"num_eval_examples": 20, "num_generated_tokens_eval": 1, "advise": True}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A store with a record of the teacher on capitals, made for the advice where no split was."""
    folder = tmp_path_factory.mktemp("advice")
    advise(evaluation(folder, tiny_model_folder, eval_datasets=("capitals",), **SMALL))
    return folder


def test_without_records_the_teacher_is_measured(root: Path) -> None:
    (record,) = (store.read_object(path) for path in (root / "outputs" / "evaluations").rglob("[!.]*.json"))
    assert (record["kind"], record["eval"]["num_train_examples"], record["eval"]["run_idx"]) == ("base", 8, 0)
    assert {"with_icl_accuracy", "without_icl_accuracy"} <= record["metrics"].keys()
    assert "--advise" not in record["command"]


def test_records_are_read_and_nothing_is_measured_again(
    root: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(root)
    assert main(["evaluate", "--advise", "--model_id", str(tiny_model_folder), "--root", str(root)]) == 0
    assert files_of(root) == before
    title, verdict, *found = capsys.readouterr().out.splitlines()
    assert title == "capitals"
    assert verdict.startswith("Reasonable: tok, given a weak teacher (N = 8, n = 20, teacher ")
    assert any("! As a teacher it is weak" in line for line in found)


def test_only_what_the_flags_select_is_read(
    root: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measured = []
    monkeypatch.setattr("ia2.flows.advising.evaluate", lambda config, models: measured.append(config))
    flags = {"num_examples": (4,), "run_indices": (1,), "num_eval_examples": 21, "trained_datasets": ("capitals",)}
    with caplog.at_level(logging.INFO, "ia2"):
        for name, value in flags.items():
            config = evaluation(root, tiny_model_folder, **SMALL | {"eval_datasets": ("capitals",), name: value})
            assert len(advise(config)) == (name == "trained_datasets"), name
    assert len(measured) == 3
    assert {(one.model_types, one.eval_datasets, one.advise) for one in measured} == {(("base",), ("capitals",), False)}
    assert caplog.messages == ["No record has the teacher on capitals: it is measured."] * 3


def test_a_control_is_no_teacher(root: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    config = evaluation(tmp_path, tiny_model_folder, eval_datasets=("capitals",), **SMALL)
    split = {"num_examples": (8,), "run_indices": (0,), "model_types": ("base",), "advise": False}
    (path,) = evaluate(config.model_copy(update=split))
    record = store.read_object(path)
    store.write_object(path, record | {"eval": record["eval"] | {"control": "wrong_labels"}})
    path.rename(path.with_name("control.json"))
    path.with_suffix(".parquet").rename(path.with_name("control.parquet"))
    (found,) = advise(config)
    assert path.exists()
    assert any("With wrong labels in its demonstrations" in finding.text for finding in found.findings)


def test_adapters_are_those_that_the_flags_select(
    root: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, run = tmp_path / "copy", training(None, tiny_model_folder, num_train_examples=8)
    shutil.copytree(root, copy)
    (base,) = (copy / "outputs" / "evaluations").rglob("[!.]*.json")
    shutil.copy(base.with_suffix(".parquet"), base.with_name("act.parquet"))
    outcome = {**dict.fromkeys(Training.model_fields, 1), "dev_losses": {}}
    adapter = {"kind": "adapter", "run": run.identity(), "train": outcome}
    store.write_object(base.with_name("act.json"), store.read_object(base) | adapter)
    config = evaluation(copy, tiny_model_folder, **SMALL)

    def verdict(**flags: object) -> str:
        (found,) = advise(config.model_copy(update=flags))
        return found.verdict

    assert "No adapter was measured" in verdict()
    monkeypatch.setattr("ia2.flows.advising.select_runs", lambda *_: [SimpleNamespace(config=run)])
    assert "the best that was is act (IA2)" in verdict()
    assert "No adapter was measured" in verdict(model_types=("base",))


def test_without_any_dataset_it_asks_for_one(tmp_path: Path, tiny_model_folder: Path) -> None:
    with pytest.raises(UserError, match="advice on which evaluation set"):
        advise(evaluation(tmp_path, tiny_model_folder, **SMALL))
