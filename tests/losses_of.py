"""Losses of some examples of a dataset, computed by a model as it is, or with the adapters that it is trained with."""

from collections.abc import Collection, Sequence
from functools import partial

from torch import Tensor

from ia2.models.adapters import SingleAdapter
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.stacked_lora import StackedLora
from ia2.training.dataset import DistillationDataset, gather
from ia2.training.trainer import batch_losses, forward_backward, mean_losses
from ia2.training.variants import Loss


def example_losses(
    hooked: HookedModel, dataset: DistillationDataset, indices: Sequence[int], losses: Collection[Loss]
) -> dict[Loss, Tensor]:
    """Each loss of the examples, unweighted: [B] each, in float32 and differentiable."""
    return batch_losses(hooked, gather({0: dataset}, {0: indices}, losses).to(hooked.device), losses)


def mean_loss(
    model: Model | StackedLora, dataset: DistillationDataset, losses: Collection[Loss], token_budget: int = 4096
) -> dict[Loss, float]:
    """The mean of each loss over all examples, as the dev losses of a run are measured."""
    adapters = model if isinstance(model, StackedLora) else SingleAdapter(model)  # type: ignore[arg-type]
    hooked = HookedModel(adapters.model)
    compute = partial(forward_backward, hooked, adapters)
    return mean_losses({0: dataset}, losses, compute, token_budget)[0]
