"""Failures of two kinds, each reported in one line, and of many things together.

Neither is a ValueError: pydantic and tyro wrap those in boxes of their own, and the message has to arrive as written.
The command line exits with 2 for what the user can mend and with 1 for what the machine did.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from threading import Thread
from traceback import walk_tb
from typing import TypeVar

log = logging.getLogger(__name__)

Result = TypeVar("Result")

BUGS = (AssertionError, AttributeError, NameError, TypeError, LookupError, ArithmeticError)
"""Exceptions of mistakes in code: a refusal where a library raises it, a bug where we do."""


class UserError(Exception):
    """Something asked for cannot be done: the message names the value, the valid ones and the remedy (exit code 2)."""


class MachineError(Exception):
    """Something outside the program failed, such as a disk, a download or a device (exit code 1)."""


OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator", "Storage size calculation overflowed")
"""torch's messages on a GPU, on a CPU, and for sizes beyond 64 bits; only a GPU has an error class of its own."""


def ran_out_of_memory(error: BaseException) -> bool:
    """True where memory was what an operation lacked."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, not imported for it
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


@contextmanager
def memory_errors(device: str) -> Iterator[None]:
    """Turn a lack of memory into a MachineError that names the device."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise MachineError(f"out of memory on the device {device!r}; use another --device") from None


@contextmanager
def library_errors(refusal: Callable[[str], str]) -> Iterator[None]:
    """Turn any exception of a library over its input into a UserError of one line, `refusal` of the reason.

    Failures of ours, mistakes in our own code and a lack of memory are raised unchanged.
    """
    try:
        yield
    except (UserError, MachineError):
        raise
    except BaseException as error:
        panicked = type(error).__name__ == "PanicException"  # of a library in Rust; no Exception
        if not (panicked or isinstance(error, Exception)) or ran_out_of_memory(error):
            raise
        *_, (frame, _) = walk_tb(error.__traceback__)
        is_ours = str(frame.f_globals.get("__name__")).partition(".")[0] == __package__
        if isinstance(error, BUGS) and is_ours:
            raise
        text = " ".join(str(error).split())[:200]
        plain = text and isinstance(error, OSError | ValueError)
        raise UserError(refusal(text if plain else f"{type(error).__name__}: {text}")) from error


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """Result or exception of `work` in a thread of its own; TimeoutError where it has not ended by then.

    Code of others that may loop, such as a template, is stopped by an exception there: unlike an alarm this works in
    every thread. One that never comes back to Python is left behind, and does not keep the process from ending.
    """
    import ctypes  # noqa: PLC0415 - the command line imports this module first of all
    from concurrent.futures import Future  # noqa: PLC0415

    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # raised where it is waited for
            outcome.set_exception(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        return outcome.result(seconds)
    except TimeoutError as error:
        if outcome.done():
            raise
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        raise TimeoutError(f"it has not ended after {seconds:g} s") from error


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, naming the valid word that is like the one given, whatever its case; else nothing."""
    folded = {word.casefold(): word for word in islice(valid, 10_000)}
    near = get_close_matches(given.casefold(), folded, n=1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""


# One of many things goes wrong: it stops no other, is reported at the end, and the command then fails


@dataclass(frozen=True)
class Failure:
    """A thing that could not be made, and the reason."""

    what: Path
    error: UserError | MachineError

    def __str__(self) -> str:
        return f"{self.what}: {self.error}"


def said_once(failures: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each reason: the first of what failed for it, and how many more did."""
    of_reason: dict[str, list[str]] = {}
    for what, reason in failures:
        of_reason.setdefault(reason, []).append(what)
    more = {reason: f" and {len(of_it) - 1} more" if len(of_it) > 1 else "" for reason, of_it in of_reason.items()}
    return [f"{of_it[0]}{more[reason]}: {reason}" for reason, of_it in of_reason.items()]


def raise_failures(failures: Sequence[Failure], num_asked: int, told: str = "") -> None:
    """Log a line for each reason, and raise MachineError of all; `told` is its beginning (default: about records).

    Where nothing else was made and one failure is all that results, that is the error.
    """
    if not failures:
        return
    if len(failures) == num_asked and len({str(failure.error) for failure in failures}) == 1:
        raise failures[0].error
    for line in said_once((str(failure.what), str(failure.error)) for failure in failures):
        log.error("%s", line)
    told = told or f"{len(failures)} of {num_asked} records could not be made"
    raise MachineError(f"{told}, the others stand; {failures[0]}")
