"""The jobs of a sweep on a Ray cluster, whose nodes see the root under one path (a shared or synchronised folder).

An actor is a worker: it keeps its base model and does one job at a time. Where a node is lost, its jobs are tried
again, and a new worker is asked for; it gets a job only once it is up, so that what is left of the cluster goes on.
"""

import logging
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ia2 import store
from ia2.errors import MachineError, UserError
from ia2.flows.sweep.executors import Watch, patience, settle, stopping
from ia2.flows.sweep.failures import leave_failure
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import PAUSE, Outcome, Schedule
from ia2.models.loading import ModelCache

LOST_NODES = 10
"""So often a job is tried again because its node was lost, which is no fault of its own."""

MOST_FAILED_STARTS = 5
"""So many workers in a row that never come up, and the cluster cannot run ia2."""

QUIET = 20.0
"""Seconds without any worker before it is said that the cluster gives none."""


class RayWorker:
    """A worker on some node."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        import torch

        os.environ.update(environment)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        logging.getLogger("ia2").setLevel(logging.INFO)  # for failure.log
        self.root, self.models = root, ModelCache()

    def is_up(self) -> bool:
        """True, as soon as there is anyone to say so."""
        return True

    def do(self, job: Job) -> Outcome:
        """The outcome of a job."""
        from ia2.flows.sweep.work import do

        return do(self.root, job, self.models)


@dataclass(frozen=True)
class OnRay:
    """Workers of a Ray cluster. Each asks for one core and, unless `device` is cpu, for its share of the cluster's
    GPUs. `run_timeout` is in seconds; `environment` is set in every worker, whose own is that of its node."""

    address: str
    num_workers: int
    device: str = "cpu"
    run_timeout: float | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None:
        """Do the jobs; UserError where Ray is not installed, there is no cluster, or it lacks what is asked for."""
        ray = self._connected()
        num_gpus = gpu_share(self.device, int(ray.cluster_resources().get("GPU", 0)), self.num_workers)
        worker = ray.remote(num_cpus=1, num_gpus=num_gpus)(RayWorker)
        crew = _Crew(ray, worker, (root.resolve(), {**self.environment, "OMP_NUM_THREADS": "1"}))
        crew.hire(min(self.num_workers, len(schedule.jobs)))
        losses: Counter[str] = Counter()
        with stopping(schedule):
            while not schedule.is_over:
                while crew.idle and (job := schedule.next()) is not None:
                    crew.begin(job)
                for job, outcome in crew.ended():
                    losses[job.key] += outcome is None
                    if outcome is None and losses[job.key] < LOST_NODES:
                        schedule.give_back(job.key)
                        continue
                    lost = Outcome(job.key, "failed", reason=f"its worker was lost {LOST_NODES} times")
                    settle(schedule, outcome or lost, watch)
                if self.run_timeout is not None:
                    for job, seconds in crew.given_up(self.run_timeout):
                        settle(schedule, _too_long(root, job, seconds, self.run_timeout), watch)

    def _connected(self) -> Any:  # noqa: ANN401 - ray may be absent
        try:
            import ray
        except ImportError:
            raise UserError("--ray_address: ray is not installed; pip install 'ia2[ray]'") from None
        if not ray.is_initialized():
            try:
                self._look()
                ray.init(address=self.address, log_to_driver=False)
            except (OSError, ValueError) as error:
                raise UserError(f"--ray_address {self.address}: {' '.join(str(error).split())}") from error
        return ray

    def _look(self) -> None:
        """OSError where nobody answers at `host:port`; Ray itself would try for minutes."""
        host, colon, port = self.address.rpartition(":")
        if colon and "//" not in self.address:
            socket.create_connection((host, int(port)), timeout=5).close()


def gpu_share(device: str, num_gpus: int, num_workers: int) -> float:
    """How much of a GPU each worker asks for, so that all have a place and none waits; 0 where there is none to use.

    Ray counts in ten-thousandths. UserError where `device` wants a GPU that the cluster has not, or chooses one.
    """
    if device.startswith("cuda:"):
        raise UserError(f"--device {device}: on a cluster Ray chooses the GPU; give --device cuda")
    if device == "cpu" or (device == "auto" and not num_gpus):
        return 0.0
    if not num_gpus:
        raise UserError(f"--device {device}: no node of the cluster has a GPU; give --device cpu, or auto")
    return math.floor(10_000 / math.ceil(num_workers / num_gpus)) / 10_000


def _too_long(root: Path, job: Job, seconds: float, run_timeout: float) -> Outcome:
    reason = f"it took longer than run_timeout={run_timeout:g} s"
    if not job.kinds:
        leave_failure(store.run_folder(root, job.config), f"{reason}\n")
    return Outcome(job.key, "failed", round(seconds, 3), reason)


@dataclass
class _Begun:
    """A job that a worker is at."""

    worker: Any
    job: Job
    since: float = field(default_factory=time.monotonic)


class _Crew:
    """The workers: those that start, those that wait, and those that are at a job."""

    def __init__(self, ray: Any, kind: Any, given: tuple[Any, ...]) -> None:  # noqa: ANN401
        self._ray, self._kind, self._given = ray, kind, given
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, _Begun] = {}
        self._up_last = time.monotonic()
        self._failed_starts = 0
        self.idle: list[Any] = []

    def hire(self, number: int) -> None:
        """Ask for so many more workers."""
        for _ in range(number):
            worker = self._kind.remote(*self._given)
            self._starting[worker.is_up.remote()] = worker

    def begin(self, job: Job) -> None:
        """Give a job to a worker that waits."""
        worker = self.idle.pop()
        self._running[worker.do.remote(job)] = _Begun(worker, job)

    def ended(self) -> Iterator[tuple[Job, Outcome | None]]:
        """The jobs that ended in the last moment, with None where the worker was lost.

        MachineError where no worker comes up, time and again.
        """
        for future in self._news():
            begun = self._running.pop(future, None)
            worker = begun.worker if begun else self._starting.pop(future)
            said = self._said(future)
            if isinstance(said, Exception):
                self._failed_starts += begun is None
                if self._failed_starts >= MOST_FAILED_STARTS:
                    raise MachineError(f"no worker of the Ray cluster starts: {' '.join(str(said).split())[-300:]}")
                self.hire(1)
            else:
                self._failed_starts = 0
                self.idle.append(worker)
            if begun:
                yield begun.job, None if isinstance(said, Exception) else said

    def given_up(self, run_timeout: float) -> Iterator[tuple[Job, float]]:
        """The jobs that take too long, and their seconds; their workers are ended and replaced."""
        for future, begun in list(self._running.items()):
            seconds = time.monotonic() - begun.since
            if seconds > patience(run_timeout, begun.job):
                del self._running[future]
                self._ray.kill(begun.worker)
                self.hire(1)
                yield begun.job, seconds

    def _news(self) -> list[Any]:
        """What is ready, after a moment's wait for it."""
        waited_for = [*self._starting, *self._running]
        if not waited_for:  # all idle: another sweep is at what is left
            time.sleep(PAUSE)
            return []
        if self._running or self.idle:
            self._up_last = time.monotonic()
        elif time.monotonic() - self._up_last > QUIET:
            self._up_last = math.inf
            print(f"no worker is up after {QUIET:g} s: the cluster has {self._free()} free", flush=True)
        ready, _ = self._ray.wait(waited_for, timeout=PAUSE)
        return list(ready)

    def _free(self) -> str:
        free = self._ray.available_resources()
        return f"{free.get('CPU', 0):g} cores and {free.get('GPU', 0):g} GPUs"

    def _said(self, future: Any) -> Any:  # noqa: ANN401
        """What a worker says, or the error where it was lost."""
        try:
            return self._ray.get(future)
        except self._ray.exceptions.RayActorError as error:
            return error
