"""What a record measures and rests on: the uncertainty set, labels, agreement, digests, wrong demonstrations."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_runs import training, write_dataset

from ia2 import store
from ia2.commands.data_files import create
from ia2.commands.evaluate import EvaluationJob, evaluate_run, is_recorded, record_path, write_record
from ia2.commands.train import train
from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSpec
from ia2.models.loading import ModelCache
from ia2.prompts.splits import SplitSpec
from ia2.training.trained_run import TrainedRun, read_trained_run

TEXTS = ("win", "lunch", "zzz", "see you", "free", "now", "call", "home", "prize", "late", "ok", "cash")
"""Invented, as are the labels."""
GOLDS = ("spam", "ham") * 6


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, models: ModelCache) -> Path:
    """A root with a task of two labels, one of free text, their splits and a run."""
    root = tmp_path_factory.mktemp("measured")
    task = {"name": "spam", "template": "Text:{text}\nLabel:", "answer_template": "{label}", "parser": "line"}
    rows = [
        {"idx": i, "question": f"Text:{text}\nLabel:", "answer": gold}
        for i, (text, gold) in enumerate(zip(TEXTS, GOLDS, strict=True))
    ]
    metadata = {"task": {**task, "labels": {"spam": "unwanted", "ham": "wanted"}}}
    content = {"metadata": metadata, "train_examples": rows, "val_examples": rows}
    store.write_json(store.pool_path(root, "spam"), content)
    write_dataset(root, "words", [f"word {i}" for i in range(24)])
    for dataset in ("spam", "words"):
        create(root, dataset, SplitSpec(4, 0))
    train(training(root, tiny_model_folder, dataset="words"), models)
    return root


@pytest.fixture
def root(base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base, tmp_path / "root")


def asked(model: Path, **changes: Any) -> EvaluationSpec:
    fields: dict[str, Any] = {
        "eval_dataset": "spam",
        "icl_source_dataset": "spam",
        "icl_max_demos": 4,
        "num_train_examples": 4,
        "run_idx": 0,
        "num_generated_tokens_eval": 3,
        "model_id": str(model),
        **changes,
    }
    return EvaluationSpec(**fields)


def job(root: Path, one: EvaluationSpec, conditions: tuple[bool, ...] = (False, True)) -> EvaluationJob:
    return EvaluationJob(one, None, record_path(root, one, None), conditions)


def made(
    root: Path, models: ModelCache, one: EvaluationSpec, conditions: tuple[bool, ...] = (False, True)
) -> dict[str, Any]:
    """A record as it is written and read again, with its rows."""
    lm, path = models.load(ModelConfig(model_id=one.model_id, device="cpu")), record_path(root, one, None)
    write_record(path, evaluate_run(root, job(root, one, conditions), lm), "ia2 evaluate")
    return {**store.read_object(path), "examples": pd.read_parquet(path.with_suffix(".parquet"))}


@pytest.mark.parametrize("dataset", ["spam", "words"])
def test_the_record_with_uncertainty_holds_that_without(
    root: Path, tiny_model_folder: Path, models: ModelCache, dataset: str
) -> None:
    one = asked(tiny_model_folder, eval_dataset=dataset, icl_source_dataset=dataset)
    plain = made(root, models, one)
    full = made(root, models, asked(**{**vars(one), "model": tiny_model_folder, "uncertainty_analysis": True}))
    rows, more = plain.pop("examples"), full.pop("examples")
    metrics, numbers = plain.pop("metrics"), full.pop("metrics")
    assert {name: numbers[name] for name in metrics} == metrics
    added = {"entropy", "uncertainty", "top1_accuracy", "response_entropy", "response_log_prob"}
    added |= {"label_entropy", "label_uncertainty"} if dataset == "spam" else set()
    assert {f"{when}_icl_{name}" for when in ("with", "without") for name in added} <= numbers.keys() - metrics.keys()
    pd.testing.assert_frame_equal(more[rows.columns], rows)
    assert len(more.columns) == len(rows.columns) + (8 if dataset == "spam" else 7)
    apart = {"eval", "timings", "peak_memory_bytes", "examples_sha256", "sha256"}
    assert {key: full[key] for key in full.keys() - apart} == {key: plain[key] for key in plain.keys() - apart}


def test_one_token_has_no_measures_of_a_whole_response(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    one = asked(tiny_model_folder, num_generated_tokens_eval=1, uncertainty_analysis=True)
    record = made(root, models, one)
    assert not [name for name in record["metrics"] if "response" in name]
    assert (record["examples"].num_response_tokens == 1).all()
    np.testing.assert_allclose(record["examples"].response_log_prob, np.log(record["examples"].confidence))


def test_what_is_counted_by_label_follows_from_the_examples(
    root: Path, tiny_model_folder: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model says no label by itself, so its texts are made up: right, the other label, and none."""
    texts = ["spam", "ham", "ham", "", "SPAM", "eggs", "spam", "spam", "spam", "ham", "ham", "ham"]
    monkeypatch.setattr("ia2.prompts.prompt.PromptTokenizer.text", lambda _self, _ids: texts.pop(0))
    record = made(root, models, asked(tiny_model_folder), (False,))
    # gold spam at 0 2 4 6 8 10: spam ham SPAM spam spam ham; gold ham at 1 3 5 7 9 11: ham - eggs spam ham ham
    assert record["labels"] == ["spam", "ham"]
    assert record["confusion"]["without_icl"] == {
        "labels": {"spam": {"spam": 4, "ham": 2}, "ham": {"spam": 1, "ham": 3}},
        "no_label": {"spam": 0, "ham": 2},
    }
    assert record["recall"]["without_icl"] == pytest.approx({"spam": 4 / 6, "ham": 3 / 6})
    metrics = record["metrics"]
    assert metrics["without_icl_accuracy"] == pytest.approx(100 * 7 / 12)
    assert metrics["without_icl_balanced_accuracy"] == pytest.approx(100 * (4 / 6 + 3 / 6) / 2)
    assert metrics["without_icl_macro_f1"] == pytest.approx((8 / (6 + 5) + 6 / (6 + 5)) / 2)
    assert metrics["without_icl_parse_rate"] == pytest.approx(11 / 12)
    assert record["agreement"] is None


