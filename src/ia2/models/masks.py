"""Attention masks that follow from positions and owners, in the form that each architecture takes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ia2.models.hooked_model import HookedModel

SHARED = -1
"""Who owns a token that all prompts of a lane begin with."""
NOBODY = -2
"""Who owns padding."""


@dataclass(frozen=True)
class SlotLayout:
    """Whose token stands in each slot of N lanes, and the position that it has for its owner: [N, S] each.

    An owner is the number of a prompt, SHARED or NOBODY.
    """

    owners: Tensor
    positions: Tensor

    def then(self, others: "SlotLayout") -> "SlotLayout":
        """These slots and, after them, others of the same lanes."""
        owners = torch.cat([self.owners, others.owners], dim=1)
        return SlotLayout(owners, torch.cat([self.positions, others.positions], dim=1))

    def first(self, num_slots: int) -> "SlotLayout":
        """The first so many slots of each lane."""
        return SlotLayout(self.owners[:, :num_slots], self.positions[:, :num_slots])

    def of(self, lanes: Tensor) -> "SlotLayout":
        """The slots of some lanes, by index."""
        return SlotLayout(self.owners[lanes], self.positions[lanes])


def attention_masks(hooked: HookedModel, slots: SlotLayout, queries: SlotLayout) -> Tensor | dict[str, Tensor]:
    """Which of the cache's K slots each of Q queries may see: its own prompt's and the shared ones, not after it.

    Padding sees padding, since a query that sees nothing would come out as no number, and nothing else does. In the
    form the model takes: [N, 1, Q, K], bool for sdpa and additive for eager attention, and for architectures with
    several kinds of layer one mask for each kind.
    """
    config = hooked.base.config
    owners = slots.owners[:, None, :]
    distance = queries.positions[:, :, None] - slots.positions[:, None, :]
    causal = ((owners == queries.owners[:, :, None]) | (owners == SHARED)) & (distance >= 0)
    window = getattr(config, "sliding_window", None)
    windowed = causal if window is None else causal & (distance < window)
    if hooked.architecture.masks == "by_layer_type":
        return {
            "full_attention": _as_taken(causal, hooked),
            "sliding_attention": _as_taken(windowed, hooked),
        }
    return _as_taken(windowed, hooked)


def _as_taken(allowed: Tensor, hooked: HookedModel) -> Tensor:
    allowed = allowed[:, None]
    if hooked.base.config._attn_implementation == "sdpa":
        return allowed
    dtype = hooked.base.dtype
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)
