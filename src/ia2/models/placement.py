"""A base model that is spread over several devices by accelerate: where its parts compute, and how it comes to that.

Every module's forward is wrapped then: it takes its inputs to the device that the module computes on. What lies in the
CPU's memory or on the disk is a placeholder without numbers (`meta`), brought to that device for each forward and let
go afterwards. What a module puts out therefore lies where it computed, and whoever puts several such things together
moves them to one device first.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import convert_file_size_to_int
from torch import nn

from ia2.config import ModelConfig
from ia2.errors import UserError

log = logging.getLogger(__name__)


def placement(config: ModelConfig) -> dict[str, Any]:
    """What transformers' loading is told of devices; nothing without --device_map.

    Raises UserError for a GPU that is not there.
    """
    if config.device_map is None:
        return {}
    limits = dict(limit.split("=") for limit in config.max_memory)
    available = torch.cuda.device_count()
    for name in limits:
        if name != "cpu" and int(name) >= available:
            raise UserError(f"max_memory names GPU {name}: this machine has {available} CUDA devices, counted from 0")
    sizes = {name if name == "cpu" else int(name): convert_file_size_to_int(size) for name, size in limits.items()}
    return {"device_map": config.device_map, "max_memory": sizes or None}


def is_spread(module: nn.Module) -> bool:
    """Whether accelerate has wrapped the forward of this module."""
    return hasattr(module, "_hf_hook")


def device_of(module: nn.Module) -> torch.device:
    """The device that a module computes on, and where therefore what it puts out lies."""
    if not is_spread(module):
        return next(module.parameters()).device
    hook: Any = module._hf_hook
    device: str | int | torch.device = hook.execution_device
    return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)


def tell_placement(model: nn.Module) -> None:
    """Say what part of a model's weights lies where, if it is spread."""
    devices: dict[str, str | int | torch.device] = getattr(model, "hf_device_map", {})
    if not devices:
        return
    sizes = Counter[str]()
    for name, weight in model.named_parameters():
        device = next(device for part, device in devices.items() if not part or f"{name}.".startswith(f"{part}."))
        sizes[_named(device)] += weight.numel() * weight.element_size()
    shares = (f"{100 * size / sizes.total():.0f}% on {name}" for name, size in sizes.items())
    log.info("the base model's weights are spread: %s", ", ".join(shares))


def _named(device: str | int | torch.device) -> str:
    return f"cuda:{device}" if isinstance(device, int) else {"disk": "the disk"}.get(str(device), str(device))


@contextmanager
def stand_ins(model: nn.Module) -> Iterator[None]:
    """Within, weights that are placeholders look as if they lay where they compute, and take up no memory.

    peft puts the weights of an adapter beside the weight that it finds: next to a placeholder they would be lost.
    """
    away = [
        (module, name, weight)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
        if weight.is_meta
    ]
    for module, name, weight in away:
        nothing = torch.empty(1, dtype=weight.dtype, device=device_of(module))
        module._parameters[name] = nn.Parameter(nothing.expand(weight.shape), requires_grad=False)
    try:
        yield
    finally:
        for module, name, weight in away:
            module._parameters[name] = weight
