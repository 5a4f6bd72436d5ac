"""Devices and memory of a base model: where its parts compute, and what to do when memory runs out.

A model may be spread over several devices by accelerate, which wraps every module's forward: inputs are moved to the
device that the module computes on. A weight kept in the CPU's memory or on the disk is a placeholder without numbers
(`meta`), brought to that device for each forward and dropped afterwards. So a module's outputs are on the device where
it computed, and code that combines the outputs of several modules moves them to one device first.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from accelerate.utils import convert_file_size_to_int
from torch import nn

from ia2.config import ModelConfig
from ia2.errors import MachineError, UserError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def placement(config: ModelConfig) -> dict[str, Any]:
    """Arguments about devices for transformers' loading, none without --device_map; UserError for an absent GPU."""
    if config.device_map is None:
        return {}
    available, sizes = torch.cuda.device_count(), dict[str | int, int]()
    for limit in config.max_memory:
        name, size = limit.split("=")
        if name != "cpu" and int(name) >= available:
            raise UserError(f"max_memory names GPU {name}: this machine has {available} CUDA devices, counted from 0")
        sizes[name if name == "cpu" else int(name)] = convert_file_size_to_int(size)
    return {"device_map": config.device_map, "max_memory": sizes or None}


def is_spread(module: nn.Module) -> bool:
    """True where accelerate has wrapped the forward of this module."""
    return hasattr(module, "_hf_hook")


def device_of(module: nn.Module) -> torch.device:
    """The device that a module computes on, and therefore that of its outputs."""
    if not is_spread(module):
        return next(module.parameters()).device
    hook: Any = module._hf_hook
    device: str | int | torch.device = hook.execution_device
    return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)


def log_placement(model: nn.Module) -> None:
    """Log each device's share of the weights of a model that is spread."""
    devices: dict[str, str | int | torch.device] = getattr(model, "hf_device_map", {})
    if not devices:
        return
    sizes = Counter[str]()
    for name, weight in model.named_parameters():
        device = next(device for part, device in devices.items() if not part or f"{name}.".startswith(f"{part}."))
        named = f"cuda:{device}" if isinstance(device, int) else {"disk": "the disk"}.get(str(device), str(device))
        sizes[named] += weight.numel() * weight.element_size()
    shares = (f"{100 * size / sizes.total():.0f}% on {name}" for name, size in sizes.items())
    log.info("the base model's weights are spread: %s", ", ".join(shares))


@contextmanager
def stand_ins(model: nn.Module) -> Iterator[None]:
    """Let weights that are placeholders seem to be on the device where they compute, without taking memory.

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


SIGNS = ("out of memory", "DefaultCPUAllocator", "Storage size calculation overflowed")
"""torch's messages on a GPU, on a CPU, and for sizes beyond 64 bits; only a GPU has an error class of its own."""


def ran_out_of_memory(error: BaseException) -> bool:
    """True where memory was what an operation lacked."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


@contextmanager
def memory_errors(device: str) -> Iterator[None]:
    """Turn a lack of memory into a MachineError that names the device."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise MachineError(f"out of memory on the device {device!r}; use another --device") from None


def attempt(work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
    """The result of `work`, None where memory ran out: torch reports neither need nor free memory beforehand.

    The memory is free again by then, since no traceback holds on to it.
    """
    try:
        return work(*args, **kwargs)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
