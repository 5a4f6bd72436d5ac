"""Batches of prompts: shared prefixes read once, suffixes packed behind them, masks, the token budget, and decoding.

Demonstrations before many queries are most of what a teacher reads. Prompts are grouped by the prefix they share where
that saves work; the others form one group that shares nothing, and keep their full batches.

A packed row is a sequence as the model sees it: a shared prefix, and after it the suffixes of several prompts one after
the other, each at the positions that it has alone; masks keep them apart. A query then looks past more slots, and so a
packed row takes no more slots for its suffixes than its prefix has: nothing is looked at, or held, more than twice as
often as it must be. A prompt that shares nothing has a packed row of its own, an ordinary row of a batch.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2.models.hooked_model import ARCHITECTURES, HookedModel, attention_blocks, device_of, rows_of
from ia2.prompts.prompt import Ids

# Prefixes

FEWEST_ROWS = 4
SHORTEST_PREFIX = 8


def prefix_groups(prompts: Sequence[Ids]) -> list[tuple[int, list[int]]]:
    """Groups that together hold every prompt once: the length of a shared prefix, and the rows (by index) with it.

    Each prompt has a token after it, and it is at least half of a group's mean prompt. The prompts that share nothing
    are the last group, of length 0.
    """
    order = sorted(range(len(prompts)), key=lambda row: prompts[row])
    groups, apart, start = [], [], 0
    while start < len(order):
        stop, length = _longest_run(prompts, order, start)
        if stop - start >= FEWEST_ROWS:
            groups.append((length, sorted(order[start:stop])))
            start = stop
        else:
            apart.append(order[start])
            start += 1
    return [*groups, (0, sorted(apart))] if apart else groups


def _longest_run(prompts: Sequence[Ids], order: Sequence[int], start: int) -> tuple[int, int]:
    """The longest run of sorted prompts from `start` that still share enough, as (stop, shared length).

    It ends before a row that would make it share less where the row and the next ones share, among themselves, clearly
    more: they are a group of their own (the same examples in another order begin alike by chance).
    """
    first = prompts[order[start]]
    stop, length, total = start + 1, len(first) - 1, len(first)
    while stop < len(order):
        following = [prompts[row] for row in order[stop : stop + FEWEST_ROWS]]
        shared = common_length(first, following[0], length)
        total += len(following[0])
        if shared < SHORTEST_PREFIX or 2 * shared * (stop + 1 - start) < total:
            break
        is_group = stop - start >= FEWEST_ROWS and shared < length and len(following) == FEWEST_ROWS
        if is_group and common_length(following[0], following[-1], length) - shared >= SHORTEST_PREFIX:
            break
        stop, length = stop + 1, shared
    return stop, length


def common_length(first: Ids, second: Ids, most: int) -> int:
    """Number of first tokens that two prompts share, at most `most`, and leaving each at least one."""
    limit = min(most, len(first) - 1, len(second) - 1)
    return next((i for i in range(limit) if first[i] != second[i]), max(limit, 0))


# The token budget

ON_A_CPU = 2048
FEWEST, MOST = 2048, 131072
SHARE = 0.6
"""Of the memory that is free; the rest is for masks and fragmentation."""


@dataclass(frozen=True)
class TokenBudget:
    """Bounds of a batch: on its padded `tokens`, and, with `per_row` more tokens for each of its rows, on the tokens
    that memory has room for (`held`)."""

    tokens: int
    held: float = math.inf
    per_row: int = 0

    def allows(self, num_tokens: int, num_rows: int) -> bool:
        """True where a batch of this many padded tokens and rows is within it."""
        return num_tokens <= self.tokens and num_tokens + num_rows * self.per_row <= self.held


def affordable(model: PreTrainedModel, num_new_tokens: int = 0) -> TokenBudget:
    """The budget of `model` on its devices, for rows that grow by `num_new_tokens`; the scarcest of its GPUs decides.

    On a GPU more tokens at once are faster until its arithmetic is busy, and decoding many tokens wants as many rows as
    memory holds; a CPU is at its best with a thousand or two. Memory that was misjudged is found out by trying
    (`placement.attempt`), and the batch halved.
    """
    layers = Counter(device_of(block) for block in attention_blocks(model))
    rooms, per_row = [], []
    for device, num_layers in layers.items():
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            cached, working = bytes_per_token(model, num_layers)
            logits = model.config.vocab_size * (model.dtype.itemsize + torch.float32.itemsize)  # the head's, in float32
            rooms.append(int(SHARE * free) // (cached + working))
            per_row.append(-(-(num_new_tokens * cached + logits) // (cached + working)))
    if not rooms:
        return TokenBudget(ON_A_CPU)
    held = max(FEWEST, min(rooms))
    return TokenBudget(min(MOST, held), held, max(per_row))


def bytes_per_token(model: PreTrainedModel, num_layers: int) -> tuple[int, int]:
    """Memory of a token in a forward pass without gradients: its keys and values in n layers, 2 n K d, which stay; and
    the working set of one layer, at most three of its MLP's widths and eight of the model's, which comes and goes."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    size = model.dtype.itemsize
    return int(2 * num_layers * heads * width * size), int((3 * inner + 8 * config.hidden_size) * size)


