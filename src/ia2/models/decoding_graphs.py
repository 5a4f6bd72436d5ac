"""Steps of decoding replayed as a CUDA graph: the kernels of one are recorded, and started together ever after.

A step feeds one token a row, and on a GPU starting its thousands of kernels takes longer than what they do: about 50 ms
for 8 ms of moving weights and cache, on a model of 4B parameters. So that all steps are one and the same, the cache has
its full size from the beginning, and so have the masks: slots that wait for a later token have a later position, and
are not seen.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, StaticLayer

from ia2.models.decoding_state import DecodingState, StepOutput, Steps
from ia2.models.masks import NOBODY, SlotLayout, attention_masks

FEWEST_STEPS = 4
"""The first is computed plainly and recording costs as much as another, so fewer are not worth it."""
ALIGNED = 8
"""Kernels of attention take masks whose width is a multiple of this without copying them."""
NEVER = 2**62
"""A position that no query has passed."""


def steps_after(state: DecodingState, num_steps: int) -> Steps:
    """What goes on from `state`, by so many steps at most: on a single GPU a replay, else the state itself."""
    if state.hooked.on_one_gpu and num_steps >= FEWEST_STEPS:
        return Replay(state, num_steps)
    return state


@dataclass(frozen=True)
class _Shown:
    """What a step shows of all R rows that the batch began with; each as in `StepOutput`."""

    hidden_states: Tensor
    logits: Tensor
    activations: Tensor | None


class Replay:
    """A batch that goes on from `state`, whose cache it takes over. On a CPU nothing is recorded, only computed.

    Rows that have ended are fed on, unseen: a step takes hardly longer for them.
    """

    def __init__(self, state: DecodingState, num_steps: int) -> None:
        self.rows = state.rows
        self._begun, self._fed = state.step, 0
        self._reader, self._activations = state.hooked, state.activations
        spots = state.spots(torch.ones_like(state.owner))
        self._lane, self._column = spots.lane.to(self._reader.device), spots.column.to(self._reader.device)
        self._tokens, self._queries = spots.table(torch.zeros_like(state.owner)), spots.places
        self._slots = _with_those_to_come(state.slots, spots.places, num_steps)
        self._cache = _of_full_size(state.cache, self._slots.owners.shape[1])
        self._going = torch.arange(len(state.rows), device=self._reader.device)
        self._recorded: tuple[torch.cuda.CUDAGraph, _Shown] | None = None

    def next(self, token: Tensor) -> StepOutput:
        """Feed one token [R] a row, and see what it shows."""
        going = self._going
        self._tokens[self._lane[going], self._column[going]] = token.to(self._reader.device)
        recordable = self._fed > 0 and self._reader.device.type == "cuda"  # the first step makes the kernels ready
        shown = self._replayed() if recordable else self._computed()
        self._fed += 1
        activations = None if shown.activations is None else shown.activations[:, going]
        return StepOutput(
            self._begun + self._fed, self.rows, shown.hidden_states[going], shown.logits[going], activations
        )

    def keep(self, going: Tensor) -> None:
        """Let the rows leave that are not `going` [R]."""
        indices = going.nonzero().flatten()
        self.rows = [self.rows[index] for index in indices.tolist()]
        self._going = self._going[indices.to(self._going.device)]

    def _replayed(self) -> _Shown:
        if self._recorded is None:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                shown = self._computed()
            self._recorded = graph, shown
        graph, shown = self._recorded
        graph.replay()
        return shown

    def _computed(self) -> _Shown:
        """One step from where all rows stand to the next, in place."""
        hooked, queries = self._reader, self._queries
        masks = attention_masks(hooked, self._slots, queries)
        inputs = {"input_ids": self._tokens, "position_ids": queries.positions, "attention_mask": masks}
        found = hooked.outputs_at(
            self._lane,
            self._column,
            activations=self._activations,
            past_key_values=self._cache,
            use_cache=True,
            **inputs,
        )
        queries.positions.add_(1)
        return _Shown(found.hidden_states, hooked.logits(found.hidden_states), found.activations)


def _with_those_to_come(slots: SlotLayout, queries: SlotLayout, num_steps: int) -> SlotLayout:
    """The slots [N, K] and, after them, those of so many steps that begin with `queries` [N, Q], filled up to a width
    that kernels like."""
    num_lanes, width = slots.owners.shape[0], slots.owners.shape[1] + num_steps * queries.owners.shape[1]
    later = torch.arange(num_steps, device=queries.positions.device)[:, None]
    positions = (queries.positions[:, None] + later).flatten(1)
    empty = slots.owners.new_full((num_lanes, -width % ALIGNED), NOBODY)
    owners = queries.owners.repeat(1, num_steps)
    return slots.then(SlotLayout(owners, positions)).then(SlotLayout(empty, torch.full_like(empty, NEVER)))


def _of_full_size(cache: DynamicCache, num_slots: int) -> Cache:
    """A cache of so many slots that begins as `cache`, which is emptied layer by layer: little is held twice."""
    layers: list[Any] = []
    while cache.layers:
        full = cast(DynamicLayer, cache.layers.pop(0))
        assert full.keys is not None
        assert full.values is not None
        layer = StaticLayer(num_slots)
        layer.update(full.keys, full.values)
        layers.append(layer)
    return Cache(layers=layers)
