"""Faster kernels for a frozen model: fused ones on a GPU, packed linear layers in float32 on a CPU.

transformers writes norms, rotary positions and gated activations out in several operations, each a kernel of its own
over the whole width: a third of a long prefill on the shape of Qwen3-4B, and most of what a short one spends on
starting kernels. With liger-kernel (the extra `gpu`; Hsu et al. 2024, arXiv 2410.10989) each is one kernel. Without it
torch's own fused norm serves for the norms alone, and it serves for few tokens anyway, since it is started sooner.
Rounding in bf16 may differ in the last bit; in float32 nothing does.

On some CPUs torch's float32 products go through a library that reaches half the rate of oneDNN on packed weights. A
frozen base multiplies by the same matrices thousands of times, forward and backward, so they are packed once. The
operators are torch's private ones: where they are missing or give another result, layers stay unpacked. A packed weight
is used only while the weight is the one it was packed from.

A replaced forward is a `partial` over its module, which copies with the module, as a closure would not.
"""

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.functional import rms_norm
from transformers import PreTrainedModel
from transformers.integrations.liger import apply_liger_kernel
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.phi3.modeling_phi3 import Phi3RMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.utils.import_utils import is_liger_kernel_available

from ia2.models.hooked_model import is_spread

log = logging.getLogger(__name__)

Function = Callable[..., Any]

# On a GPU: fewer kernels

NORMS = (LlamaRMSNorm, MistralRMSNorm, Phi3RMSNorm, Qwen2RMSNorm, Qwen3RMSNorm)
"""Norms that multiply by their weight; Gemma's multiplies by one more than it."""
ROPE = "apply_rotary_pos_emb"
MANY = 2**21
"""Size of a norm's input from which liger's kernel is the faster one; below, starting it is slow."""
NO_LOSSES = {"cross_entropy": False, "fused_linear_cross_entropy": False}
"""The losses are ours (`training/losses.py`)."""


def fuse_kernels(model: PreTrainedModel) -> None:
    """Let a model on a GPU compute with fewer kernels, by liger-kernel where it is installed.

    Liger's changes to a transformers module are taken back afterwards, so that models made later, and those on a CPU,
    are unchanged. Rotary positions are a function of the module and no part of the model: they go by the device.
    """
    if is_liger_kernel_available():
        module = vars(sys.modules[type(model).__module__])
        before = dict(module)
        try:
            apply_liger_kernel(model, NO_LOSSES)
        finally:
            on_gpu, plain = module.get(ROPE), before.get(ROPE)
            module.update(before)
            wrapped = getattr(plain, "func", None) is _by_device
            if on_gpu is not None and plain is not None and on_gpu is not plain and not wrapped:
                module[ROPE] = partial(_by_device, on_gpu, plain)
        log.debug("liger kernels for %s", model.config.model_type)
    fuse_norms(model)


def _by_device(on_gpu: Function, plain: Function, queries: Tensor, *others: Any, **more: Any) -> Any:  # noqa: ANN401
    """`on_gpu` for tensors on the current GPU, whose kernels are started there, and `plain` elsewhere."""
    here = queries.is_cuda and queries.get_device() == torch.cuda.current_device()
    return (on_gpu if here else plain)(queries, *others, **more)


def fuse_norms(model: nn.Module) -> int:
    """Let every RMS norm of a known kind compute in one kernel, and return their number."""
    norms = [module for module in model.modules() if type(module) in NORMS]
    for norm in norms:
        norm.forward = partial(_fused_norm, norm, norm.__dict__.get("forward"))
    return len(norms)


def _fused_norm(norm: nn.Module, of_many: Callable[[Tensor], Tensor] | None, hidden_states: Tensor) -> Tensor:
    """One kernel of torch's, or for large inputs the forward that the norm had instead of transformers' own."""
    if of_many is not None and hidden_states.numel() >= MANY:
        return of_many(hidden_states)
    weight, epsilon = norm.weight, norm.variance_epsilon
    return rms_norm(hidden_states, (hidden_states.shape[-1],), weight, epsilon)  # type: ignore[arg-type]


# On a CPU: linear layers in oneDNN's own layout


def pack_linears(model: nn.Module) -> int:
    """Pack every frozen float32 linear layer of a model on a CPU; returns their number, 0 where packing fails here."""
    if not torch.backends.mkldnn.is_available():
        return 0
    generator = torch.Generator().manual_seed(0)
    inputs, matrix = torch.randn(5, 48, generator=generator), torch.randn(32, 48, generator=generator)
    try:  # the private operators, on a small product
        pack = torch.ops.mkldnn._reorder_linear_weight
        product = _multiply(inputs, pack(matrix), None)
    except (RuntimeError, AttributeError) as error:
        log.debug("packed linear layers are not available: %s", error)
        return 0
    if not torch.allclose(product, inputs @ matrix.t(), rtol=1e-4, atol=1e-4):
        return 0
    layers = [module for module in model.modules() if type(module) is nn.Linear and not is_spread(module)]
    weights = {layer: layer.weight for layer in layers if not layer.weight.requires_grad}
    weights = {layer: one for layer, one in weights.items() if (one.device.type, one.dtype) == ("cpu", torch.float32)}
    for layer, weight in weights.items():
        packed, transposed = pack(weight.detach()), pack(weight.detach().t().contiguous())
        forward = partial(_packed_linear, layer, weight._version, packed, transposed)
        layer.forward = forward  # type: ignore[method-assign]
    return len(weights)


def unpack_linears(model: nn.Module) -> None:
    """Give the layers their ordinary forward back, before their weights are changed in ways torch does not count."""
    for module in model.modules():
        if getattr(module.__dict__.get("forward"), "func", None) is _packed_linear:
            del module.__dict__["forward"]


def _packed_linear(layer: nn.Linear, version: int, packed: Tensor, transposed: Tensor, inputs: Tensor) -> Tensor:
    """The packed product, or the ordinary one where the weight is no longer of the `version` that was packed."""
    if layer.weight._version != version or inputs.dtype != torch.float32:
        return nn.functional.linear(inputs, layer.weight, layer.bias)
    flat = inputs.reshape(-1, inputs.shape[-1])
    product: Tensor = _Product.apply(flat, packed, transposed, layer.bias)  # type: ignore[no-untyped-call]
    return product.view(*inputs.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """Inputs [N, in] times a packed weight; the gradient goes to the inputs alone."""

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, packed: Tensor, transposed: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(transposed)
        return _multiply(inputs, packed, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401 - torch's own type
        (transposed,) = ctx.saved_tensors
        return _multiply(gradient.contiguous(), transposed, None), None, None, None


def _multiply(inputs: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, packed, bias, "none", [], "")
    return product
