"""Attention masks that follow from positions, in the form that each architecture takes."""

import torch
from torch import Tensor

from ia2.lm.forward import Reader


def attention_masks(reader: Reader, slots: Tensor, positions: Tensor) -> Tensor | dict[str, Tensor]:
    """Which of the cache's slots [R, K], each holding a position (-1: padding), a query at `positions` [R, Q] may see.

    In the form the model takes: [R, 1, Q, K], bool for sdpa and additive for eager attention, and for architectures
    with several kinds of layer one mask for each kind.
    """
    config = reader.base.config
    distance = positions[:, :, None] - slots[:, None, :]
    causal = (slots[:, None, :] >= 0) & (distance >= 0)
    window = getattr(config, "sliding_window", None)
    windowed = causal if window is None else causal & (distance < window)
    if reader.architecture.masks == "by_layer_type":
        return {
            "full_attention": _as_taken(causal, reader),
            "sliding_attention": _as_taken(windowed, reader),
        }
    return _as_taken(windowed, reader)


def _as_taken(allowed: Tensor, reader: Reader) -> Tensor:
    allowed = allowed[:, None]
    if reader.base.config._attn_implementation == "sdpa":
        return allowed
    dtype = reader.base.dtype
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)
