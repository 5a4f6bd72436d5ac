"""Label measures: by first tokens where those differ, by whole labels where two begin alike."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from tiny_runs import evaluation, files_of

from ia2 import store
from ia2.commands.evaluate import evaluate
from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.evaluation.calibration import (
    expected_calibration_error,
    expected_ece_if_calibrated,
    reliability_bins,
)
from ia2.models.loading import LanguageModel, ModelCache

TEXTS = tuple(f"{word} {number}" for number in range(3) for word in ("win a prize", "lunch", "zzz", "see you at 5"))
"""Invented, as are the labels."""
ALIKE = (" {label}", ("good", "golf"))
PREFIX = ("{label}", ("not", "no"))
APART = ("{label}", ("spam", "ham", "unsure"))
Answers = tuple[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


def write_task(root: Path, answers: Answers, golds: Sequence[str]) -> None:
    """A task whose queries are TEXTS, in both splits."""
    template, labels = answers
    task = {"name": "spam", "template": "Text:{text}\nLabel:", "answer_template": template, "parser": "line"}
    rows = [
        {"idx": i, "question": f"Text:{text}\nLabel:", "answer": gold}
        for i, (text, gold) in enumerate(zip(TEXTS, golds, strict=True))
    ]
    metadata = {"task": {**task, "labels": dict.fromkeys(labels, "a meaning")}}
    store.write_json(
        store.pool_path(root, "spam"), {"metadata": metadata, "train_examples": rows, "val_examples": rows}
    )


def record_of(root: Path, model: Path, models: ModelCache, **changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model_types": ("base",), "eval_datasets": ("spam",), "num_eval_examples": None, **changes}
    (path,) = evaluate(evaluation(root, model, num_examples=(4,), run_indices=(0,), **asked), models)
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def shares_by_hand(lm: LanguageModel, texts: Sequence[str], end: str) -> npt.NDArray[np.float64]:
    """The share [n, K] of each label text in the probability of all, one at a time: of all its tokens and the end, or
    without an end of its first token."""

    def ids(text: str) -> list[int]:
        return list(lm.tokenizer(text, add_special_tokens=False).input_ids)

    def probability(query: str, label: str) -> float:
        prompt = [lm.tokenizer.bos_token_id, *ids(f"Text:{query}\nLabel:")]
        response = ids(label) + ids(end) if end else ids(label)[:1]
        with torch.no_grad():
            logits = lm.model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        return float(logits.double().softmax(dim=-1)[range(len(response)), response].prod())

    probabilities = np.array([[probability(query, label) for label in texts] for query in TEXTS])
    return probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("answers", "end"), [(ALIKE, "\n\n"), (ALIKE, "</s>"), (PREFIX, "\n\n"), (APART, "")])
def test_label_measures_are_those_worked_out_one_by_one(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, answers: Answers, end: str
) -> None:
    texts = [answers[0].format(label=label) for label in answers[1]]
    golds = [texts[index % len(texts)] for index in range(len(TEXTS))]
    write_task(tmp_path, answers, golds)
    stop = "eos" if end == "</s>" else "separator"
    record = record_of(tmp_path, tiny_model_folder, models, stop=stop, num_generated_tokens_eval=1)
    shares = shares_by_hand(models.load(ModelConfig(model_id=str(tiny_model_folder))), texts, end)
    correct = np.array([texts[choice] == gold for choice, gold in zip(shares.argmax(axis=1), golds, strict=True)])
    metrics = record["metrics"]
    assert record["label_scores"] == ("full_sequence" if end else "first_token")
    assert metrics["without_icl_label_accuracy"] == pytest.approx(100 * correct.mean())
    expected = expected_calibration_error(shares.max(axis=1), correct)
    assert metrics["without_icl_label_ece_equal_count"] == pytest.approx(expected, rel=1e-4)
    golds_at = [texts.index(gold) for gold in golds]
    nll = -np.log(shares[range(len(golds)), golds_at]).mean()
    assert metrics["without_icl_label_nll"] == pytest.approx(nll, rel=1e-4)
    assert record["label_reliability"]["without_icl"] == [
        pytest.approx(asdict(one), rel=1e-4) for one in reliability_bins(shares.max(axis=1), correct)
    ]
    if_calibrated = expected_ece_if_calibrated(shares.max(axis=1))
    assert record["label_ece_floor"]["without_icl"] == pytest.approx(if_calibrated, rel=1e-4)
    (file,) = tmp_path.rglob("*.parquet")
    rows = pd.read_parquet(file).query("not with_icl")
    assert rows["gold_label_log_prob"].tolist() == pytest.approx(
        np.log(shares[range(len(golds)), golds_at]).tolist(), rel=1e-4
    )
    np.testing.assert_allclose(rows["label_confidence"].to_numpy(), shares.max(axis=1), rtol=1e-4)
    if end:  # equal first tokens would choose the first label always
        assert shares.argmax(axis=1).any()


def test_demonstrations_are_before_whole_labels_too(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    write_task(tmp_path, ALIKE, [f" {ALIKE[1][index % 2]}" for index in range(len(TEXTS))])
    metrics = record_of(tmp_path, tiny_model_folder, models)["metrics"]
    assert {key.removeprefix("with_icl_") for key in metrics if "with_icl_label" in key} >= {"label_accuracy"}
    assert metrics["with_icl_label_ece_equal_count"] != metrics["without_icl_label_ece_equal_count"]


def test_distinct_first_tokens_cost_no_further_reading(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("ia2.evaluation.scoring.sequence_log_probabilities")
    write_task(tmp_path, APART, [APART[1][index % 3] for index in range(len(TEXTS))])
    assert record_of(tmp_path, tiny_model_folder, models)["label_scores"] == "first_token"


def test_an_answer_that_is_no_label_is_named(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    write_task(tmp_path, APART, ["spam", "Ham"] * (len(TEXTS) // 2))
    with pytest.raises(UserError, match="'spam': the answer 'Ham' is none of its labels 'spam', 'ham', 'unsure'"):
        record_of(tmp_path, tiny_model_folder, models)
    assert not [name for name in files_of(tmp_path) if "evaluations" in name]
