"""Commands on a base model of which a part lies on the disk write what they write on the model in one piece."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import evaluation, files_of, leftovers, results, training
from undrawn import draw_nothing

from ia2.commands.evaluate import evaluate
from ia2.commands.merge import MERGED, merge_adapter
from ia2.commands.predict import predict_from
from ia2.commands.train import train
from ia2.config import DemoConfig, Dtype, FitConfig, MergeConfig, ModelConfig, PredictConfig
from ia2.flows.demo import demo
from ia2.flows.fitting import fit_from
from ia2.models import loading
from ia2.models.loading import LanguageModel, ModelCache, load_model
from ia2.page.card import CARD

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
        models = ModelCache()
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


@pytest.mark.parametrize(("method", "dtype"), [("act", "float32"), ("ia3-act", "float32"), ("act", "bfloat16")])
def test_merging_writes_the_same_folder(
    tmp_path: Path, tiny_model_folder: Path, method: str, dtype: Dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for how far logits are, in the card and merge.json: one model's rotary frequencies are cast down with it."""
    monkeypatch.setattr(loading, "pack_linears", lambda model: 0)
    run = train(training(tmp_path, tiny_model_folder, training_method=method))
    for name, where in (("whole", {}), ("spread", SPREAD)):
        out = tmp_path / name
        config = MergeConfig(adapter=run, out=out, model_id=str(tiny_model_folder), torch_dtype=dtype, **where)
        report = merge_adapter(config)
        assert report.merged_float32 < 1e-4
    spread, whole = (files_of(tmp_path / name) for name in ("spread", "whole"))
    assert spread.keys() == whole.keys()
    assert {name for name in whole if spread[name] != whole[name]} <= {CARD, MERGED}
    one, other = (json.loads(files[MERGED]) for files in (spread, whole))
    assert one | {"report": None} == other | {"report": None}
    assert leftovers(tmp_path) == []


def test_fit_and_demo_tell_their_model_where_to_compute(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[ModelConfig] = []

    def load(config: ModelConfig) -> LanguageModel:
        loaded.append(config)
        return load_model(config)

    monkeypatch.setattr(loading, "load_model", load)
    draw_nothing(monkeypatch.setattr)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"sentence {i},{'good' if i % 2 else 'bad'}\n" for i in range(16)))
    small: dict[str, Any] = {"model_id": str(tiny_model_folder), "num_train_epochs": 1, "lrs": (1e-2,), "num_runs": 1}
    adapter = fit_from(FitConfig(file=rows, root=tmp_path / "fit", **small, **SPREAD))
    assert len(adapter.predict(["sentence 99"])) == 1
    demo(DemoConfig(root=tmp_path / "demo", num_eval_examples=4, num_train_examples=4, **small, **SPREAD))
    assert [(one.device_map, one.max_memory) for one in loaded] == [tuple(SPREAD.values())] * len(loaded)
    assert len(loaded) >= 2
