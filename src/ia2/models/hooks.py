"""Recording what the self-attention blocks put out, at chosen positions.

The positions are set before a forward pass and the slice is taken inside the hook, on the device, so that the full
[B, S, D] of a layer is never kept. Hooks live as long as the context manager and no longer.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class ActivationRecorder:
    """What the blocks put out in the last forward pass after `at`: L tensors [M, D]."""

    def __init__(self, num_layers: int) -> None:
        self._layers: list[Tensor | None] = [None] * num_layers
        self._rows: Tensor | None = None
        self._columns: Tensor | None = None

    def at(self, rows: Tensor, columns: Tensor) -> None:
        """Record the next forward pass at the M positions (rows, columns) of its input."""
        self._rows, self._columns = rows, columns
        self._layers = [None] * len(self._layers)  # of a pass that memory did not hold

    def take(self, layers: Sequence[int] | None = None) -> Tensor:
        """The activations [L, M, D] of that pass, of all layers or of those named, where the positions lie.

        Nothing is kept.
        """
        recorded, self._layers = self._layers, [None] * len(self._layers)
        rows, self._rows, self._columns = self._rows, None, None
        chosen = [recorded[i] for i in (range(len(recorded)) if layers is None else layers)]
        assert rows is not None and all(one is not None for one in chosen), "take() before a forward pass"  # noqa: PT018
        return torch.stack([activations.to(rows.device) for activations in chosen if activations is not None])

    def see(self, layer: int, output: Tensor) -> None:
        if self._rows is not None and self._columns is not None:
            self._layers[layer] = output[self._rows.to(output.device), self._columns.to(output.device)]


@contextmanager
def record_attention(blocks: Sequence[nn.Module]) -> Iterator[ActivationRecorder]:
    """Record the outputs of `blocks` within the context.

    >>> blocks = [nn.Identity()]
    >>> with record_attention(blocks) as recorder:
    ...     recorder.at(torch.tensor([0]), torch.tensor([1]))
    ...     _ = blocks[0](torch.arange(6.0).view(1, 3, 2))
    ...     recorder.take()
    tensor([[[2., 3.]]])
    """
    recorder = ActivationRecorder(len(blocks))

    def hook(layer: int) -> Any:  # noqa: ANN401 - the hook's type is torch's own
        def record(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            recorder.see(layer, output if isinstance(output, Tensor) else output[0])

        return record

    handles = [block.register_forward_hook(hook(layer)) for layer, block in enumerate(blocks)]
    try:
        yield recorder
    finally:
        for handle in handles:
            handle.remove()
