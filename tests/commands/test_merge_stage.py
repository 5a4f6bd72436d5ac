"""Merging: what it may change, what cannot be merged, and that the result is an ordinary model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny import save_tiny_model
from tiny_runs import files_of, leftovers, training
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ia2 import cli
from ia2.commands.merge import merge_adapter
from ia2.commands.train import train
from ia2.config import MergeConfig
from ia2.errors import UserError
from ia2.models.loading import ModelCache

IDS = torch.randint(3, 320, (6, 40), generator=torch.Generator().manual_seed(5))
MERGED = [("llama", "act"), ("llama", "ia3-act"), ("gemma3_text", "act"), ("gpt2", "act"), ("gpt2", "ia3-act")]


def base_of(folder: Path, shape: str) -> Path:
    base = folder / "models" / f"tiny-{shape}"
    if not base.exists():
        save_tiny_model(base, shape)
    return base


def adapter_of(root: Path, shape: str, method: str, **changes: Any) -> Path:
    """An adapter far from where it started."""
    fields = {"training_method": method, "lr": 0.1, "num_train_epochs": 10, "keep": "last", **changes}
    return train(training(root, base_of(root, shape), lora_type="qkvo", ia3_type="qkvo", **fields), ModelCache())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each adapter is trained by the first test that asks for it."""
    return tmp_path_factory.mktemp("adapters")


@torch.no_grad()
def logits(model: PreTrainedModel | PeftModel) -> Tensor:
    found: Tensor = model.eval()(input_ids=IDS, use_cache=False).logits.float()
    return found


def loaded(base: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    return model


def unmerged(base: Path, adapter: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    return logits(PeftModel.from_pretrained(loaded(base, dtype), str(adapter)))


@pytest.mark.parametrize(("shape", "method"), MERGED)
def test_merging_changes_no_logit_in_float32(root: Path, tmp_path: Path, shape: str, method: str) -> None:
    adapter, base = adapter_of(root, shape, method), base_of(root, shape)
    report = merge_adapter(MergeConfig(adapter=adapter, out=tmp_path / "merged"))
    expected = unmerged(base, adapter)
    found = logits(loaded(tmp_path / "merged"))
    assert (found - expected).abs().max() < 1e-4
    assert (expected - logits(loaded(base))).abs().max() > 0.5, "the adapter does nothing"
    assert 0 <= report.merged_float32 < 1e-4
    assert report.dtype == "float32"
    assert 0 <= report.merged < 1e-4
    assert "adapter_config.json" not in files_of(tmp_path / "merged")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(("shape", "method"), MERGED)
@pytest.mark.parametrize("trained_in", ["float32", "bfloat16"])
def test_cast_to_bfloat16_it_is_as_near_as_the_unmerged_model(
    root: Path, tmp_path: Path, shape: str, method: str, trained_in: str
) -> None:
    adapter, base = adapter_of(root, shape, method, torch_dtype=trained_in), base_of(root, shape)
    config = MergeConfig(adapter=adapter, out=tmp_path / "merged", torch_dtype="bfloat16")
    report = merge_adapter(config)
    exact = unmerged(base, adapter)
    merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto"))
    theirs = unmerged(base, adapter, torch.bfloat16)
    ours, other = ((found - exact).square().mean().sqrt() for found in (merged, theirs))
    assert 0 < ours <= 1.1 * other
    assert report.dtype == "bfloat16"
    assert report.merged > report.merged_float32
    assert 0.5 < report.merged / report.unmerged < 2


def test_auto_is_the_dtype_that_the_adapter_was_trained_under(root: Path, tmp_path: Path) -> None:
    adapter = adapter_of(root, "llama", "act", torch_dtype="bfloat16")
    assert merge_adapter(MergeConfig(adapter=adapter, out=tmp_path / "merged")).dtype == "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged")) == 320


@pytest.mark.parametrize("method", ["prompt-act", "prefix-act"])
def test_virtual_tokens_cannot_be_merged(root: Path, tmp_path: Path, method: str) -> None:
    adapter = adapter_of(root, "llama", method, num_virtual_tokens=3)
    with pytest.raises(UserError, match="holds virtual tokens: no weights can hold them, serve it as an adapter"):
        merge_adapter(MergeConfig(adapter=adapter, out=tmp_path / "merged"))
    assert not (tmp_path / "merged").exists()


def test_what_is_there_is_left_alone(root: Path, tmp_path: Path) -> None:
    adapter, out = adapter_of(root, "llama", "act"), tmp_path / "merged"
    out.mkdir()
    (out / "mine").write_text("precious")
    with pytest.raises(UserError, match=r"merged exists; give another --out"):
        merge_adapter(MergeConfig(adapter=adapter, out=out))
    assert files_of(out) == {"mine": b"precious"}


def test_another_base_is_refused(root: Path, tmp_path: Path) -> None:
    adapter = adapter_of(root, "llama", "act")
    other = save_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="whose weights are not those of"):
        merge_adapter(MergeConfig(adapter=adapter, out=tmp_path / "merged", model_id=str(other)))


def test_the_command_prints_the_figure(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = adapter_of(root, "llama", "act")
    words = ["merge", "--adapter", adapter, "--out", tmp_path / "merged", "--torch_dtype", "bfloat16"]
    capsys.readouterr()
    assert cli.main(list(map(str, words))) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"wrote {tmp_path / 'merged'}: merging changes float32 logits by ")
    assert "; in bfloat16 the merged model is " in said
    assert float(said.split("logits by ")[1].split()[0]) < 1e-4
    assert cli.main(list(map(str, words))) == 0, "what is there is what it makes"
    assert cli.main([*map(str, words[:-1]), "float32"]) == 2
