"""Norms in one kernel: the same numbers, on every shape that has them."""

from types import ModuleType

import pytest
import torch
from tiny import SHAPES, tiny_model
from transformers import PreTrainedModel

from ia2.models import liger_kernels
from ia2.models.liger_kernels import NORMS, fuse_kernels, fuse_norms

FUSED = {"llama", "mistral", "qwen2", "qwen3", "phi3"}
IDS = torch.arange(3, 43).view(2, 20)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_fused_norms_leave_the_results_as_they_are(shape: str) -> None:
    model = tiny_model(shape)
    expected = model(input_ids=IDS, use_cache=False).logits
    wanted = [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]
    assert fuse_norms(model) == (len(wanted) if shape in FUSED else 0)
    assert (len(wanted) > 0) == (shape in FUSED | {"gemma3_text"})
    torch.testing.assert_close(model(input_ids=IDS, use_cache=False).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.__name__)
def test_a_norm_is_what_its_formula_says(norm: type[torch.nn.Module]) -> None:
    """x / sqrt(mean(x^2) + epsilon) * weight, in float64."""
    one = norm(6, eps=1e-2)
    with torch.no_grad():
        one.weight.copy_(torch.arange(1.0, 7.0))  # type: ignore[operator,union-attr]
    inputs = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    assert fuse_norms(one) == 1
    exact = inputs.double() / (inputs.double().square().mean(dim=-1, keepdim=True) + 1e-2).sqrt()
    torch.testing.assert_close(one(inputs).double(), exact * torch.arange(1.0, 7.0).double(), rtol=1e-6, atol=1e-6)


# liger-kernel needs a GPU; what it leaves behind in transformers can be seen without one


class Made(torch.nn.Module):
    """A model of a made-up module of transformers'."""


def rotated(queries: torch.Tensor, by: float) -> torch.Tensor:
    return queries + by


def test_kernels_for_a_gpu_change_no_other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("made_up")
    vars(module).update(apply_rotary_pos_emb=rotated, Norm=torch.nn.LayerNorm)
    monkeypatch.setitem(liger_kernels.sys.modules, "made_up", module)
    monkeypatch.setattr(Made, "__module__", "made_up")
    patched: list[object] = []

    def apply(model: PreTrainedModel, config: dict[str, bool]) -> None:
        assert config == {"cross_entropy": False, "fused_linear_cross_entropy": False}
        patched.append(model)
        vars(module).update(apply_rotary_pos_emb=lambda *_: 1 / 0, Norm=None)

    monkeypatch.setattr(liger_kernels, "apply_liger_kernel", apply)
    monkeypatch.setattr(liger_kernels, "is_liger_kernel_available", lambda: True)
    model = Made()
    model.config = type("Config", (), {"model_type": "made_up"})  # type: ignore[assignment]
    for _ in range(2):
        fuse_kernels(model)  # type: ignore[arg-type]
    assert patched == [model, model]
    assert vars(module)["Norm"] is torch.nn.LayerNorm
    rope = vars(module)["apply_rotary_pos_emb"]
    assert torch.equal(rope(torch.zeros(2), 3.0), torch.full((2,), 3.0))
    assert rope.plain is rotated


def test_a_norm_of_many_numbers_stays_what_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liger_kernels, "MANY", 12)
    norm = NORMS[0](6)
    norm.forward = lambda hidden_states: hidden_states - 1  # as liger-kernel sets its own
    assert fuse_norms(norm) == 1
    few, many = torch.ones(1, 6), torch.ones(2, 6)
    torch.testing.assert_close(norm(few), few)
    assert torch.equal(norm(many), many - 1)
