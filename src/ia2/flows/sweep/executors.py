"""Who does the jobs: this process, or workers of it. Each takes from the schedule until it is over.

Workers are spawned, so that none inherits threads or a device; each keeps its base model, and has its share of the
cores and a GPU of its own where there are any. A worker that dies or hangs is replaced, and its job is tried once more.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol

from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.lm.shelf import Models

Watch = Callable[[Outcome], None]
"""Is told of every job that ended."""

PAUSE = 0.5
"""Seconds between two looks at whether another sweep has finished a run that we wait for, or a worker hangs."""
MOST_TRIES = 2


class Executor(Protocol):
    """Does the jobs of a schedule."""

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None: ...


@dataclass(frozen=True)
class InProcess:
    """One job after another, here."""

    models: Models = field(default_factory=Models)

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None:
        """Do the jobs; the first Ctrl-C lets the one under way end, the second does not."""
        from ia2.flows.sweep.work import do

        with _stopping(schedule):
            while not schedule.is_over:
                job = schedule.next()
                assert job is not None, "one job at a time never waits for another"
                outcome = do(root, job, self.models)
                schedule.settle(outcome)
                if outcome.status == "busy":
                    time.sleep(PAUSE)
                else:
                    watch(outcome)


@dataclass(frozen=True)
class Pool:
    """Workers on this machine. `gpus` are dealt out in turn; `run_timeout` is in seconds."""

    num_workers: int
    gpus: tuple[int, ...] = ()
    run_timeout: float | None = None

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None:
        """Do the jobs; the first Ctrl-C lets those under way end, the second does not."""
        workers = [_Worker(root, self._environment(index)) for index in range(self.num_workers)]
        tries: dict[str, int] = {}
        try:
            with _stopping(schedule):
                while not schedule.is_over:
                    self._give_out(schedule, workers, tries)
                    self._collect(schedule, workers, watch, tries)
        finally:
            for worker in workers:
                worker.end()

    def _environment(self, index: int) -> dict[str, str]:
        threads = str(max(1, (os.cpu_count() or 1) // self.num_workers))
        gpu = {"CUDA_VISIBLE_DEVICES": str(self.gpus[index % len(self.gpus)])} if self.gpus else {}
        return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **gpu}

    def _give_out(self, schedule: Schedule, workers: Sequence["_Worker"], tries: dict[str, int]) -> None:
        for worker in workers:
            if worker.job is None and (job := schedule.next()) is not None:
                tries[job.key] = tries.get(job.key, 0) + 1
                worker.begin(job)

    def _collect(self, schedule: Schedule, workers: Sequence["_Worker"], watch: Watch, tries: dict[str, int]) -> None:
        """Wait for news of any worker, and note it."""
        busy = {worker.connection: worker for worker in workers if worker.job is not None}
        for connection in wait(list(busy), timeout=PAUSE):
            worker = busy[connection]  # type: ignore[index]  # only connections are waited for
            self._note(schedule, worker, worker.outcome(), watch, tries)
        for worker in busy.values():
            if self.run_timeout is not None and worker.job is not None and worker.seconds > self.run_timeout:
                reason = f"it took longer than run_timeout={self.run_timeout:g} s"
                failed = Outcome(worker.job.key, "failed", round(worker.seconds, 3), reason)
                worker.replace()
                schedule.settle(failed)
                watch(failed)

    def _note(
        self, schedule: Schedule, worker: "_Worker", outcome: Outcome | None, watch: Watch, tries: dict[str, int]
    ) -> None:
        assert worker.job is not None
        key, code = worker.job.key, worker.process.exitcode
        if outcome is None:
            worker.replace()
            if tries[key] < MOST_TRIES:
                schedule.give_back(key)
                return
            outcome = Outcome(key, "failed", reason=f"its worker died {MOST_TRIES} times (last exit code {code})")
        worker.job = None
        schedule.settle(outcome)
        if outcome.status != "busy":
            watch(outcome)


class _Worker:
    """A process that does one job at a time, and our end of the line to it."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.environment = root, environment
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=work, args=(theirs, self.root), daemon=True)
        with _environment(self.environment):  # before torch is imported there
            self.process.start()
        theirs.close()

    def begin(self, job: Job) -> None:
        self.job, self._begun = job, time.monotonic()
        with suppress(OSError):  # it has died while idle, which `outcome` will tell
            self.connection.send(job)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def outcome(self) -> Outcome | None:
        """What it says of its job; None where it has died."""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return None
        return outcome

    def replace(self) -> None:
        """Another process in its place."""
        self.job = None
        self.end()
        self._start()

    def end(self) -> None:
        self.connection.close()
        if self.job is not None or not self.process.is_alive():
            self.process.kill()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def work(connection: Connection, root: Path) -> None:
    """A worker's life: jobs come in, outcomes go out, until the line is closed. Ctrl-C is the parent's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    from ia2.flows.sweep.work import do

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    models = Models()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(do(root, job, models))


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


@contextmanager
def _stopping(schedule: Schedule) -> Iterator[None]:
    """The first Ctrl-C lets what runs end and begins nothing new; the second interrupts."""

    def stop(number: int, _frame: object) -> None:
        if schedule.stopped:
            signal.default_int_handler(number, None)
        schedule.stopped = True
        print("\nfinishing what is under way; Ctrl-C again stops at once", flush=True)

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # not the main thread, which alone hears signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
