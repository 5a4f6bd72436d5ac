"""A worker: a spawned process that does one job at a time and keeps its base model, and our two lines to it.

Jobs go out and outcomes come back on one line. The other carries what the worker prints, whole lines that we print in
its stead, so that several workers and a live view can share a terminal; the lines of a job whose worker dies or hangs
are what is left to say why.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from ia2.errors import MachineError
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.process import work
from ia2.flows.sweep.schedule import Outcome

MOST_FAILED_STARTS, MOST_KILLED_STARTS = 2, 20
"""A worker that ends by itself before it is up will do so again; one that was killed need not be."""

LAST_WORDS = 2.0
"""Seconds that a worker has to say where it hangs, before it is ended."""


class Printed:
    """What a worker prints, read as it comes: passed on line by line, and kept since the job began."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._partial = connection, b""
        self.lines: list[str] = []
        os.set_blocking(connection.fileno(), False)

    def fileno(self) -> int:
        """What to wait for with `multiprocessing.connection.wait`."""
        return self._connection.fileno()

    @property
    def is_open(self) -> bool:
        return not self._connection.closed

    def read(self, pass_on: bool = True) -> None:
        """Take what there is; at the end of it, close."""
        while self.is_open:
            try:
                chunk = os.read(self.fileno(), 65536)
            except BlockingIOError:
                return
            if not chunk:
                self._connection.close()
            *whole, self._partial = (self._partial + chunk).split(b"\n") if chunk else (self._partial, b"")
            for line in whole:
                text = line.decode(errors="replace").rpartition("\r")[2]
                if text.strip():
                    self.lines.append(text)
                    if pass_on:
                        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        self.read()
        self._connection.close()


class Worker:
    """One of several processes; replaced by another where it dies or hangs. It gets a job once it is up."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.environment = root, environment
        self._num_starts = 0
        self._start()

    def _start(self) -> None:
        self.job: Job | None = None
        self.is_up = False
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        output, printing = context.Pipe(duplex=False)
        self.printed = Printed(output)
        self.process: SpawnProcess = context.Process(target=work, args=(theirs, printing, self.root), daemon=True)
        with _environment(self.environment), _deaf():  # before torch is imported there
            self.process.start()
        theirs.close()
        printing.close()

    @property
    def is_idle(self) -> bool:
        return self.is_up and self.job is None

    def begin(self, job: Job) -> None:
        self.job, self._begun = job, time.monotonic()
        self.printed.lines.clear()
        with suppress(OSError):  # it has died while idle, which `hear` will tell
            self.connection.send(job)

    @property
    def seconds(self) -> float:
        """Since its job began."""
        return time.monotonic() - self._begun

    def hear(self) -> Outcome | None:
        """What it says: the outcome of its job, or, without one, that it is up. None where it has died."""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return None
        self.job, self.is_up, self._num_starts = None, True, 0
        return outcome

    def last_words(self) -> str:
        """What it printed at its job, and, if it still runs, where it is: until it has no more to say."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGUSR1)
        seen, deadline = -1, time.monotonic() + LAST_WORDS
        while seen != len(self.printed.lines) and time.monotonic() < deadline:
            seen = len(self.printed.lines)
            time.sleep(0.2)
            self.printed.read(pass_on=False)
        return "".join(f"{line}\n" for line in self.printed.lines)

    def replace(self) -> None:
        """Another process in its place."""
        self.process.kill()
        self.end()
        self._start()

    def restart(self) -> None:
        """Another process for one that died before it was up; MachineError where too many in a row did."""
        code = self.process.exitcode or 0
        self._num_starts += 1
        self.printed.read()
        if self._num_starts >= (MOST_FAILED_STARTS if code > 0 else MOST_KILLED_STARTS):
            said = self.printed.lines[-1] if self.printed.lines else "it said nothing"
            raise MachineError(f"a worker cannot start (exit code {code}): {said}")
        self.replace()

    def end(self) -> None:
        """End the process: at once if it is at something, else as soon as it notices."""
        self.connection.close()
        if not self.is_idle:
            self.process.kill()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.printed.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started meanwhile never hears Ctrl-C, which a terminal sends to all of us and is ours to answer."""
    resource_tracker.ensure_running()  # or the first worker would start it, and that listens again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
