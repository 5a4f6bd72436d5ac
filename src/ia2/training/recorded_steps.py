"""Steps replayed as CUDA graphs: the kernels of one shape are recorded once, and started together ever after.

A step of a few short rows is mostly the starting of its thousands of kernels (five sixths of it for four rows of a
hundred tokens on a model of 4B parameters). Rows and positions are padded to few shapes, so that shapes come again;
padding is left out of every loss. Long batches are bound by arithmetic and gain nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from ia2.methods import Loss
from ia2.training.dataset import Batch

MOST_TOKENS = 8192
"""Padded tokens of a batch that is worth a graph."""
STEP_OF_TOKENS, STEP_OF_POSITIONS = 64, 16
"""Widths and numbers of positions are padded to multiples of these; a single position a row is not padded."""
WORTH = 2
"""A shape is recorded when it comes for the second time."""

Compute = Callable[[Batch, Collection[Loss]], dict[Loss, Tensor]]
"""`trainer.forward_backward` of a model: losses [B] each and, of a batch with coefficients, gradients."""
Recorded = tuple[torch.cuda.CUDAGraph, list[Tensor], Mapping[Loss, Tensor], list[tuple[Tensor, Tensor]]]
"""A graph, the tensors that it reads, the losses that it writes, and parameters with the gradients that it writes."""


class CudaGraphs:
    """Computes as `compute` does, with its kernels recorded for each shape that comes again."""

    def __init__(self, compute: Compute, device: torch.device, parameters: Sequence[Tensor]) -> None:
        self.compute = compute
        self.device = device
        self.parameters = parameters
        self._seen: Counter[object] = Counter()
        self._recorded: dict[object, Recorded] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, batch: Batch, losses: Collection[Loss]) -> dict[Loss, Tensor]:
        if batch.input_ids.numel() > MOST_TOKENS:
            return self.compute(batch, losses)
        num_rows, num_tokens, num_positions = batch.shape
        if num_positions > num_rows:
            num_positions = -(-num_positions // STEP_OF_POSITIONS) * STEP_OF_POSITIONS
        batch = batch.pad_to(-(-num_tokens // STEP_OF_TOKENS) * STEP_OF_TOKENS, num_positions)
        key = (batch.shape, tuple(batch.counts.items()), tuple(losses), batch.coefficients is None)
        self._seen[key] += 1
        if self._seen[key] < WORTH:
            return self.compute(batch, losses)
        if key not in self._recorded:
            self._recorded[key] = self._record(batch, losses)
        graph, inputs, found, gradients = self._recorded[key]
        for own, given in zip(inputs, batch.tensors.values(), strict=True):
            own.copy_(given)
        graph.replay()
        for parameter, gradient in gradients:
            parameter.grad = gradient
        return {loss: values.clone() for loss, values in found.items()}

    def _record(self, batch: Batch, losses: Collection[Loss]) -> Recorded:
        """Record the kernels of one computation, on copies of its inputs on the device."""
        batch = batch.to(self.device)
        learning = () if batch.coefficients is None else self.parameters
        for parameter in learning:
            parameter.grad = None  # the recorded backward pass makes gradients of its own
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            found = self.compute(batch, losses)
        gradients = [(one, one.grad) for one in learning if one.grad is not None]
        return graph, [*batch.tensors.values()], found, gradients
