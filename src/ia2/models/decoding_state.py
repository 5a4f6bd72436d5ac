"""A batch of prompts under way: read, fed token by token, taken back, and left by those that have ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ia2.models.hooked_model import HookedModel, ModelOutputs, rows_of
from ia2.models.masks import NOBODY, SHARED, SlotLayout, attention_masks
from ia2.models.packing import PackedRow
from ia2.prompts.tokenization import Ids


@dataclass(frozen=True)
class StepOutput:
    """What one step of decoding shows, for the R rows that are still going, at the position that predicts a token."""

    step: int
    rows: Sequence[int]  # which prompts, by index
    hidden_states: Tensor  # [R, D], the decoder's last hidden states
    logits: Tensor  # [R, V], in float32
    activations: Tensor | None  # [L, R, D], as the model made them; None where the observer wants none


class Steps(Protocol):
    """What a batch does after its first step."""

    @property
    def rows(self) -> Sequence[int]:
        """Which prompts are still going, by index."""
        ...

    def next(self, token: Tensor) -> StepOutput:
        """Feed one token [R] a row, and see what it shows."""
        ...

    def keep(self, going: Tensor) -> None:
        """Let the rows leave that are not `going` [R]."""
        ...


@dataclass(frozen=True)
class NextSlots:
    """Where the next tokens [M] of the rows go, end to end: the lane of each and its column among the lanes' new slots,
    where each row's end [R], and what stands in the new slots then [N, Q].
    """

    lane: Tensor
    column: Tensor
    ends: Tensor
    places: SlotLayout

    def table(self, values: Tensor) -> Tensor:
        """The new slots [N, Q] with these values [M] in them, 0 where there is padding, on the device of the places."""
        return _table(self.places.owners.shape, self.lane, self.column, values, 0).to(self.places.owners.device)


def _table(shape: Sequence[int], lane: Tensor, column: Tensor, values: Tensor, empty: int) -> Tensor:
    table = torch.full(tuple(shape), empty)
    table[lane, column] = values
    return table


@dataclass(frozen=True)
class PrefixCache:
    """What prompts begin with, read: a cache with a row for each, padded on the right, and their lengths.

    Virtual tokens are the first of each.
    """

    cache: DynamicCache
    lengths: list[int]


def read_prefixes(hooked: HookedModel, beginnings: Sequence[Ids]) -> PrefixCache:
    """Read all of them in one forward pass."""
    cache = hooked.virtual_cache(len(beginnings)) or DynamicCache()
    if any(beginnings):
        hooked.run(input_ids=_padded(beginnings).to(hooked.device), past_key_values=cache, use_cache=True)
    return PrefixCache(cache, [hooked.num_virtual_tokens + len(ids) for ids in beginnings])


def _padded(rows: Sequence[Sequence[int]], pad: int = 0) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], dtype=torch.long)


class DecodingState:
    """Where R prompts in N lanes stand: the cache, what each of its slots holds, and who is still going.

    A prompt's number is its place among those that the batch began with. `lane`, `owner` (its number) and `position`
    (of its next token) are of the R that are still going, in the order of the lanes.
    """

    def __init__(self, hooked: HookedModel, beginnings: PrefixCache, lanes: Sequence[PackedRow]) -> None:
        rests = [rest for lane in lanes for rest in lane]
        chosen = torch.tensor([lane[0].beginning for lane in lanes])
        shared = torch.tensor(beginnings.lengths)[chosen]
        self.hooked = hooked
        self.rows = [rest.row for rest in rests]
        self.step = 0
        self.activations = False
        width = int(shared.max())  # of these rows: the longest beginning may be in another batch
        self.cache = rows_of(beginnings.cache, chosen, width)
        self.lane = torch.tensor([number for number, lane in enumerate(lanes) for _ in lane])
        self.owner = torch.arange(len(rests))
        self.position = shared[self.lane]
        self._prompts = [rest.ids for rest in rests]
        self._widths: list[int] = []  # slots that each forward pass has added
        self._ordinary = len(rests) == len(lanes) and len(shared.unique()) == 1
        slots = torch.arange(width).expand(len(lanes), -1)
        owners = torch.where(slots < shared[:, None], SHARED, NOBODY)
        self.slots = SlotLayout(owners.to(hooked.device), slots.to(hooked.device))

    def first(self, activations: bool) -> StepOutput:
        """Read the prompts, and see what their last tokens show: activations too, here and later, if so said."""
        self.activations = activations
        return self._feed(*self._unread())

    def next(self, token: Tensor) -> StepOutput:
        """Feed one token [R] a row, and see what it shows."""
        self.step += 1
        return self._feed(token, torch.ones_like(token))

    def forced(self, lengths: Sequence[int], activations: bool) -> ModelOutputs:
        """Read the prompts, and see what the last `lengths` tokens of each row show, without logits."""
        fed = self._laid_out(*self._unread())
        ends = fed.spots.ends
        wanted = torch.cat([torch.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)])
        return self._read(fed, wanted, activations)

    def _unread(self) -> tuple[Tensor, Tensor]:
        """The tokens of the prompts end to end, and how many each has."""
        tokens = torch.tensor([token for ids in self._prompts for token in ids])
        return tokens, torch.tensor([len(ids) for ids in self._prompts])

    def _feed(self, tokens: Tensor, lengths: Tensor) -> StepOutput:
        """Feed each row its next tokens, as many as `lengths` [R] says; `tokens` holds them end to end."""
        fed = self._laid_out(tokens, lengths)
        seen = self._read(fed, fed.spots.ends - 1, self.activations)
        return StepOutput(
            self.step, self.rows, seen.hidden_states, self.hooked.logits(seen.hidden_states), seen.activations
        )

    def _read(self, fed: "_Fed", wanted: Tensor, activations: bool) -> ModelOutputs:
        """Run the model, and see what these of the tokens show."""
        rows, columns = (one[wanted].to(self.hooked.device) for one in (fed.spots.lane, fed.spots.column))
        return self.hooked.outputs_at(
            rows, columns, activations=activations, past_key_values=self.cache, use_cache=True, **fed.inputs
        )

    def spots(self, lengths: Tensor) -> NextSlots:
        """Where the next `lengths` [R] tokens of the rows go."""
        row = torch.arange(len(self.rows)).repeat_interleave(lengths)
        ends, place = lengths.cumsum(0), torch.arange(len(row))
        lane = self.lane[row]
        column = place - torch.searchsorted(lane, lane)
        position = self.position[row] + place - (ends - lengths)[row]
        shape = len(self.slots.owners), int(column.max()) + 1
        owners = _table(shape, lane, column, self.owner[row], NOBODY)
        positions = _table(shape, lane, column, position, 0)
        return NextSlots(
            lane, column, ends, SlotLayout(owners.to(self.hooked.device), positions.to(self.hooked.device))
        )

    def _laid_out(self, tokens: Tensor, lengths: Tensor) -> "_Fed":
        """The lanes' next slots, with these tokens in them."""
        spots = self.spots(lengths)
        self.slots = self.slots.then(spots.places)
        inputs: dict[str, Any] = {"input_ids": spots.table(tokens)}
        if self._widths or not self._ordinary:
            masks = attention_masks(self.hooked, self.slots, spots.places)
            inputs |= {"position_ids": spots.places.positions, "attention_mask": masks}
        self._widths.append(spots.places.owners.shape[1])
        self.position = self.position + lengths
        return _Fed(inputs, spots)

    def back(self, num_tokens: int) -> None:
        """Forget the last tokens that were fed, and stand where the rows stood before them."""
        kept = len(self._widths) - num_tokens
        width = sum(self._widths[kept:])
        self.step, self._widths, self.position = self.step - num_tokens, self._widths[:kept], self.position - num_tokens
        self.slots = self.slots.first(self.slots.owners.shape[1] - width)
        self.cache.crop(-width)

    def keep(self, going: Tensor) -> None:
        """Let the rows leave that are not `going` [R], and the lanes that have none left."""
        indices = going.nonzero().flatten()
        self.rows = [self.rows[index] for index in indices.tolist()]
        self.owner, self.position = self.owner[indices], self.position[indices]
        lanes, self.lane = self.lane[indices].unique(return_inverse=True)
        if len(lanes) < len(self.slots.owners):
            self.slots = self.slots.of(lanes.to(self.hooked.device))
            for layer in cast(list[DynamicLayer], self.cache.layers):
                layer.batch_select_indices(lanes.to(layer.device))


@dataclass(frozen=True)
class _Fed:
    """Tokens [M] of the rows end to end as a forward pass takes them: the decoder's inputs, and where each is."""

    inputs: dict[str, Any]
    spots: NextSlots