def test_agreement_follows_from_the_examples(
    root: Path, tiny_model_folder: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["spam"] * 12 + ["spam"] * 3 + ["ham"] * 9  # without: right at 0 2 4 ...; with: 0 2, then 3 5 7 9 11
    monkeypatch.setattr("ia2.prompts.prompt.PromptTokenizer.text", lambda _self, _ids: said.pop(0))
    record = made(root, models, asked(tiny_model_folder))
    assert record["agreement"] == {"both": 2, "only_with": 5, "only_without": 4, "neither": 1}
    assert record["metrics"]["accuracy_delta"] == pytest.approx(100 / 12)


# What a record rests on


def test_a_prepared_again_evaluation_set_is_noticed(
    root: Path, tiny_model_folder: Path, models: ModelCache, caplog: pytest.LogCaptureFixture
) -> None:
    one = asked(tiny_model_folder)
    record = made(root, models, one)
    path = store.pool_path(root, "spam")
    assert record["eval_sha256"] == store.file_digest(path)
    assert is_recorded(root, job(root, one))
    content = store.read_json(path)
    store.write_json(path, {**content, "val_examples": content["val_examples"][::-1]})
    with caplog.at_level(logging.WARNING):
        assert not is_recorded(root, job(root, one))
    assert "is made again: eval_sha256 is not that of the files" in caplog.text
    made(root, models, one)
    assert is_recorded(root, job(root, one))


def test_a_record_that_does_not_say_its_evaluation_set_is_made_again(
    root: Path, tiny_model_folder: Path, models: ModelCache, caplog: pytest.LogCaptureFixture
) -> None:
    one = asked(tiny_model_folder)
    made(root, models, one)
    path = record_path(root, one, None)
    store.write_object(path, {key: value for key, value in store.read_object(path).items() if key != "eval_sha256"})
    with caplog.at_level(logging.WARNING):
        assert not is_recorded(root, job(root, one))
    assert "is made again: eval_sha256 is not that of the files" in caplog.text


def test_no_demonstrations_need_no_split(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    """As in the low-data regime with one labelled example: there is no split of one to show anything from."""
    one = asked(tiny_model_folder, num_train_examples=1)
    assert made(root, models, one, (False,))["split_sha256"] is None
    assert is_recorded(root, job(root, one, (False,)))
    assert not is_recorded(root, job(root, one))
    with pytest.raises(UserError, match="at least 2 training examples, and this run has 1: evaluate it without"):
        made(root, models, one)


def test_a_split_that_nothing_is_shown_from_has_no_part_in_a_record(
    root: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    one = asked(tiny_model_folder)
    assert made(root, models, one, (False,))["split_sha256"] is None
    create(root, "spam", SplitSpec(4, 0, num_dev_examples=1), overwrite=True)
    assert is_recorded(root, job(root, one, (False,)))


def test_a_record_whose_split_is_gone_is_not_taken_for_one_that_stands(
    root: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    one = asked(tiny_model_folder)
    made(root, models, one)
    one.split_path(root).unlink()
    assert not is_recorded(root, job(root, one))


# Wrong demonstrations


def test_wrong_demonstrations_change_the_pass_that_shows_them_alone(
    root: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    right = asked(tiny_model_folder)
    wrong = asked(tiny_model_folder, control="wrong_labels")
    path = record_path(root, wrong, None)
    assert path.name == record_path(root, right, None).name.replace(".json", "+control=wrong_labels.json")
    one, other = made(root, models, right), made(root, models, wrong)
    assert other["eval"]["control"] == "wrong_labels"
    for name, value in one["metrics"].items():
        if name.startswith("without"):
            assert other["metrics"][name] == value
    assert other["metrics"]["with_icl_nll"] != one["metrics"]["with_icl_nll"]
    assert other["examples"].gold.tolist() == one["examples"].gold.tolist()


# Work that is done once


def test_nothing_is_tokenised_again_for_the_next_adapter(
    root: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = ModelCache().load(ModelConfig(model_id=str(tiny_model_folder), device="cpu"))
    (folder,) = store.run_folders(root)
    first = read_trained_run(folder)
    second = TrainedRun(shutil.copytree(folder, folder.with_name("other")), first.config, first.spec, first.description)
    one = asked(tiny_model_folder, eval_dataset="words", icl_source_dataset="words", uncertainty_analysis=True)
    lm.prompt_tokenizer(), lm.stopper("separator")  # which try the tokenizer
    tokenised: list[str] = []
    call = type(lm.tokenizer).__call__

    def counting(tokenizer: Any, text: str, **options: Any) -> Any:  # noqa: ANN401
        tokenised.append(text)
        return call(tokenizer, text, **options)

    monkeypatch.setattr(type(lm.tokenizer), "__call__", counting)
    evaluate_run(root, EvaluationJob(one, first, record_path(root, one, first)), lm)
    assert len(tokenised) == len(set(tokenised)) > 12
    tokenised.clear()
    evaluate_run(root, EvaluationJob(one, second, record_path(root, one, second)), lm)
    assert tokenised == []
