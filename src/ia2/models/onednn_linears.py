"""Frozen linear layers whose weights are kept in oneDNN's own layout, for float32 on a CPU.

On some processors torch's float32 products go through a library that reaches half the rate of oneDNN on packed weights.
A frozen base multiplies by the same matrices thousands of times, forward and backward, so they are packed once. The
operators are torch's private ones: where they are missing or give another result, layers stay as they are. What was
packed is used only as long as the weight is the one it was packed from.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from ia2.models.placement import is_spread

log = logging.getLogger(__name__)


def pack_linears(model: nn.Module) -> int:
    """Pack every frozen float32 linear layer of a model on a CPU; returns how many, 0 where this does not work here."""
    if not _works():
        return 0
    linears = [module for module in model.modules() if type(module) is nn.Linear and not is_spread(module)]
    layers = [layer for layer in linears if _is_frozen(layer)]
    for layer in layers:
        layer.forward = _Packed(layer)  # type: ignore[method-assign,assignment]
    return len(layers)


def unpack_linears(model: nn.Module) -> None:
    """Give the layers their ordinary forward back, before their weights are changed in ways torch does not count."""
    for module in model.modules():
        if isinstance(module.__dict__.get("forward"), _Packed):
            del module.__dict__["forward"]


def _is_frozen(layer: nn.Linear) -> bool:
    weight = layer.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.requires_grad


class _Packed:
    """The forward of one layer: the packed product, or the ordinary one where the weight has changed since."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self._version = layer.weight._version
        self._forward = _reordered(layer.weight)
        self._backward = _reordered(layer.weight.t().contiguous())

    def __call__(self, inputs: Tensor) -> Tensor:
        layer = self._layer
        if layer.weight._version != self._version or inputs.dtype != torch.float32:
            return nn.functional.linear(inputs, layer.weight, layer.bias)
        flat = inputs.reshape(-1, inputs.shape[-1])
        product: Tensor = _Product.apply(flat, self._forward, self._backward, layer.bias)  # type: ignore[no-untyped-call]
        return product.view(*inputs.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """inputs [N, in] times a packed weight; the gradient goes to the inputs alone."""

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, weight: Tensor, transposed: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(transposed)
        return _linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401 - torch's own type
        (transposed,) = ctx.saved_tensors
        return _linear(gradient.contiguous(), transposed, None), None, None, None


def _reordered(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return packed


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product


def _works() -> bool:
    """Whether the private operators are there and compute what the ordinary product does."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    inputs, weight = torch.randn(5, 48, generator=generator), torch.randn(32, 48, generator=generator)
    try:
        product = _linear(inputs, _reordered(weight), None)
    except (RuntimeError, AttributeError) as error:
        log.debug("packed linear layers are not available: %s", error)
        return False
    return torch.allclose(product, inputs @ weight.t(), rtol=1e-4, atol=1e-4)
