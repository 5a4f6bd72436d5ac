"""Steps of decoding replayed as a CUDA graph: the kernels of one are recorded once, and then started together.

A step feeds one token a row, and on a GPU starting its thousands of kernels takes longer than their work: about 50 ms
for 8 ms of moving weights and cache, on a model of 4B parameters. So that all steps are equal, the cache has its full
size from the beginning, and so have the masks: slots of later tokens have a later position, and are not seen.
"""

from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer, StaticLayer

from ia2.models.packing import NOBODY, DecodingState, StepOutput, attention_masks

FEWEST_STEPS = 4
"""The first is computed plainly and recording costs as much as another, so fewer are not worth it."""
ALIGNED = 8
"""Kernels of attention take masks whose width is a multiple of this without copying them."""
NEVER = 2**62
"""A position that no query has passed."""


class ReplayedSteps:
    """The steps of a batch after `state`, at most `num_steps`, whose cache it takes over.

    Finished rows are fed on, unseen: a step takes hardly longer for them. On a CPU nothing is recorded, only computed.
    """

    def __init__(self, state: DecodingState, num_steps: int) -> None:
        self.rows, self.step, self._hooked, self._activations = state.rows, state.step, state.hooked, state.activations
        device, ones = state.hooked.device, torch.ones_like(state.owner)
        packed_row, column, self._queries = state.place(torch.zeros_like(state.owner), ones)
        self._packed_row, self._column = packed_row.to(device), column.to(device)
        self._active = torch.arange(len(state.rows), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._num_computed = 0

        # The slots so far, those of all steps to come, and padding
        first, last = state.slots.shape[2], state.slots.shape[2] + num_steps * self._queries.shape[2]
        num_slots = last + -last % ALIGNED
        self._slots = state.slots.new_full((2, state.slots.shape[1], num_slots), NOBODY)
        self._slots[1] = NEVER
        self._slots[:, :, :first] = state.slots
        self._slots[:, :, first:last] = self._queries[:2].repeat(1, 1, num_steps)
        later = torch.arange(num_steps, device=device).repeat_interleave(self._queries.shape[2])
        self._slots[1, :, first:last] += later

        # The cache at its full size; the state's is emptied layer by layer, so that little is held twice
        layers: list[Any] = []
        while state.cache.layers:
            grown, layer = cast(DynamicLayer, state.cache.layers.pop(0)), StaticLayer(num_slots)
            assert grown.keys is not None
            assert grown.values is not None
            layer.update(grown.keys, grown.values)
            layers.append(layer)
        self._cache = Cache(layers=layers)

    def next(self, token: Tensor) -> StepOutput:
        """Feed one token [R] a row."""
        active = self._active
        self._queries[2, self._packed_row[active], self._column[active]] = token.to(active.device)
        if self._num_computed == 0 or active.device.type != "cuda":  # the first step makes the kernels ready
            self._outputs = self._computed()
        elif self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._computed()
        if self._graph is not None:
            self._graph.replay()
        self._num_computed += 1
        self.step += 1
        hidden_states, logits, activations = self._outputs
        activations = None if activations is None else activations[:, active]
        return StepOutput(self.step, self.rows, hidden_states[active], logits[active], activations)

    def keep(self, active: Tensor) -> None:
        """Drop the rows that are not `active` [R]."""
        indices = active.nonzero().flatten()
        self.rows = [self.rows[index] for index in indices.tolist()]
        self._active = self._active[indices.to(self._active.device)]

    def _computed(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Hidden states, logits and activations of one step of all rows of the batch, in place."""
        inputs: dict[str, Any] = {
            "input_ids": self._queries[2],
            "position_ids": self._queries[1],
            "attention_mask": attention_masks(self._hooked, self._slots, self._queries),
            "past_key_values": self._cache,
            "use_cache": True,
        }
        hidden_states, activations = self._hooked.outputs(
            self._packed_row, self._column, activations=self._activations, **inputs
        )
        self._queries[1].add_(1)
        return hidden_states, self._hooked.logits(hidden_states), activations
