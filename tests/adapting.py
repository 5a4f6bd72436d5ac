"""Adapters of every kind on tiny models, with weights that do something."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from ia2.config import TrainConfig
from ia2.methods import Adapter
from ia2.models.adapters import SingleAdapter, new_adapter, peft_config

ADAPTERS: tuple[Adapter, ...] = get_args(Adapter)
NUM_VIRTUAL_TOKENS = 5


def trainable_parameters(adapted: PeftModel) -> dict[str, Tensor]:
    """The live parameters of the adapter by their name in the model."""
    return {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}


def save_adapter(adapted: PeftModel, folder: Path, model_id: str) -> None:
    SingleAdapter(adapted).save(0, folder, model_id)


def config_of(adapter: Adapter, letters: str = "qkvo") -> TrainConfig:
    return TrainConfig(
        training_method="act" if adapter == "lora" else f"{adapter}-act",
        lora_type=letters,
        ia3_type=letters,
        num_virtual_tokens=NUM_VIRTUAL_TOKENS,
    )


@torch.no_grad()
def shake(adapted: PeftModel, seed: int = 1) -> None:
    """Add noise to every adapter weight: a new LoRA or (IA)3 adapter does nothing."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in trainable_parameters(adapted).values():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def snapshot(adapted: PeftModel) -> dict[str, Tensor]:
    """A copy of the adapter's weights."""
    return {name: parameter.detach().clone() for name, parameter in trainable_parameters(adapted).items()}


@contextmanager
def random_adapter(model: PreTrainedModel, adapter: Adapter) -> Iterator[PeftModel]:
    with new_adapter(model, peft_config(model, config_of(adapter)), seed=0) as adapted:
        shake(adapted)
        yield adapted
