"""Batches of prompts: shared prefixes that are read once, suffixes packed behind them, masks and the token budget.

Demonstrations before many queries are most of what a teacher reads. Prompts are grouped by the prefix they share where
that saves work; the others form one group that shares nothing, and keep their full batches.

A packed row is a sequence as the model sees it: a shared prefix, and after it the suffixes of several prompts one after
the other, each at the positions that it has alone; masks keep them apart. A query then looks past more slots, and so a
packed row takes no more slots for its suffixes than its prefix has: nothing is looked at, or held, more than twice as
often as it must be. A prompt that shares nothing has a packed row of its own, an ordinary row of a batch.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ia2.models.architecture import attention_blocks
from ia2.models.hooked_model import HookedModel
from ia2.models.placement import device_of
from ia2.prompts.tokenization import Ids

# Prefixes

FEWEST_ROWS = 4
SHORTEST_PREFIX = 8


@dataclass(frozen=True)
class PrefixGroup:
    """Rows, by index, whose prompts share their first `length` tokens; each has at least one token after them."""

    rows: tuple[int, ...]
    length: int


def prefix_groups(prompts: Sequence[Ids]) -> list[PrefixGroup]:
    """Groups that together hold every prompt once; a shared prefix is at least half of a group's mean prompt.

    The prompts that share nothing are the last group, of length 0.
    """
    order = sorted(range(len(prompts)), key=lambda row: prompts[row])
    groups, apart, start = [], [], 0
    while start < len(order):
        stop, length = _longest_run(prompts, order, start)
        if stop - start >= FEWEST_ROWS:
            groups.append(PrefixGroup(tuple(sorted(order[start:stop])), length))
            start = stop
        else:
            apart.append(order[start])
            start += 1
    return [*groups, PrefixGroup(tuple(sorted(apart)), 0)] if apart else groups


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
    """The rest of a prompt (`row`, by index) after one of several shared prefixes (by index)."""

    row: int
    ids: Ids
    prefix: int


PackedRow = list[Suffix]
"""Suffixes of one prefix."""


class BatchScheduler:
    """Suffixes that wait to be read, in packed rows.

    `prefix_lengths` are those of the shared prefixes. A suffix will grow by `num_new_tokens` at most. A batch keeps
    within the `budget` with its slots, shared ones and padding included, where it has more than one suffix.
    """

    def __init__(
        self, suffixes: Sequence[Suffix], prefix_lengths: Sequence[int], num_new_tokens: int, budget: TokenBudget
    ) -> None:
        self.prefix_lengths = prefix_lengths
        self.budget = budget
        self._num_new_tokens = num_new_tokens
        self.waiting = self._packed(suffixes)

    def _packed(self, suffixes: Sequence[Suffix]) -> list[PackedRow]:
        """Longest first; a prefix's packed rows have equal numbers of suffixes, so that few slots are padding.

        Where a packed row would have few, each suffix has its own: attention is at its best with one query a row.
        """
        packed: list[PackedRow] = []
        in_order = sorted(suffixes, key=lambda suffix: (suffix.prefix, -len(suffix.ids)))
        for prefix, alike in groupby(in_order, key=lambda suffix: suffix.prefix):
            own, length = list(alike), self.prefix_lengths[prefix]
            for count in range(1, len(own) // FEWEST_ROWS + 1):  # the fewest packed rows that are not too long
                longest = own[::count]
                num_tokens = _num_tokens(longest)
                grown = num_tokens + len(longest) * self._num_new_tokens
                if grown <= length and self.budget.allows(length + num_tokens, len(longest)):
                    break
            else:
                count = len(own)
            packed += [own[first::count] for first in range(count)]
        return packed

    def next(self) -> list[PackedRow]:
        """Take the next batch."""
        longest = longest_prefix = num_rows = 0
        for count, row in enumerate(self.waiting):
            longest = max(longest, _num_tokens(row))
            longest_prefix = max(longest_prefix, self.prefix_lengths[row[0].prefix])
            num_rows += len(row)
            if count and not self.budget.allows((count + 1) * (longest + longest_prefix), num_rows):
                break
        else:
            count = len(self.waiting)
        batch, self.waiting = self.waiting[:count], self.waiting[count:]
        return batch

    def halve(self, batch: Sequence[PackedRow]) -> None:
        """Take a batch back, and lower the budget to half of its packed rows, or half of a single one's suffixes."""
        half = batch[: len(batch) // 2] if len(batch) > 1 else [row[: len(row) // 2] for row in batch]
        longest_prefix = max(self.prefix_lengths[row[0].prefix] for row in half)
        self.budget = replace(self.budget, tokens=len(half) * (longest_prefix + max(map(_num_tokens, half))))
        self.waiting = self._packed([suffix for row in [*batch, *self.waiting] for suffix in row])


def _num_tokens(row: PackedRow) -> int:
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
    config, by_type = hooked.base.config, hooked.architecture.masks == "by_layer_type"
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