# Packed rows


@dataclass(frozen=True)
class Suffix:
    """The rest of a prompt (`row`, by index) after `num_shared` tokens of one of several prefixes (by index)."""

    row: int
    ids: Ids
    prefix: int
    num_shared: int


PackedRow = list[Suffix]
"""Suffixes of one prefix."""


def pack_rows(suffixes: Iterable[Suffix], num_new_tokens: int, budget: TokenBudget) -> list[PackedRow]:
    """Packed rows of suffixes that grow by `num_new_tokens` at most, longest first.

    A prefix's packed rows have equal numbers of suffixes, so that few slots are padding. Where a packed row would have
    few, each suffix has its own: attention is at its best with one query a row.
    """
    packed: list[PackedRow] = []
    in_order = sorted(suffixes, key=lambda suffix: (suffix.prefix, -len(suffix.ids)))
    for _, alike in groupby(in_order, key=lambda suffix: suffix.prefix):
        own = list(alike)
        for count in range(1, len(own) // FEWEST_ROWS + 1):  # the fewest packed rows that are not too long
            longest = own[::count]
            num_tokens, num_shared = num_suffix_tokens(longest), own[0].num_shared
            fits = num_tokens + len(longest) * num_new_tokens <= num_shared
            if fits and budget.allows(num_shared + num_tokens, len(longest)):
                break
        else:
            count = len(own)
        packed += [own[first::count] for first in range(count)]
    return packed


def batch_size(waiting: Sequence[PackedRow], budget: TokenBudget) -> int:
    """The number of packed rows of the next batch: at least one, and as many as the budget allows with padding."""
    longest = longest_prefix = num_rows = 0
    for count, row in enumerate(waiting):
        longest = max(longest, num_suffix_tokens(row))
        longest_prefix = max(longest_prefix, row[0].num_shared)
        num_rows += len(row)
        if count and not budget.allows((count + 1) * (longest + longest_prefix), num_rows):
            return count
    return len(waiting)


def halved(budget: TokenBudget, batch: Sequence[PackedRow]) -> TokenBudget:
    """The budget of half of a batch's packed rows, or of half of a single one's suffixes."""
    half = batch[: len(batch) // 2] if len(batch) > 1 else [row[: len(row) // 2] for row in batch]
    longest_prefix = max(row[0].num_shared for row in half)
    return replace(budget, tokens=len(half) * (longest_prefix + max(map(num_suffix_tokens, half))))


def num_suffix_tokens(row: PackedRow) -> int:
    """The tokens of a packed row without those of its prefix."""
    return sum(len(suffix.ids) for suffix in row)


# Masks

SHARED = -1
"""Owner of a token of the prefix that all prompts of a packed row share."""
NOBODY = -2
"""Owner of padding."""


def attention_masks(hooked: HookedModel, slots: Tensor, queries: Tensor) -> Tensor | dict[str, Tensor]:
    """Attention masks for Q queries over the K slots of N packed rows, in the form the model takes.

    `slots` [2, N, K] and `queries` [2, N, Q] hold for each token its owner (the number of a prompt, SHARED or NOBODY)
    and the position that it has for its owner. A query sees the slots of its own prompt and the shared ones, not after
    it. Padding sees padding, since a query that sees nothing would come out as NaN, and nothing else does.

    Masks are [N, 1, Q, K], bool for sdpa and additive for eager attention; architectures with several kinds of layer
    take one for each kind.
    """
    config = hooked.base.config
    by_type = ARCHITECTURES[config.model_type][2] == "a mask for each layer type"
    owners, distance = slots[0, :, None], queries[1, :, :, None] - slots[1, :, None]
    causal = ((owners == queries[0, :, :, None]) | (owners == SHARED)) & (distance >= 0)
    window = getattr(config, "sliding_window", None)
    windowed = causal if window is None else causal & (distance < window)
    masks = {"sliding_attention": windowed[:, None], **({"full_attention": causal[:, None]} if by_type else {})}
    if config._attn_implementation != "sdpa":
        dtype = hooked.base.dtype
        for kind, allowed in masks.items():
            masks[kind] = torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
    return masks if by_type else masks["sliding_attention"]


# Decoding


def prefill_prefixes(hooked: HookedModel, prefixes: Sequence[Ids]) -> DynamicCache:
    """A cache with a row for each prefix, after the virtual tokens, padded on the right; one forward pass."""
    cache = hooked.virtual_cache(len(prefixes)) or DynamicCache()
    if width := max(map(len, prefixes)):
        padded = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in prefixes]).to(hooked.device)
        hooked.run(input_ids=padded, past_key_values=cache, use_cache=True)
    return cache


