"""Packed layers compute what ordinary ones do, and stop being used when their weight changes."""

import pytest
import torch
from torch import nn

from ia2.models.onednn_linears import pack_linears


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
