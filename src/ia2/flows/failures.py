"""What went wrong with one of many things: it stops no other, is told at the end, and the command then fails."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ia2.errors import MachineError, UserError, ran_out_of_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What could not be made, and why."""

    what: Path
    error: UserError | MachineError

    def __str__(self) -> str:
        return f"{self.what}: {self.error}"


@contextmanager
def telling_memory(device: str) -> Iterator[None]:
    """Tell a lack of memory as MachineError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise MachineError(f"out of memory on the device {device!r}; use another --device") from None


def said_once(failures: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each reason: the first of what failed for it, and how many more did."""
    of_reason: dict[str, list[str]] = {}
    for what, reason in failures:
        of_reason.setdefault(reason, []).append(what)
    more = {reason: f" and {len(of_it) - 1} more" if len(of_it) > 1 else "" for reason, of_it in of_reason.items()}
    return [f"{of_it[0]}{more[reason]}: {reason}" for reason, of_it in of_reason.items()]


def raise_failures(failures: Sequence[Failure], num_asked: int, told: str = "") -> None:
    """Raise what went wrong, if anything did, after a summary of it; `told` says how many of what (default: records).

    Where nothing but one and the same failure comes out, that is the error.
    """
    if not failures:
        return
    if len(failures) == num_asked and len({str(failure.error) for failure in failures}) == 1:
        raise failures[0].error
    for line in said_once((str(failure.what), str(failure.error)) for failure in failures):
        log.error("%s", line)
    told = told or f"{len(failures)} of {num_asked} records could not be made"
    raise MachineError(f"{told}, the others stand; {failures[0]}")