@dataclass(frozen=True)
class StepOutput:
    """Outputs of one step of decoding for its R active rows, at the positions that predict their next tokens."""

    step: int
    rows: Sequence[int]  # the prompts, by index
    hidden_states: Tensor  # [R, D], the decoder's last ones
    logits: Tensor  # [R, V], in float32
    activations: Tensor | None  # [L, R, D], in the model's dtype; None where they are not requested


class DecodingState:
    """R active prompts in N packed rows: their cache, its slot layout [2, N, K] (see `attention_masks`), their places.

    A prompt's number is its place in the batch at the start. `packed_row`, `owner` (its number) and `position` (of its
    next token) have an entry for each active prompt, in the order of the packed rows. `suffixes` are the ids after the
    prefixes, end to end, of `lengths` [R].
    """

    def __init__(
        self, hooked: HookedModel, prefixes: DynamicCache, batch: Sequence[PackedRow], activations: bool = False
    ) -> None:
        suffixes = [suffix for packed in batch for suffix in packed]
        chosen = torch.tensor([packed[0].prefix for packed in batch])
        shared = torch.tensor([packed[0].num_shared for packed in batch])
        width = int(shared.max())  # of these rows: the longest prefix may be in another batch
        self.hooked = hooked
        self.rows = [suffix.row for suffix in suffixes]
        self.step = -1
        self.activations = activations
        self.cache = rows_of(prefixes, chosen, width)
        self.packed_row = torch.tensor([number for number, packed in enumerate(batch) for _ in packed])
        self.owner = torch.arange(len(suffixes))
        self.position = shared[self.packed_row]
        self.suffixes = torch.tensor([token for suffix in suffixes for token in suffix.ids])
        self.lengths = torch.tensor([len(suffix.ids) for suffix in suffixes])
        self._widths: list[int] = []  # slots that each forward pass has added
        self._needs_no_masks = len(suffixes) == len(batch) and len(shared.unique()) == 1
        positions = torch.arange(width).expand(len(batch), -1)
        owners = torch.where(positions < shared[:, None], SHARED, NOBODY)
        self.slots = torch.stack([owners, positions]).to(hooked.device)

    def next(self, token: Tensor | None = None) -> StepOutput:
        """Read the prompts at first, then feed one token [R] a row; outputs are at the last token of each."""
        tokens, lengths = (self.suffixes, self.lengths) if token is None else (token, torch.ones_like(token))
        self.step += 1
        hidden_states, activations = self.forward(tokens, lengths, torch.ones_like(lengths))
        return StepOutput(self.step, self.rows, hidden_states, self.hooked.logits(hidden_states), activations)

    def forward(self, tokens: Tensor, lengths: Tensor, num_read: Tensor) -> tuple[Tensor, Tensor | None]:
        """Feed each prompt its next tokens, `lengths` [R] of them, end to end.

        Hidden states and activations are those at the last `num_read` [R] of each, end to end.
        """
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
        inputs |= {"past_key_values": self.cache, "use_cache": True}
        return self.hooked.outputs(*at, activations=self.activations, **inputs)

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
