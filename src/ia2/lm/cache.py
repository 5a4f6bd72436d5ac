"""A key-value cache that grows in place while tokens are decoded.

transformers' own copies all that is held for every token that comes, which for 32 rows of 3,000 tokens of the shape of
Qwen3-4B is 29 GB read and written a step. Here a token is written beside the others, into room that is made for many
at a time. Gradients do not go through it.
"""

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Slots that are made at a time."""


class GrowingLayer(DynamicLayer):
    """Keys and values [B, H, S, W] of one layer, which are the beginnings of buffers with more slots.

    What is read first is kept as it comes: most prompts are never decoded beyond their first token.
    """

    _buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add what comes, and return all there is."""
        if self.keys is None or self.values is None or not self.get_seq_length():
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
        else:
            keys, values = self._buffers or (None, None)
            key_buffer, self.keys = _appended(self.keys, keys, key_states)
            value_buffer, self.values = _appended(self.values, values, value_states)
            self._buffers = key_buffer, value_buffer
        return self.keys, self.values


def _appended(held: Tensor, buffer: Tensor | None, new: Tensor) -> tuple[Tensor, Tensor]:
    """The buffer, another one where the one there is has no room or is not what `held` begins, and all there is."""
    length, total = held.shape[-2], held.shape[-2] + new.shape[-2]
    if buffer is None or held.data_ptr() != buffer.data_ptr() or len(held) != len(buffer) or total > buffer.shape[-2]:
        buffer = held.new_empty((*held.shape[:2], total + ROOM, held.shape[-1]))
        buffer[:, :, :length] = held
    buffer[:, :, length:total] = new
    return buffer, buffer[:, :, :total]


class GrowingCache(DynamicCache):
    """A cache of such layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer


def grown(cache: DynamicCache, rows: Tensor) -> GrowingCache:
    """A growing cache of which each row is one of `cache`, by index; `cache` stays as it is."""
    copy = GrowingCache()
    for index, layer in enumerate(cache.layers):
        assert isinstance(layer, DynamicLayer)
        assert layer.keys is not None
        assert layer.values is not None
        copy.update(rows_of(layer.keys, rows), rows_of(layer.values, rows), index)
    return copy


def rows_of(half: Tensor, rows: Tensor) -> Tensor:
    """The rows of keys or of values, by index; one row is shared by all without a copy."""
    if len(half) == 1:
        return half.expand(len(rows), -1, -1, -1)
    return torch.index_select(half, 0, rows.to(half.device))
