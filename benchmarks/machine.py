"""The machine that a benchmark runs on: what it is, what it can do, and how seconds and memory are taken.

On a GPU the clock stops when the device has finished, and memory is torch's own peak above what was allocated before.
On a CPU memory is the peak of the resident set above what was resident before: the kernel's high-water mark, set back
before each measurement, when what earlier work has freed has been returned to the system (Linux, glibc).
"""

import ctypes
import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Generic, TypeVar

import torch
from floors import Rates
from torch import nn

from ia2.models.kernels import pack_linears

T = TypeVar("T")


@dataclass(frozen=True)
class Timed(Generic[T]):
    """What some work came to, its seconds, and the peak of memory above what was taken before it."""

    value: T
    seconds: float
    peak_bytes: int


def timed(device: torch.device, work: Callable[[], T], exact_memory: bool = False) -> Timed[T]:
    """Do `work`; on a CPU the peak holds what the allocator keeps for later, unless `exact_memory`, which is slow."""
    gc.collect()
    if device.type == "cpu":
        _map_apart(SMALL if exact_memory else LARGE)
    before = _start(device)
    started = time.perf_counter()
    value = work()
    wait(device)
    seconds = time.perf_counter() - started
    return Timed(value, seconds, _peak(device) - before)


def resident_bytes(device: torch.device) -> int:
    """What is taken now, the weights included."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _kibibytes("VmRSS")


SMALL, LARGE = 2**16, 2**25
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def _map_apart(threshold: int) -> None:
    """Have every allocation of so many bytes mapped apart, and given back when it is freed, instead of cut from a heap.

    With a small threshold the resident set is what is in use. The large one is where the allocator's own adaptation
    ends: what a growing prompt frees is then kept in pieces that are never large enough again.
    """
    libc = ctypes.CDLL(None)
    assert libc.mallopt(M_MMAP_THRESHOLD, threshold)
    assert libc.mallopt(M_TRIM_THRESHOLD, 2 * threshold)


def _start(device: torch.device) -> int:
    if device.type == "cuda":
        wait(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident_bytes(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _kibibytes("VmHWM")


def _kibibytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# What it can do


def measured_rates(device: torch.device, dtype: torch.dtype, size: int | None = None) -> Rates:
    """The rates of a square matrix product of `size`, ordinary or packed, whichever is faster, and of a large copy."""
    size = size or (8192 if device.type == "cuda" else 2048)
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, device=device, dtype=dtype, generator=generator) for _ in range(2))
    layer = nn.Linear(size, size, bias=False, device=device, dtype=dtype).requires_grad_(False)
    products = [_best(device, lambda: left @ right), _best(device, lambda: layer(left))]
    if pack_linears(layer):
        products.append(_best(device, lambda: layer(left)))
    source = torch.randn(size * size * 8, device=device, generator=generator)
    target = torch.empty_like(source)
    copy = _best(device, lambda: target.copy_(source))
    return Rates(2 * size**3 / min(products), 2 * source.numel() * source.itemsize / copy)


def _best(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of one call: the median of seven after two for warming up."""
    seconds = []
    for _ in range(9):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return median(seconds[2:])


def describe(device: torch.device) -> dict[str, str]:
    """The machine, the date and the versions that a figure stands beside."""
    return {
        "machine": _name(device),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft")},
    }


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"1 x {torch.cuda.get_device_name(device)}"
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {torch.get_num_threads()} threads"
