"""Fused norms and packed linear layers: the same numbers as the ordinary ones, and nothing else is changed."""

from copy import deepcopy
from types import ModuleType

import pytest
import torch
from tiny import SHAPES, tiny_model
from torch import nn
from transformers import PreTrainedModel

from ia2.models import kernels
from ia2.models.kernels import NORMS, fuse_kernels, fuse_norms, pack_linears, unpack_linears

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


def test_a_copy_of_a_fused_norm_uses_its_own_weight() -> None:
    norm, inputs = NORMS[0](6), torch.randn(3, 6)
    fuse_norms(norm)
    copy = deepcopy(norm)
    with torch.no_grad():
        copy.weight.mul_(2.0)
    torch.testing.assert_close(copy(inputs), 2 * norm(inputs))


# liger-kernel needs a GPU; its changes to transformers can be seen without one


class Made(torch.nn.Module):
    """A model of a made-up module of transformers'."""


def rotated(queries: torch.Tensor, by: float) -> torch.Tensor:
    return queries + by


def test_kernels_for_a_gpu_change_no_other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("made_up")
    vars(module).update(apply_rotary_pos_emb=rotated, Norm=torch.nn.LayerNorm)
    monkeypatch.setitem(kernels.sys.modules, "made_up", module)
    monkeypatch.setattr(Made, "__module__", "made_up")
    patched: list[object] = []

    def apply(model: PreTrainedModel, config: dict[str, bool]) -> None:
        assert config == {"cross_entropy": False, "fused_linear_cross_entropy": False}
        patched.append(model)
        vars(module).update(apply_rotary_pos_emb=lambda *_: 1 / 0, Norm=None)

    monkeypatch.setattr(kernels, "apply_liger_kernel", apply)
    monkeypatch.setattr(kernels, "is_liger_kernel_available", lambda: True)
    model = Made()
    model.config = type("Config", (), {"model_type": "made_up"})  # type: ignore[assignment]
    for _ in range(2):
        fuse_kernels(model)  # type: ignore[arg-type]
    assert patched == [model, model]
    assert vars(module)["Norm"] is torch.nn.LayerNorm
    rope = vars(module)["apply_rotary_pos_emb"]
    assert torch.equal(rope(torch.zeros(2), 3.0), torch.full((2,), 3.0))
    assert rope.args[1] is rotated, "wrapped once"


def test_a_norm_of_many_numbers_stays_what_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MANY", 12)
    norm = NORMS[0](6)
    norm.forward = lambda hidden_states: hidden_states - 1  # as liger-kernel sets its own
    assert fuse_norms(norm) == 1
    few, many = torch.ones(1, 6), torch.ones(2, 6)
    torch.testing.assert_close(norm(few), few)
    assert torch.equal(norm(many), many - 1)


# Packed linear layers


def linear(bias: bool) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(48, 32, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
def test_value_and_gradient_equal_the_ordinary_layer(bias: bool) -> None:
    plain, packed = linear(bias), linear(bias)
    assert pack_linears(packed) == int(torch.backends.mkldnn.is_available())
    inputs = torch.randn(2, 5, 48)
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    packed(ours).square().sum().backward()
    plain(theirs).square().sum().backward()
    torch.testing.assert_close(packed(inputs), plain(inputs), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_a_changed_weight_is_used_as_it_is_now() -> None:
    layer, inputs = linear(bias=False), torch.randn(3, 48)
    pack_linears(layer)
    before = layer(inputs)
    layer.weight.add_(1.0)
    torch.testing.assert_close(layer(inputs), before + inputs.sum(dim=-1, keepdim=True), rtol=1e-4, atol=1e-4)


def test_layers_that_train_or_are_not_float32_stay_as_they_are() -> None:
    assert pack_linears(nn.Linear(4, 4)) == 0
    assert pack_linears(linear(bias=True).to(torch.bfloat16)) == 0


def test_unpacked_layers_have_their_ordinary_forward() -> None:
    layer = linear(bias=True)
    pack_linears(layer)
    unpack_linears(layer)
    assert "forward" not in vars(layer)
