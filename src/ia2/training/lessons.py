"""What a phase trains on: inputs without demonstrations, the response fed after each, and what to match there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ia2.icl.encoding import Batch, Encoded, Ids, collate
from ia2.lm.forward import Reader
from ia2.training.losses import act_loss, act_loss_by_layer, spread_remainder, tok_loss, tokl_loss
from ia2.training.targets import Targets
from ia2.training.variants import Loss


@dataclass(frozen=True)
class Matching:
    """How the teacher is matched: its k most probable tokens (None: all), in these layers (None: all), and whether each
    layer's error is divided by the mean square of its target."""

    top_k: int | None = None
    layers: tuple[int, ...] | None = None
    act_norm: Literal["none", "layer"] = "none"


@dataclass(frozen=True)
class Lessons:
    """n examples as the student sees them, with the teacher's activations and distributions where they are matched."""

    examples: tuple[Encoded, ...]
    activations: Tensor | None = None  # [M, L, D]
    distributions: Tensor | None = None  # [M, D], hidden states
    matching: Matching = Matching()

    def __len__(self) -> int:
        return len(self.examples)

    def part(self, start: int, stop: int) -> "Lessons":
        """The examples start ... stop - 1 and their targets."""
        lengths = [len(example.response) for example in self.examples]
        positions = slice(sum(lengths[:start]), sum(lengths[:stop]))
        return Lessons(
            self.examples[start:stop],
            None if self.activations is None else self.activations[positions],
            None if self.distributions is None else self.distributions[positions],
            self.matching,
        )

    def positions(self, indices: Sequence[int]) -> Tensor:
        """Where the answer positions of some examples lie among all [M]."""
        lengths = [len(example.response) for example in self.examples]
        starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
        return torch.cat([torch.arange(starts[index], starts[index + 1]) for index in indices])


def from_answers(prompts: Sequence[Ids], answers: Sequence[Ids]) -> Lessons:
    """Lessons whose responses are the dataset's own answers."""
    return Lessons(tuple(Encoded(*pair) for pair in zip(prompts, answers, strict=True)))


def from_targets(prompts: Sequence[Ids], targets: Targets, matching: Matching = Matching()) -> Lessons:
    """Lessons whose responses are the teacher's."""
    examples = tuple(Encoded(*pair) for pair in zip(prompts, targets.responses, strict=True))
    return Lessons(examples, targets.activations, targets.distributions, matching)


def example_losses(
    reader: Reader, lessons: Lessons, indices: Sequence[int], weights: Mapping[Loss, float]
) -> dict[Loss, Tensor]:
    """Each loss of a phase for some examples, unweighted: [B] each, in float32 and differentiable."""
    batch = collate([lessons.examples[index] for index in indices], reader.device)
    reading = reader.read(batch, activations="act" in weights, logits=bool({"tok", "tokl"} & set(weights)))
    where = lessons.positions(indices)
    losses: dict[Loss, Tensor] = {}
    if reading.activations is not None:
        target = _chosen(lessons.activations, where, reader).transpose(0, 1)
        losses["act"] = _act(reading.activations, target, batch, lessons.matching)
    if reading.logits is not None and "tok" in weights:
        losses["tok"] = tok_loss(reading.logits, batch.tokens, batch.rows, len(batch))
    if reading.logits is not None and "tokl" in weights:
        teacher = _teacher(reader, _chosen(lessons.distributions, where, reader), lessons.matching.top_k)
        losses["tokl"] = tokl_loss(reading.logits, teacher, batch.rows, len(batch))
    return losses


def _act(student: Tensor, target: Tensor, batch: Batch, matching: Matching) -> Tensor:
    if matching.layers is not None:
        chosen = list(matching.layers)
        student, target = student[chosen], target[chosen]
    if matching.act_norm == "layer":
        return act_loss_by_layer(student, target, batch.rows, len(batch))
    return act_loss(student, target, batch.rows, len(batch))


@torch.no_grad()
def _teacher(reader: Reader, hidden: Tensor, top_k: int | None) -> Tensor:
    """The teacher's log-probabilities [M, V] from its hidden states, all of them or the k greatest."""
    everything = reader.logits(hidden.to(reader.base.dtype)).log_softmax(dim=-1)
    if top_k is None or top_k >= everything.shape[-1]:
        return everything
    top = everything.topk(top_k, dim=-1)
    return spread_remainder(top.values, top.indices, everything.shape[-1])


def _chosen(values: Tensor | None, where: Tensor, reader: Reader) -> Tensor:
    assert values is not None, "a phase needs a kind that was not collected"
    return values[where].to(reader.device)


def weighted(losses: Mapping[Loss, Tensor], weights: Mapping[Loss, float]) -> Tensor:
    """The phase's loss of each example [B]."""
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum(dim=0)
