"""Passes replayed as CUDA graphs: the kernels of one shape are recorded once, and started together ever after.

A step of a few short rows is mostly the starting of its thousands of kernels (five sixths of it for four rows of a
hundred tokens on a model of 4B parameters). Rows and positions are filled up to few shapes, so that shapes come again;
what fills them is left out of every loss. Long batches are bound by arithmetic and gain nothing; runs that are stacked
are computed plainly, since peft finds each adapter's rows by copying a list to the device.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ia2.methods import Loss
from ia2.models.hooked_model import HookedModel
from ia2.training.computation import Computation
from ia2.training.dataset import Exercise

MOST_TOKENS = 8192
"""Padded tokens of a batch that is worth a graph."""
STEP_OF_TOKENS, STEP_OF_POSITIONS = 64, 16
"""Widths and numbers of positions are filled up to multiples of these; a position a row stays as it is."""
WORTH = 2
"""A shape is recorded when it comes for the second time."""

Key = tuple[object, ...]


@dataclass
class Graphs(Computation):
    """Computes as `plainly` does, with its kernels recorded for each shape that comes again."""

    hooked: HookedModel
    plainly: Computation
    _seen: Counter[Key] = field(default_factory=Counter)
    _recorded: dict[Key, "_Recorded"] = field(default_factory=dict)
    _pool: Any = field(default_factory=torch.cuda.graph_pool_handle)

    def losses(self, exercise: Exercise, wanted: Collection[Loss]) -> Mapping[Loss, Tensor]:
        return self._computed(exercise, tuple(wanted), {})

    def gradients(self, exercise: Exercise, coefficients: Mapping[Loss, Tensor]) -> Mapping[Loss, Tensor]:
        return self._computed(exercise, tuple(coefficients), coefficients)

    def _computed(
        self, exercise: Exercise, wanted: tuple[Loss, ...], coefficients: Mapping[Loss, Tensor]
    ) -> Mapping[Loss, Tensor]:
        if exercise.batch.input_ids.numel() > MOST_TOKENS or exercise.adapters is not None:
            return self._plainly(exercise, wanted, coefficients)
        exercise = exercise.filled(*_filled_shape(exercise))
        key = (exercise.shape, exercise.adapters, exercise.matching, wanted, bool(coefficients))
        self._seen[key] += 1
        if self._seen[key] < WORTH:
            return self._plainly(exercise, wanted, coefficients)
        if key not in self._recorded:
            self._recorded[key] = self._record(exercise, wanted, coefficients)
        return self._recorded[key].replay(exercise, coefficients)

    def _plainly(
        self, exercise: Exercise, wanted: tuple[Loss, ...], coefficients: Mapping[Loss, Tensor]
    ) -> Mapping[Loss, Tensor]:
        if coefficients:
            return self.plainly.gradients(exercise, coefficients)
        return self.plainly.losses(exercise, wanted)

    def _record(self, exercise: Exercise, wanted: tuple[Loss, ...], coefficients: Mapping[Loss, Tensor]) -> "_Recorded":
        """Record the kernels of one computation, on copies of its inputs that stay where they are."""
        given = exercise.copied(), {loss: values.clone() for loss, values in coefficients.items()}
        learning = [one for one in self.hooked.model.parameters() if one.requires_grad] if coefficients else []
        _forget(learning)  # the recorded backward pass makes gradients of its own
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            losses = self._plainly(given[0], wanted, given[1])
        gradients = [(one, one.grad) for one in learning if one.grad is not None]
        return _Recorded(graph, [*given[0].tensors, *given[1].values()], losses, gradients)


@dataclass(frozen=True)
class _Recorded:
    """A graph, the tensors that it reads, and those that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    losses: Mapping[Loss, Tensor]
    gradients: list[tuple[torch.nn.Parameter, Tensor]]

    def replay(self, exercise: Exercise, coefficients: Mapping[Loss, Tensor]) -> Mapping[Loss, Tensor]:
        for mine, given in zip(self.inputs, [*exercise.tensors, *coefficients.values()], strict=True):
            mine.copy_(given)
        self.graph.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        return {loss: values.clone() for loss, values in self.losses.items()}


def _filled_shape(exercise: Exercise) -> tuple[int, int]:
    """The width and the number of positions that an exercise is filled up to."""
    num_rows, num_tokens, num_positions = exercise.shape
    if num_positions > num_rows:
        num_positions = _rounded(num_positions, STEP_OF_POSITIONS)
    return _rounded(num_tokens, STEP_OF_TOKENS), num_positions


def _rounded(number: int, step: int) -> int:
    return -(-number // step) * step


def _forget(parameters: list[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
