"""Who does the jobs: this process, or workers of it. Each takes from the schedule until it is over.

Workers are spawned, so that none inherits threads or a device; each keeps its base model, and has its share of the
cores and a GPU of its own where there are any. A worker that dies or hangs is replaced; the job of one that died is
tried once more.
"""

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from ia2 import store
from ia2.flows.sweep.failures import leave_failure
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import PAUSE, Outcome, Schedule
from ia2.flows.sweep.workers import Worker
from ia2.models.loading import ModelCache

Watch = Callable[[Outcome], None]
"""Is told of every job that ended."""

MOST_TRIES = 2


class Executor(Protocol):
    """Does the jobs of a schedule."""

    @property
    def num_workers(self) -> int: ...

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None: ...


@dataclass(frozen=True)
class InProcess:
    """One job after another, here."""

    models: ModelCache = field(default_factory=ModelCache)

    @property
    def num_workers(self) -> int:
        return 1

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None:
        """Do the jobs; the first Ctrl-C lets the one under way end, the second does not."""
        from ia2.flows.sweep.work import do

        with stopping(schedule):
            while not schedule.is_over:
                job = schedule.next()
                if job is None:  # another sweep is at what is left
                    time.sleep(PAUSE)
                    continue
                settle(schedule, do(root, job, self.models), watch)


@dataclass(frozen=True)
class Pool:
    """Workers on this machine. `gpus` are dealt out in turn, as CUDA_VISIBLE_DEVICES names them; `run_timeout` is in
    seconds."""

    num_workers: int
    gpus: tuple[str, ...] = ()
    run_timeout: float | None = None

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None:
        """Do the jobs; the first Ctrl-C lets those under way end, the second does not."""
        number = min(self.num_workers, len(schedule.jobs))
        workers = [Worker(root, self.environment(index, number)) for index in range(number)]
        deaths: Counter[str] = Counter()
        try:
            with stopping(schedule):
                while not schedule.is_over:
                    for worker in workers:
                        if worker.is_idle and (job := schedule.next()) is not None:
                            worker.begin(job)
                    self._collect(schedule, workers, watch, deaths)
        finally:
            for worker in workers:
                worker.connection.close()  # those that are idle all end at this
            for worker in workers:
                worker.end()

    def environment(self, index: int, num_workers: int) -> dict[str, str]:
        """What is set in the index-th of so many workers."""
        threads = str(max(1, (os.cpu_count() or 1) // num_workers))
        gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[index % len(self.gpus)]} if self.gpus else {}
        return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **gpu}

    def _collect(self, schedule: Schedule, workers: Sequence[Worker], watch: Watch, deaths: Counter[str]) -> None:
        """Wait for news of any worker, and note it."""
        printed = [worker.printed for worker in workers if worker.printed.is_open]
        awaited = {worker.connection: worker for worker in workers if not worker.is_idle}
        ready = wait([*awaited, *(one.fileno() for one in printed)], timeout=PAUSE)
        for one in printed:
            one.read()
        for connection, worker in awaited.items():
            if connection in ready:
                self._note(schedule, worker, watch, deaths)
            elif worker.job is not None and worker.seconds > patience(self.run_timeout, worker.job):
                reason = f"it took longer than run_timeout={self.run_timeout:g} s"
                settle(schedule, _given_up(worker, reason), watch)

    def _note(self, schedule: Schedule, worker: Worker, watch: Watch, deaths: Counter[str]) -> None:
        """A worker is up, or its job has ended, or it has died. MachineError where it dies before it is up."""
        job, outcome = worker.job, worker.hear()
        if outcome is None:
            code = worker.process.exitcode
            if job is None:
                worker.restart()
                return
            deaths[job.key] += 1
            if deaths[job.key] < MOST_TRIES:
                worker.replace()
                schedule.give_back(job.key)
                return
            outcome = _given_up(worker, f"its worker died {MOST_TRIES} times (last exit code {code})")
        if job is not None:
            settle(schedule, outcome, watch)


def patience(run_timeout: float | None, job: Job) -> float:
    """The seconds that a job and its mates may take together."""
    return math.inf if run_timeout is None else run_timeout * (1 + len(job.mates))


def settle(schedule: Schedule, outcome: Outcome, watch: Watch) -> None:
    """Note what became of a job and its mates, and tell it where any of them has ended."""
    schedule.settle(outcome)
    if outcome.status != "busy" or outcome.others:
        watch(outcome)


def _given_up(worker: Worker, reason: str) -> Outcome:
    """The outcome of a job whose worker died or hangs, after its last words; another worker takes its place."""
    job, seconds = worker.job, round(worker.seconds, 3)
    assert job is not None
    words = worker.last_words()
    worker.replace()
    if not job.kinds:
        leave_failure(store.run_folder(worker.root, job.config), f"{words}{reason}\n")
    return Outcome(job.key, "failed", seconds, reason)


@contextmanager
def stopping(schedule: Schedule) -> Iterator[None]:
    """The first Ctrl-C lets what runs end and begins nothing new; the second interrupts."""

    def stop(number: int, _frame: object) -> None:
        if schedule.interrupted:
            signal.default_int_handler(number, None)
        schedule.interrupt()
        print("finishing what is under way; Ctrl-C again stops at once", flush=True)

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # not the main thread, which alone hears signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
