"""RMS norms as one kernel each, on a GPU.

transformers writes them out in six operations, each a kernel of its own over the whole width: on the shape of Qwen3-4B
that is a sixth of a long prefill, and a third of what a short one spends on starting kernels. The result is rounded
once instead of twice in bf16, and the same to 1e-6 in float32.
"""

from torch import Tensor, nn
from torch.nn.functional import rms_norm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.phi3.modeling_phi3 import Phi3RMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

NORMS = (LlamaRMSNorm, MistralRMSNorm, Phi3RMSNorm, Qwen2RMSNorm, Qwen3RMSNorm)
"""Those that multiply by their weight; Gemma's multiplies by one more than it."""


def fuse_norms(model: nn.Module) -> int:
    """Let every norm of a known kind compute in one kernel; returns how many."""
    norms = [module for module in model.modules() if type(module) in NORMS]
    for norm in norms:
        norm.forward = _Fused(norm)
    return len(norms)


class _Fused:
    """The forward of one norm."""

    def __init__(self, norm: nn.Module) -> None:
        self._norm = norm

    def __call__(self, hidden_states: Tensor) -> Tensor:
        weight, epsilon = self._norm.weight, self._norm.variance_epsilon
        return rms_norm(hidden_states, (hidden_states.shape[-1],), weight, epsilon)  # type: ignore[arg-type]
