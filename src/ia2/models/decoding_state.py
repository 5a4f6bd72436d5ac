"""A batch of prompts while it is decoded: prefilled, fed token by token, set back, and left by finished rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ia2.models.hooked_model import HookedModel, ModelOutputs, rows_of
from ia2.models.packing import NOBODY, SHARED, PackedRow, attention_masks
from ia2.prompts.tokenization import Ids


@dataclass(frozen=True)
class StepOutput:
    """Outputs of one step of decoding for its R active rows, at the positions that predict their next tokens."""

    step: int
    rows: Sequence[int]  # the prompts, by index
    hidden_states: Tensor  # [R, D], the decoder's last ones
    logits: Tensor  # [R, V], in float32
    activations: Tensor | None  # [L, R, D], in the model's dtype; None where they are not requested


class PrefixCache:
    """Prefixes, prefilled in one forward pass: a cache with a row for each, padded on the right, and their lengths.

    Virtual tokens are the first of each.
    """

    def __init__(self, hooked: HookedModel, prefixes: Sequence[Ids]) -> None:
        self.cache = hooked.virtual_cache(len(prefixes)) or DynamicCache()
        self.lengths = [hooked.num_virtual_tokens + len(ids) for ids in prefixes]
        if width := max(map(len, prefixes)):
            padded = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in prefixes]).to(hooked.device)
            hooked.run(input_ids=padded, past_key_values=self.cache, use_cache=True)


class DecodingState:
    """R active prompts in N packed rows: their cache, its slot layout [2, N, K] (see `attention_masks`), their places.

    A prompt's number is its place in the batch at the start. `packed_row`, `owner` (its number) and `position` (of its
    next token) have an entry for each active prompt, in the order of the packed rows.
    """

    def __init__(self, hooked: HookedModel, prefixes: PrefixCache, batch: Sequence[PackedRow]) -> None:
        suffixes = [suffix for packed in batch for suffix in packed]
        chosen = torch.tensor([packed[0].prefix for packed in batch])
        shared = torch.tensor(prefixes.lengths)[chosen]
        width = int(shared.max())  # of these rows: the longest prefix may be in another batch
        self.hooked = hooked
        self.rows = [suffix.row for suffix in suffixes]
        self.step = 0
        self.activations = False
        self.cache = rows_of(prefixes.cache, chosen, width)
        self.packed_row = torch.tensor([number for number, packed in enumerate(batch) for _ in packed])
        self.owner = torch.arange(len(suffixes))
        self.position = shared[self.packed_row]
        self._suffixes = torch.tensor([token for suffix in suffixes for token in suffix.ids])
        self._suffix_lengths = torch.tensor([len(suffix.ids) for suffix in suffixes])
        self._widths: list[int] = []  # slots that each forward pass has added
        self._needs_no_masks = len(suffixes) == len(batch) and len(shared.unique()) == 1
        positions = torch.arange(width).expand(len(batch), -1)
        owners = torch.where(positions < shared[:, None], SHARED, NOBODY)
        self.slots = torch.stack([owners, positions]).to(hooked.device)

    def prefill(self, activations: bool) -> StepOutput:
        """Read the prompts; outputs are at their last tokens, with activations, here and later, if requested."""
        self.activations = activations
        return self._feed(self._suffixes, self._suffix_lengths)

    def next(self, token: Tensor) -> StepOutput:
        """Feed one token [R] a row."""
        self.step += 1
        return self._feed(token, torch.ones_like(token))

    def teacher_forced(self, lengths: Sequence[int], activations: bool) -> ModelOutputs:
        """Read the prompts; outputs are at the last `lengths` tokens of each, end to end, without logits."""
        self.activations = activations
        return self._forward(self._suffixes, self._suffix_lengths, torch.tensor(lengths))

    def _feed(self, tokens: Tensor, lengths: Tensor) -> StepOutput:
        found = self._forward(tokens, lengths, torch.ones_like(lengths))
        logits = self.hooked.logits(found.hidden_states)
        return StepOutput(self.step, self.rows, found.hidden_states, logits, found.activations)

    def _forward(self, tokens: Tensor, lengths: Tensor, num_read: Tensor) -> ModelOutputs:
        """Feed each prompt its next tokens, `lengths` [R] of them; outputs are at the last `num_read` [R] of each."""
        packed_row, column, new_slots = self.place(tokens, lengths)
        self.slots = torch.cat([self.slots, new_slots[:2]], dim=2)
        inputs: dict[str, Any] = {"input_ids": new_slots[2]}
        if self._widths or not self._needs_no_masks:
            masks = attention_masks(self.hooked, self.slots, new_slots)
            inputs |= {"position_ids": new_slots[1], "attention_mask": masks}
        self._widths.append(new_slots.shape[2])
        self.position = self.position + lengths
        following = lengths.cumsum(0).repeat_interleave(lengths) - torch.arange(len(tokens))
        read = following <= num_read.repeat_interleave(lengths)
        at = (places[read].to(self.hooked.device) for places in (packed_row, column))
        return self.hooked.outputs_at(
            *at, activations=self.activations, past_key_values=self.cache, use_cache=True, **inputs
        )

    def place(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lay out the next tokens [M] of the prompts, `lengths` [R] of each, end to end.

        Returns the packed row and the column [M] of each, and the new slots [3, N, Q]: owner, position and token.
        """
        prompt, index = torch.arange(len(self.rows)).repeat_interleave(lengths), torch.arange(len(tokens))
        packed_row, starts = self.packed_row[prompt], lengths.cumsum(0) - lengths
        column = index - torch.searchsorted(packed_row, packed_row)
        position = self.position[prompt] + index - starts[prompt]
        new_slots = torch.zeros(3, self.slots.shape[1], int(column.max()) + 1, dtype=torch.long)
        new_slots[0] = NOBODY
        new_slots[:, packed_row, column] = torch.stack([self.owner[prompt], position, tokens])
        return packed_row, column, new_slots.to(self.hooked.device)

    def undo(self, num_passes: int) -> None:
        """Forget the tokens of the last passes, of one a row each."""
        kept = len(self._widths) - num_passes
        width = sum(self._widths[kept:])
        self.step, self._widths, self.position = self.step - num_passes, self._widths[:kept], self.position - num_passes
        self.slots = self.slots[:, :, : self.slots.shape[2] - width]
        self.cache.crop(-width)

    def keep(self, active: Tensor) -> None:
        """Drop the rows that are not `active` [R], and the packed rows that have none left."""
        indices = active.nonzero().flatten()
        self.rows = [self.rows[index] for index in indices.tolist()]
        self.owner, self.position = self.owner[indices], self.position[indices]
        kept, self.packed_row = self.packed_row[indices].unique(return_inverse=True)
        if len(kept) < self.slots.shape[1]:
            self.slots = self.slots[:, kept.to(self.hooked.device)]
            for layer in cast(list[DynamicLayer], self.cache.layers):
                layer.batch_select_indices(kept.to(layer.device))
