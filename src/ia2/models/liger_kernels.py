"""Fewer kernels for what stands between a model's matrix products, on a GPU.

transformers writes norms, rotary positions and gated activations out in several operations, each a kernel of its own
over the whole width: a third of a long prefill on the shape of Qwen3-4B, and most of what a short one spends on
starting kernels. With liger-kernel (the extra `gpu`; Hsu et al. 2024, arXiv 2410.10989) each is one kernel; without it,
torch's own fused norm does for the norms alone, and it does for few tokens anyway, since it is started sooner. Rounding
in bf16 may differ in the last bit; in float32 nothing does.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm
from transformers import PreTrainedModel
from transformers.integrations.liger import apply_liger_kernel
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.phi3.modeling_phi3 import Phi3RMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.utils.import_utils import is_liger_kernel_available

log = logging.getLogger(__name__)

NORMS = (LlamaRMSNorm, MistralRMSNorm, Phi3RMSNorm, Qwen2RMSNorm, Qwen3RMSNorm)
"""Those that multiply by their weight; Gemma's multiplies by one more than it."""
ROPE = "apply_rotary_pos_emb"
MANY = 2**21
"""Numbers in what a norm is given from which on liger's kernel is the faster one; with fewer, starting it is slow."""
NO_LOSSES = {"cross_entropy": False, "fused_linear_cross_entropy": False}
"""The losses are ours (`training/losses.py`)."""


def fuse_kernels(model: PreTrainedModel) -> None:
    """Let a model on a GPU compute with fewer kernels, by liger-kernel where it is installed."""
    if is_liger_kernel_available():
        with _for_this_model_alone(sys.modules[type(model).__module__]):
            apply_liger_kernel(model, NO_LOSSES)
        log.debug("liger kernels for %s", model.config.model_type)
    fuse_norms(model)


@contextmanager
def _for_this_model_alone(module: ModuleType) -> Iterator[None]:
    """Take back what is changed in a transformers module, so that models made later, and those on a CPU, are as ever.

    But for rotary positions, which are a function of the module and no part of the model: they go by the device.
    """
    before = dict(vars(module))
    try:
        yield
    finally:
        on_gpu, plain = vars(module).get(ROPE), before.get(ROPE)
        vars(module).update(before)
        if on_gpu is not None and plain is not None and on_gpu is not plain and not isinstance(plain, _ByDevice):
            setattr(module, ROPE, _ByDevice(on_gpu, plain))


@dataclass(frozen=True)
class _ByDevice:
    """One function on the current GPU, whose kernels are started there, and another elsewhere."""

    on_gpu: Callable[..., Any]
    plain: Callable[..., Any]

    def __call__(self, queries: Tensor, *others: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever the two take
        here = queries.is_cuda and queries.get_device() == torch.cuda.current_device()
        return (self.on_gpu if here else self.plain)(queries, *others, **more)


def fuse_norms(model: nn.Module) -> int:
    """Let every RMS norm of a known kind compute in one kernel of torch's, where it does not have a better; returns how
    many."""
    norms = [module for module in model.modules() if type(module) in NORMS]
    for norm in norms:
        norm.forward = _Fused(norm)
    return len(norms)


class _Fused:
    """The forward of one norm, of many numbers as it is already if that is not transformers' own."""

    def __init__(self, norm: nn.Module) -> None:
        self._norm = norm
        self._of_many = norm.__dict__.get("forward")

    def __call__(self, hidden_states: Tensor) -> Tensor:
        if self._of_many is not None and hidden_states.numel() >= MANY:
            return cast(Tensor, self._of_many(hidden_states))
        weight, epsilon = self._norm.weight, self._norm.variance_epsilon
        return rms_norm(hidden_states, (hidden_states.shape[-1],), weight, epsilon)  # type: ignore[arg-type]
