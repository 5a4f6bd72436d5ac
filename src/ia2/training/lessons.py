"""What a phase trains on: inputs without demonstrations, the response fed after each, and what to match there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ia2.icl.encoding import Batch, Encoded, Ids, collate
from ia2.lm.forward import Reader
from ia2.training.losses import act_loss, tok_loss, tokl_loss
from ia2.training.targets import Targets
from ia2.training.variants import Loss


@dataclass(frozen=True)
class Lessons:
    """n examples as the student sees them, with the teacher's activations and distributions where they are matched."""

    examples: tuple[Encoded, ...]
    activations: Tensor | None = None  # [M, L, D]
    distributions: Tensor | None = None  # [M, V]

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
        )

    def positions(self, indices: Sequence[int]) -> Tensor:
        """Where the answer positions of some examples lie among all [M]."""
        lengths = [len(example.response) for example in self.examples]
        starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
        return torch.cat([torch.arange(starts[index], starts[index + 1]) for index in indices])


def from_answers(prompts: Sequence[Ids], answers: Sequence[Ids]) -> Lessons:
    """Lessons whose responses are the dataset's own answers."""
    return Lessons(tuple(Encoded(*pair) for pair in zip(prompts, answers, strict=True)))


def from_targets(prompts: Sequence[Ids], targets: Targets) -> Lessons:
    """Lessons whose responses are the teacher's."""
    examples = tuple(Encoded(*pair) for pair in zip(prompts, targets.responses, strict=True))
    return Lessons(examples, targets.activations, targets.distributions)


def example_losses(
    reader: Reader, lessons: Lessons, indices: Sequence[int], weights: Mapping[Loss, float]
) -> dict[Loss, Tensor]:
    """Each loss of a phase for some examples, unweighted: [B] each, in float32 and differentiable."""
    batch = collate([lessons.examples[index] for index in indices], reader.device)
    needs_logits = bool({"tok", "tokl"} & set(weights))
    reading = reader.read(batch, activations="act" in weights, logits=needs_logits)
    where = lessons.positions(indices)
    losses: dict[Loss, Tensor] = {}
    if reading.activations is not None:
        losses["act"] = act_loss(
            reading.activations, _chosen(lessons.activations, where, reader).transpose(0, 1), batch.rows, len(batch)
        )
    if reading.logits is not None:
        losses |= _logit_losses(reading.logits, batch, weights, lambda: _chosen(lessons.distributions, where, reader))
    return losses


def _logit_losses(logits: Tensor, batch: Batch, weights: Mapping[Loss, float], teacher: object) -> dict[Loss, Tensor]:
    losses: dict[Loss, Tensor] = {}
    if "tok" in weights:
        losses["tok"] = tok_loss(logits, batch.tokens, batch.rows, len(batch))
    if "tokl" in weights:
        assert callable(teacher)
        losses["tokl"] = tokl_loss(logits, teacher(), batch.rows, len(batch))
    return losses


def _chosen(values: Tensor | None, where: Tensor, reader: Reader) -> Tensor:
    assert values is not None, "a phase needs a kind that was not collected"
    return values[where].to(reader.device)


def weighted(losses: Mapping[Loss, Tensor], weights: Mapping[Loss, float]) -> Tensor:
    """The phase's loss of each example [B]."""
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum(dim=0)
