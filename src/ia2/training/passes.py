"""Forward and backward passes for fits, one or several at a time.

A fit says what it wants next, a gradient or dev losses, and goes on when it has it. So whoever answers decides how: in
one pass or in parts that memory holds, for one run or for several at once. A step of a few short rows is mostly
overhead, which runs on the same frozen base can share: each has its own adapter, rows, optimiser and stopping.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TypeVar

import torch
from torch import Tensor

from ia2.errors import UserError
from ia2.methods import Loss
from ia2.models.hooked_model import HookedModel
from ia2.prompts.tokenization import budget_batches
from ia2.training.computation import Computation, Plainly
from ia2.training.cuda_graphs import Graphs
from ia2.training.dataset import Share, exercise_of

Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """What a fit wants of some examples: the losses that `weights` names, and with `gradient` also that of their
    weighted mean, in the `grad` of the adapter's parameters."""

    share: Share
    weights: Mapping[Loss, float]
    gradient: bool

    def __len__(self) -> int:
        return len(self.share.indices)


@dataclass(frozen=True)
class Answer:
    """The losses of the examples, unweighted [B] each, in the order they were read; and the seconds that fall to it."""

    losses: Mapping[Loss, Tensor]
    seconds: float


Fit = Generator[Request, Answer, Result]
"""A fit under way: yields what it wants, is sent the answer, returns what it came to."""


Parts = Mapping[int, Sequence[int]]
"""Request, by its place -> some of its examples."""


@dataclass(frozen=True)
class Passes:
    """Answers requests with forward and backward passes of `hooked`.

    `token_budget` is of padded tokens in a batch of dev examples, `micro_batch_size` of examples in a backward pass
    (None: the whole batch of a step); both change speed and memory only.
    """

    hooked: HookedModel
    computation: Computation
    token_budget: int = 4096
    micro_batch_size: int | None = None

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """An answer to each; all of them want gradients, or none does."""
        started = time.perf_counter()
        found: list[list[dict[Loss, Tensor]]] = [[] for _ in requests]
        gradient = requests[0].gradient
        for parts in self._micro_batches(requests) if gradient else self._budget_batches(requests):
            for place, losses in self._computed(requests, parts, gradient).items():
                found[place].append(losses)
        answers = [_concatenated(parts) for parts in found]
        seconds = (time.perf_counter() - started) / len(requests)
        return [Answer(losses, seconds) for losses in answers]

    def _micro_batches(self, requests: Sequence[Request]) -> Iterator[Parts]:
        size = self.micro_batch_size or max(map(len, requests))
        chunks = [
            [request.share.indices[start : start + size] for start in range(0, len(request), size)]
            for request in requests
        ]
        for row in zip_longest(*chunks, fillvalue=()):
            yield {place: chosen for place, chosen in enumerate(row) if chosen}

    def _budget_batches(self, requests: Sequence[Request]) -> Iterator[Parts]:
        every = [(place, index) for place, request in enumerate(requests) for index in request.share.indices]
        examples = [requests[place].share.lessons.examples[index] for place, index in every]
        for batch in budget_batches(examples, self.token_budget):
            parts: dict[int, list[int]] = {}
            for place, index in (every[chosen] for chosen in batch):
                parts.setdefault(place, []).append(index)
            yield parts

    def _computed(self, requests: Sequence[Request], parts: Parts, gradient: bool) -> dict[int, dict[Loss, Tensor]]:
        """The losses of some examples of each request, out of one forward pass."""
        wanted = requests[0].weights.keys()
        assert all(request.weights.keys() == wanted for request in requests), "stacked runs have the same losses"
        shares = [replace(requests[place].share, indices=indices) for place, indices in parts.items()]
        exercise, sizes = exercise_of(shares, wanted, self.hooked.device), list(map(len, parts.values()))
        if gradient:
            losses = self.computation.gradients(exercise, self._coefficients(requests, parts))
        else:
            losses = self.computation.losses(exercise, wanted)
        pieces = {loss: values.split(sizes) for loss, values in losses.items()}
        return {place: {loss: pieces[loss][nth] for loss in pieces} for nth, place in enumerate(parts)}

    def _coefficients(self, requests: Sequence[Request], parts: Parts) -> dict[Loss, Tensor]:
        """What makes each request's sum of losses the weighted mean over its examples, whatever parts they come in."""
        return {
            loss: torch.tensor(
                [requests[place].weights[loss] / len(requests[place]) for place, own in parts.items() for _ in own],
                device=self.hooked.device,
            )
            for loss in requests[0].weights
        }


def passes_of(hooked: HookedModel, micro_batch_size: int | None = None) -> Passes:
    """The passes that suit the reader's device: on a GPU, shapes that come again are replayed as CUDA graphs."""
    graphed = hooked.on_one_gpu and micro_batch_size is None
    computation: Computation = Graphs(hooked, Plainly(hooked)) if graphed else Plainly(hooked)
    return Passes(hooked, computation, micro_batch_size=micro_batch_size)


def _concatenated(parts: Sequence[Mapping[Loss, Tensor]]) -> dict[Loss, Tensor]:
    return {loss: torch.cat([part[loss] for part in parts]) for loss in parts[0]}


def drive(fits: Sequence[Fit[Result]], passes: Passes) -> list[Result | UserError]:
    """Let all fits run to their ends, in step with one another, and return what each came to.

    Where one raises UserError (its weights are worthless, say), that is what it came to, and the others go on.
    """
    ended: dict[int, Result | UserError] = {}
    waiting: dict[int, Request] = {}

    def resume(place: int, answer: Answer | None) -> None:
        try:
            waiting[place] = fits[place].send(answer)  # type: ignore[arg-type]  # None begins a generator
        except StopIteration as stop:
            ended[place] = stop.value
        except UserError as error:
            ended[place] = error

    try:
        for place in range(len(fits)):
            resume(place, None)
        while waiting:
            judged = any(not request.gradient for request in waiting.values())
            chosen = [place for place, request in waiting.items() if request.gradient != judged]
            answers = passes.answer([waiting.pop(place) for place in chosen])
            for place, answer in zip(chosen, answers, strict=True):
                resume(place, answer)
    finally:
        for fit in fits:
            fit.close()  # where a pass fails, what each has begun to write goes, and what it has locked is free
    return [ended[place] for place in range(len(fits))]
