"""Losses of some examples of a dataset, computed by a model as it is, or with the adapters that it is trained with."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ia2.config import TrainConfig
from ia2.methods import Loss
from ia2.models.adapters import SingleAdapter
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.stacked_lora import StackedLora
from ia2.training.dataset import DistillationDataset, budget_batches, gather
from ia2.training.trainer import DEV_TOKENS, batch_losses, forward_backward, losses_in_parts


def matching(**options: Any) -> TrainConfig:
    """Options of matching: `layers`, `act_norm` and `tokl_top_k`."""
    return TrainConfig(training_method="act", **options)


def example_losses(
    hooked: HookedModel, dataset: DistillationDataset, indices: Sequence[int], losses: Collection[Loss], **options: Any
) -> dict[Loss, Tensor]:
    """Each loss of the examples, unweighted: [B] each, in float32 and differentiable; `options` as in `matching`."""
    batch = gather({0: dataset}, {0: indices}, losses).to(hooked.device)
    return batch_losses(hooked, matching(**options), batch, losses)


def weighted(losses: Mapping[Loss, Tensor], weights: Mapping[Loss, float]) -> Tensor:
    """The phase's loss of each example [B]."""
    return torch.stack([weights[name] * values for name, values in losses.items()]).sum(dim=0)


def mean_loss(
    model: Model | StackedLora, dataset: DistillationDataset, losses: Collection[Loss], token_budget: int = DEV_TOKENS
) -> dict[Loss, float]:
    """The mean of each loss over all examples, as the dev losses of a run are measured."""
    adapters = model if isinstance(model, StackedLora) else SingleAdapter(model)  # type: ignore[arg-type]
    compute = partial(forward_backward, HookedModel(adapters.model), adapters, matching())
    parts = budget_batches({0: dataset.examples}, token_budget)
    found = losses_in_parts({0: dataset}, parts, losses, compute)[0]
    return {loss: float(values.mean()) for loss, values in found.items()}
