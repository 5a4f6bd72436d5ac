"""A base model is replaced, moved, or named from elsewhere: what rests on it notices, or finds it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft import AutoPeftModelForCausalLM
from test_fitting import write_rows
from tiny import VOCABULARY, save_tiny_model, tiny_model, tiny_tokenizer
from tiny_runs import evaluation, training
from transformers import AutoModelForCausalLM
from undrawn import draw_nothing

from ia2 import store
from ia2.cli import main
from ia2.commands.evaluate import evaluate
from ia2.commands.similarity import similarity
from ia2.commands.train import train
from ia2.config import SimilarityConfig
from ia2.errors import MachineError, UserError
from ia2.models.loading import changed_parts, parts_of


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch.setattr)


@pytest.fixture
def model(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A folder in which a model may be replaced."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


def replace(model: Path) -> None:
    """Put another model of the same shape and the same tokenizer in its place."""
    shutil.rmtree(model)
    save_tiny_model(model, seed=1)


def base_of(root: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """The record of the base model, and its examples."""
    (path,) = (root / "outputs" / "evaluations" / "base").glob("*.json")
    return store.read_object(path), pd.read_parquet(path.with_suffix(".parquet"))


def test_a_record_is_made_again_when_the_weights_are_replaced(model: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"model_types": ("base",), "eval_datasets": ("capitals",), "run_indices": (0,)}
    config = evaluation(tmp_path / "root", model, num_examples=(4,), **asked)
    evaluate(config)
    old, old_rows = base_of(tmp_path / "root")
    replace(model)
    evaluate(config)
    new, rows = base_of(tmp_path / "root")
    assert changed_parts(old["base"]["parts"], new["base"]["parts"]) == ["weights"]
    assert new["base"]["parts"] == parts_of(model)
    evaluate(evaluation(tmp_path / "fresh", model, num_examples=(4,), **asked))
    _, expected = base_of(tmp_path / "fresh")
    pd.testing.assert_frame_equal(rows, expected)
    assert not rows["confidence"].equals(old_rows["confidence"])
    written = new["command"], next((tmp_path / "root" / "outputs").rglob("*.parquet")).stat().st_mtime_ns
    evaluate(config)
    again, _ = base_of(tmp_path / "root")
    assert (again["command"], next((tmp_path / "root" / "outputs").rglob("*.parquet")).stat().st_mtime_ns) == written


def test_a_record_of_the_first_edition_names_no_parts_and_stands(model: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"model_types": ("base",), "eval_datasets": ("capitals",), "run_indices": (0,)}
    (path,) = evaluate(evaluation(tmp_path, model, num_examples=(4,), **asked))
    record = store.read_object(path)
    path.write_text(json.dumps({key: value for key, value in record.items() if key not in ("base", "sha256")}))
    before = path.read_bytes()
    evaluate(evaluation(tmp_path, model, num_examples=(4,), **asked))
    assert ("base" in record, path.read_bytes() == before) == (True, record["schema"] == 1)


PARTS: dict[str, Callable[[Path], object]] = {
    "weights": replace,
    "tokenizer": lambda model: (model / "chat_template.jinja").write_text("{{ messages }}"),
    "config": lambda model: (model / "generation_config.json").write_text('{"eos_token_id": 9}'),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_run_says_which_part_of_its_base_has_changed(part: str, model: Path, tmp_path: Path) -> None:
    folder = train(training(tmp_path, model))
    before = store.read_object(next(folder.glob("[rc]*n*.json")))
    targets = set((tmp_path / "outputs" / "targets").glob("[!.]*"))
    PARTS[part](model)
    with pytest.raises(UserError, match=rf"the {part} of .*--retrain"):
        train(training(tmp_path, model))
    with pytest.raises((UserError, MachineError), match=f"whose {part} are not"):
        evaluate(evaluation(tmp_path, model, model_types=("act",)))
    assert train(training(tmp_path, model, retrain=True)) == folder
    after = store.read_object(next(folder.glob("[rc]*n*.json")))
    assert changed_parts(before["base"]["parts"], after["base"]["parts"]) == [part]
    assert len(set((tmp_path / "outputs" / "targets").glob("[!.]*")) - targets) == 1, "collected from the new base"
    evaluate(evaluation(tmp_path, model, model_types=("act",)))


def test_similarities_rest_on_the_base(model: Path, tmp_path: Path) -> None:
    train(training(tmp_path, model))
    config = SimilarityConfig(root=tmp_path, num_eval_examples=4, icl_max_demos=4)
    paths = similarity(config)
    assert all(store.read_object(path)["base"]["parts"] == parts_of(model) for path in paths)
    replace(model)
    with pytest.raises((UserError, MachineError), match="weights"):
        similarity(config)


def test_fit_again_on_replaced_weights_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fit", str(write_rows(tmp_path / "rows.csv")), "--model_id", "model", "--num_train_epochs", "1"]
    assert main([*words, "--lrs", "1e-2"]) == 0
    predict = ["predict", "--adapter", "rows-ia2/adapter", "--text", "sentence number 5 of these"]
    replace(model)
    capsys.readouterr()
    assert main(predict) == 2
    assert main([*words, "--lrs", "1e-2"]) == 2
    assert "weights" in capsys.readouterr().err
    assert main([*words, "--lrs", "1e-2", "--overwrite"]) == 0
    assert main(predict) == 0


# Paths


def test_a_relative_path_is_found_from_elsewhere(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = train(training(tmp_path / "root", Path(model.name)))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["predict", "--adapter", str(folder), "--text", "France"]) == 0
    expected = capsys.readouterr().out
    assert main(["predict", "--adapter", str(folder), "--text", "France", "--model_id", "../model"]) == 0
    assert capsys.readouterr().out == expected
    assert store.read_object(folder / "adapter_config.json")["base_model_name_or_path"] == str(model)
    evaluate(evaluation(tmp_path / "root", Path("../model"), model_types=("act",)))
    monkeypatch.chdir(tmp_path)
    assert train(training(tmp_path / "root", Path("model"))) == folder, "the same run by another path to its base"


def test_adapters_load_in_peft_and_transformers(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = train(training(tmp_path / "root", Path(model.name)))
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in folder.glob("adapter_*"):
        shutil.copy(file, plain)
    monkeypatch.chdir(plain)
    ids = torch.arange(3, 13)[None]
    logits = [
        kind.from_pretrained(plain)(input_ids=ids).logits for kind in (AutoPeftModelForCausalLM, AutoModelForCausalLM)
    ]
    assert torch.equal(*logits)
    assert not torch.allclose(logits[0], tiny_model("llama")(input_ids=ids).logits)


# Tokens


def test_tokens_beyond_the_embedding_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model("llama").save_pretrained(tmp_path / "model")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"<extra{number}>" for number in range(40)])
    assert len(tokenizer) > VOCABULARY
    tokenizer.save_pretrained(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.csv")
    words = ["--model_id", str(tmp_path / "model"), "--num_train_epochs", "1", "--lrs", "1e-2"]
    assert main(["fit", str(rows), *words, "--root", str(tmp_path / "plain")]) == 0, "they may be there, unused"
    rows.write_text(rows.read_text().replace("sentence", "<extra39>"))
    capsys.readouterr()
    assert main(["fit", str(rows), *words, "--root", str(tmp_path / "extra")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "<extra39>" in last
    assert str(VOCABULARY) in last
