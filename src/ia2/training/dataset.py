"""What a phase trains on: inputs without demonstrations, the response fed after each, and what to match there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ia2.methods import Loss
from ia2.models.adapters import ALONE
from ia2.models.hooked_model import HookedModel
from ia2.prompts.tokenization import Batch, Ids, TokenizedExample, collate
from ia2.training.losses import act_loss, act_loss_by_layer, spread_remainder, tok_loss, tokl_loss
from ia2.training.targets import Targets


@dataclass(frozen=True)
class Matching:
    """How the teacher is matched: its k most probable tokens (None: all), in these layers (None: all), and whether each
    layer's error is divided by the mean square of its target."""

    top_k: int | None = None
    layers: tuple[int, ...] | None = None
    act_norm: Literal["none", "layer"] = "none"


@dataclass(frozen=True)
class DistillationDataset:
    """n examples as the student sees them, with the teacher's activations and distributions where they are matched."""

    examples: tuple[TokenizedExample, ...]
    activations: Tensor | None = None  # [M, L, D]
    distributions: Tensor | None = None  # [M, D], hidden states
    matching: Matching = Matching()

    def __len__(self) -> int:
        return len(self.examples)

    def part(self, start: int, stop: int) -> "DistillationDataset":
        """The examples start ... stop - 1 and their targets."""
        positions = slice(self._starts[start], self._starts[stop])
        return DistillationDataset(
            self.examples[start:stop],
            None if self.activations is None else self.activations[positions],
            None if self.distributions is None else self.distributions[positions],
            self.matching,
        )

    def positions(self, indices: Sequence[int]) -> Tensor:
        """Where the answer positions of some examples lie among all [M]."""
        return torch.cat([torch.arange(self._starts[index], self._starts[index + 1]) for index in indices])

    @cached_property
    def _starts(self) -> list[int]:
        """Where the positions of each example begin, and where the last ones end."""
        return [0, *accumulate(len(example.response) for example in self.examples)]


def from_answers(prompts: Sequence[Ids], answers: Sequence[Ids]) -> DistillationDataset:
    """Lessons whose responses are the dataset's own answers."""
    return DistillationDataset(tuple(TokenizedExample(*pair) for pair in zip(prompts, answers, strict=True)))


def from_targets(prompts: Sequence[Ids], targets: Targets, matching: Matching = Matching()) -> DistillationDataset:
    """Lessons whose responses are the teacher's."""
    examples = tuple(TokenizedExample(*pair) for pair in zip(prompts, targets.responses, strict=True))
    return DistillationDataset(examples, targets.activations, targets.distributions, matching)


@dataclass(frozen=True)
class Share:
    """Some examples of a run's lessons; `adapter` is the one that reads them."""

    lessons: DistillationDataset
    indices: Sequence[int]
    adapter: str = ALONE


