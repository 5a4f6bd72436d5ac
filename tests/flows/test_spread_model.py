"""Commands on a base model of which a part lies on the disk write what they write on the model in one piece."""

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import evaluation, results, training

from ia2.config import PredictConfig
from ia2.flows.evaluation import evaluate
from ia2.flows.prediction import predict_from
from ia2.flows.training import train
from ia2.lm import loading
from ia2.lm.shelf import Models

SPREAD: dict[str, Any] = {"device_map": "auto", "max_memory": ("cpu=130KB",)}


@pytest.mark.parametrize("method", ["act", "ia3-tokl", "prompt-tok", "prefix-tna"])
def test_the_same_files_under_the_same_names(
    tmp_path: Path, tiny_model_folder: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, where both sides multiply in the same way."""
    monkeypatch.setattr(loading, "pack_linears", lambda model: 0)
    roots = {tmp_path / "whole": {}, tmp_path / "spread": SPREAD}
    answers = []
    for root, where in roots.items():
        models = Models()
        config = training(root, tiny_model_folder, training_method=method, **where)
        run = train(config, models)
        asked = {"model_types": ("base", method), "eval_with_icl": True, "num_examples": (4,), "run_indices": (0,)}
        assert len(evaluate(evaluation(root, tiny_model_folder, **asked, **where), models)) == 2
        answers.append(
            predict_from(PredictConfig(adapter=run, text="France", model_id=config.model_id, **where), models)
        )
        weights = list(models.load(config).model.parameters())
        assert any(weight.is_meta for weight in weights) == bool(where)
    assert answers[0] == answers[1]
    whole, spread = map(results, roots)
    assert whole == spread
