"""The jobs of a sweep on a Ray cluster, whose nodes see the root under one path (a shared or synchronised folder).

An actor is a worker: it keeps its base model and does one job at a time. Where a node is lost, its jobs are tried
again, and a new worker is asked for; it gets a job only once it is up, so that what is left of the cluster goes on.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ia2.errors import UserError
from ia2.flows.sweep.executors import PAUSE, Watch
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.lm.shelf import Models

LOST_NODES = 10
"""So often a job is tried again because its node was lost, which is no fault of its own."""


class RayWorker:
    """A worker on some node."""

    def __init__(self, root: Path, num_threads: int) -> None:
        import torch

        os.environ["OMP_NUM_THREADS"] = str(num_threads)
        torch.set_num_threads(num_threads)
        self.root, self.models = root, Models()

    def is_up(self) -> bool:
        """True, as soon as there is anyone to say so."""
        return True

    def do(self, job: Job) -> Outcome:
        """The outcome of a job."""
        from ia2.flows.sweep.work import do

        return do(self.root, job, self.models)


@dataclass(frozen=True)
class OnRay:
    """Workers of a Ray cluster. Each asks for one core, and for `num_gpus` of a GPU."""

    address: str
    num_workers: int
    run_timeout: float | None = None
    num_gpus: float = 0.0

    def execute(self, root: Path, schedule: Schedule, watch: Watch) -> None:
        """Do the jobs; UserError where Ray is not installed or there is no cluster."""
        crew = _Crew(self._connected(), root.resolve(), self.num_gpus)
        crew.hire(self.num_workers)
        tries: dict[str, int] = {}
        while not schedule.is_over:
            while crew.idle and (job := schedule.next()) is not None:
                tries[job.key] = tries.get(job.key, 0) + 1
                crew.begin(job)
            for job, outcome in crew.ended():
                if outcome is None and tries[job.key] < LOST_NODES:
                    schedule.give_back(job.key)
                    continue
                settled = outcome or Outcome(job.key, "failed", reason=f"its worker was lost {LOST_NODES} times")
                schedule.settle(settled)
                if settled.status != "busy":
                    watch(settled)

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


class _Crew:
    """The workers: those that start, those that wait, and those that are at a job."""

    def __init__(self, ray: Any, root: Path, num_gpus: float) -> None:  # noqa: ANN401
        self._ray, self._root = ray, root
        self._kind = ray.remote(num_cpus=1, num_gpus=num_gpus)(RayWorker)
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[Any, Job]] = {}
        self.idle: list[Any] = []

    def hire(self, number: int) -> None:
        """Ask for so many more workers."""
        for _ in range(number):
            worker = self._kind.remote(self._root, 1)
            self._starting[worker.is_up.remote()] = worker

    def begin(self, job: Job) -> None:
        """Give a job to a worker that waits."""
        worker = self.idle.pop()
        self._running[worker.do.remote(job)] = (worker, job)

    def ended(self) -> Iterator[tuple[Job, Outcome | None]]:
        """The jobs that ended in the last moment, with None where the worker was lost."""
        ready, _ = self._ray.wait([*self._starting, *self._running], timeout=PAUSE)
        for future in ready:
            if future in self._starting:
                worker = self._starting.pop(future)
                if self._result(future) is None:
                    self.hire(1)
                else:
                    self.idle.append(worker)
                continue
            worker, job = self._running.pop(future)
            outcome = self._result(future)
            if outcome is None:
                self.hire(1)
            else:
                self.idle.append(worker)
            yield job, outcome

    def _result(self, future: Any) -> Any:  # noqa: ANN401
        """What a worker says; None where it was lost."""
        try:
            return self._ray.get(future)
        except self._ray.exceptions.RayActorError:
            return None