@dataclass(frozen=True)
class Exercise:
    """B examples on the reader's device: what is fed, and what is to be matched at their M answer positions.

    `owners` [M] says which example a position belongs to; B is that of positions that only fill a shape (`filled`).
    `adapters` names that of each row where there are several.
    """

    batch: Batch
    owners: Tensor
    activations: Tensor | None  # [L, M, D]
    distributions: Tensor | None  # [M, D], hidden states
    matching: Matching
    adapters: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, S and M."""
        return (*self.batch.input_ids.shape, len(self.owners))

    @property
    def tensors(self) -> list[Tensor]:
        """All that is computed with, in a fixed order."""
        batch = self.batch
        found = [batch.input_ids, batch.rows, batch.columns, batch.tokens, self.owners]
        return [*found, *(one for one in (self.activations, self.distributions) if one is not None)]

    def copied(self) -> "Exercise":
        """The same with tensors of its own."""
        batch = Batch(*(tensor.clone() for tensor in self.tensors[:4]))
        activations, distributions = (
            None if one is None else one.clone() for one in (self.activations, self.distributions)
        )
        return replace(
            self, batch=batch, owners=self.owners.clone(), activations=activations, distributions=distributions
        )

    def filled(self, num_tokens: int, num_positions: int) -> "Exercise":
        """The same examples as S tokens a row and M positions, so that others have its shape; nothing else changes.

        Activations are filled with ones, since `act_norm` divides by their size: nothing over zero, though left out of
        the loss, would leave no gradient that is a number.
        """
        batch, short = self.batch, num_positions - len(self.owners)
        more = (0, short)
        at_positions = (functional.pad(one, more) for one in (batch.rows, batch.columns, batch.tokens))
        return replace(
            self,
            batch=Batch(functional.pad(batch.input_ids, (0, num_tokens - batch.input_ids.shape[1])), *at_positions),
            owners=functional.pad(self.owners, more, value=len(batch)),
            activations=None if self.activations is None else functional.pad(self.activations, (0, 0, *more), value=1),
            distributions=None if self.distributions is None else functional.pad(self.distributions, (0, 0, *more)),
        )


def exercise_of(shares: Sequence[Share], losses: Collection[Loss], device: torch.device) -> Exercise:
    """The examples of all shares, one share after the other, with what `losses` need of the teacher.

    All shares are matched in the same way, so that one computation serves them.
    """
    (matching,) = {share.lessons.matching for share in shares}
    batch = collate([share.lessons.examples[index] for share in shares for index in share.indices], device)
    names = tuple(share.adapter for share in shares for _ in share.indices)
    activations = _joined(shares, "activations", device).transpose(0, 1) if "act" in losses else None
    distributions = _joined(shares, "distributions", device) if "tokl" in losses else None
    adapters = None if set(names) == {ALONE} else names
    return Exercise(batch, batch.rows, activations, distributions, matching, adapters)


def _joined(shares: Sequence[Share], kind: Literal["activations", "distributions"], device: torch.device) -> Tensor:
    parts = []
    for share in shares:
        values: Tensor | None = getattr(share.lessons, kind)
        assert values is not None, "a phase needs a kind that was not collected"
        parts.append(values[share.lessons.positions(share.indices)])
    return torch.cat(parts).to(device)


def losses_of(hooked: HookedModel, exercise: Exercise, losses: Collection[Loss]) -> dict[Loss, Tensor]:
    """Each loss of the examples, unweighted: [B] each, in float32 and differentiable; one forward pass."""
    batch, rows, size = exercise.batch, exercise.owners, len(exercise.batch) + 1  # one for what fills a shape
    reading = hooked.outputs(
        batch.input_ids,
        batch.rows,
        batch.columns,
        activations="act" in losses,
        logits=bool({"tok", "tokl"} & set(losses)),
        adapters=exercise.adapters,
    )
    found: dict[Loss, Tensor] = {}
    if reading.activations is not None and exercise.activations is not None:
        found["act"] = _act(reading.activations, exercise, size)
    if reading.logits is not None and "tok" in losses:
        found["tok"] = tok_loss(reading.logits, batch.tokens, rows, size)
    if reading.logits is not None and exercise.distributions is not None:
        teacher = _teacher(hooked, exercise.distributions, exercise.matching.top_k)
        found["tokl"] = tokl_loss(reading.logits, teacher, rows, size)
    return {loss: values[:-1] for loss, values in found.items()}


def example_losses(
    hooked: HookedModel, lessons: DistillationDataset, indices: Sequence[int], losses: Collection[Loss]
) -> dict[Loss, Tensor]:
    """Each loss of a phase for some examples, unweighted: [B] each, in float32 and differentiable."""
    return losses_of(hooked, exercise_of([Share(lessons, indices)], losses, hooked.device), losses)


def _act(student: Tensor, exercise: Exercise, size: int) -> Tensor:
    target, matching = exercise.activations, exercise.matching
    assert target is not None
    if matching.layers is not None:
        chosen = list(matching.layers)
        student, target = student[chosen], target[chosen]
    of_layers = act_loss_by_layer if matching.act_norm == "layer" else act_loss
    return of_layers(student, target, exercise.owners, size)


@torch.no_grad()
def _teacher(hooked: HookedModel, hidden: Tensor, top_k: int | None) -> Tensor:
    """The teacher's log-probabilities [M, V] from its hidden states, all of them or the k greatest."""
    everything = hooked.logits(hidden.to(hooked.base.dtype)).log_softmax(dim=-1)
    if top_k is None or top_k >= everything.shape[-1]:
        return everything
    top = everything.topk(top_k, dim=-1)
    return spread_remainder(top.values, top.indices, everything.shape[-1])


def weighted(losses: Mapping[Loss, Tensor], weights: Mapping[Loss, float]) -> Tensor:
    """The phase's loss of each example [B]."""
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum(dim=0)
