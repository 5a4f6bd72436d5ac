"""The activations of a model while it is fed given responses, and the cosines between those of two models.

Different models are only comparable on the same tokens, so nothing is generated here: each response is fed to each
model after that model's own prompt (method.md, trap 25: after the first token of free-running answers, different tokens
would be compared). Long demonstrations that many prompts begin with are read once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ia2.models.generation import teacher_forced
from ia2.models.hooked_model import HookedModel
from ia2.prompts.tokenization import TokenizedExample


def forced_activations(hooked: HookedModel, examples: Sequence[TokenizedExample], token_budget: int | None) -> Tensor:
    """Activations [L, M, D] at the M answer positions of all examples, in their order and in the model's dtype.

    UserError where an example does not fit the model's context.
    """
    found: dict[int, Tensor] = {}
    for rows, outputs in teacher_forced(hooked, examples, token_budget, activations=True):
        assert outputs.activations is not None
        lengths = [len(examples[row].response) for row in rows]
        found.update(zip(rows, outputs.activations.split(lengths, dim=1), strict=True))
    return torch.cat([found[row] for row in range(len(examples))], dim=1)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosine [L, M] of each pair of activations [L, M, D], in float32 whatever theirs is; NaN where one is zero."""
    pairs = zip(first, second, strict=True)
    return torch.stack([_cosines(one.float(), other.float()) for one, other in pairs])  # a layer at a time


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(one, dim=-1) * torch.linalg.vector_norm(other, dim=-1)
    return (one * other).sum(dim=-1).div(lengths)


# In which order


@dataclass(frozen=True)
class Turn:
    """One model is read: which pairs, by index, can be compared from then on, and whose activations are then done."""

    model: str
    pairs: tuple[int, ...]
    done: frozenset[str]


def turns(models: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[Turn]:
    """The models in their order, each pair at the turn of its later one; nobody is held longer than a pair needs."""
    place = {model: index for index, model in enumerate(models)}
    at = [max(place[one], place[other]) for one, other in pairs]
    last = {model: max(t for t, pair in zip(at, pairs, strict=True) if model in pair) for model in models}
    return [
        Turn(
            model=model,
            pairs=tuple(index for index, turn in enumerate(at) if turn == number),
            done=frozenset(other for other in models if last[other] == number),
        )
        for number, model in enumerate(models)
    ]


def most_held(order: Sequence[Turn]) -> int:
    """Of how many models activations are held at once, at most."""
    held, most = 0, 0
    for turn in order:
        held += 1
        most = max(most, held)
        held -= len(turn.done)
    return most
