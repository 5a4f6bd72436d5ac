"""What memory holds is found out by trying: torch says beforehand neither what a batch takes nor what is free."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

SIGNS = ("out of memory", "DefaultCPUAllocator", "Storage size calculation overflowed")
"""What torch says on a GPU, on a CPU, and of more than 64 bits count; only a GPU has an error of its own for it."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory was what an operation lacked."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def attempted(work: Callable[[], Result]) -> Result | None:
    """What `work` returns; None where memory ran out, which is free again by then: no traceback holds on to it."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def fits(work: Callable[[], object]) -> bool:
    """Do `work`; False where memory ran out."""
    return attempted(lambda: (work(), True)) is not None
