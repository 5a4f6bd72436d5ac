"""What a fit needs computed of an exercise: its losses, or also their gradient."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ia2.methods import Loss
from ia2.models.hooked_model import HookedModel
from ia2.training.dataset import Exercise, losses_of


class Computation(Protocol):
    """How an exercise is computed; losses are unweighted, [B] each, and detached."""

    def losses(self, exercise: Exercise, wanted: Collection[Loss]) -> Mapping[Loss, Tensor]: ...

    def gradients(self, exercise: Exercise, coefficients: Mapping[Loss, Tensor]) -> Mapping[Loss, Tensor]:
        """Adds to the parameters' `grad` the gradient of the sum of all losses [B] times their coefficients [B]."""
        ...


@dataclass(frozen=True)
class Plainly(Computation):
    """One forward pass, and one backward pass where gradients are wanted."""

    hooked: HookedModel

    @torch.no_grad()
    def losses(self, exercise: Exercise, wanted: Collection[Loss]) -> Mapping[Loss, Tensor]:
        return losses_of(self.hooked, exercise, wanted)

    def gradients(self, exercise: Exercise, coefficients: Mapping[Loss, Tensor]) -> Mapping[Loss, Tensor]:
        losses = losses_of(self.hooked, exercise, coefficients)
        torch.stack([(coefficients[loss] * values).sum() for loss, values in losses.items()]).sum().backward()
        return {loss: values.detach() for loss, values in losses.items()}
