"""Which job is next: the state of a sweep, in one process, whoever does the work.

A job is ready when all it needs is done. Of the ready ones, targets come first, because runs wait for them; then the
phases in order (or, with `sequential_first`, second phases as soon as they can); then the longest, so that no worker is
left with a long one at the end. What failed takes along only what needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ia2.flows.sweep.plan import Job

Status = Literal["waiting", "running", "done", "failed", "postponed"]


@dataclass(frozen=True)
class Outcome:
    """What became of a job. `num_loaded` counts the base models that its worker has loaded so far."""

    key: str
    status: Literal["done", "failed", "busy"]
    seconds: float = 0.0
    reason: str = ""
    num_loaded: int = 0


@dataclass
class Schedule:
    """Jobs and where they stand."""

    jobs: Sequence[Job]
    sequential_first: bool = False
    max_failures: int | None = None
    status: dict[str, Status] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    stopped: bool = False
    """No new job is begun."""

    def __post_init__(self) -> None:
        self.status = {job.key: "waiting" for job in self.jobs}

    def next(self) -> Job | None:
        """A job to begin now, marked as running; None where none is ready."""
        if self.stopped:
            return None
        ready = [job for job in self.jobs if self._is_ready(job)]
        if not ready:
            return None
        chosen = min(ready, key=self._rank)
        self.status[chosen.key] = "running"
        return chosen

    def settle(self, outcome: Outcome) -> None:
        """Note what became of a job; what needs a failed one has failed too."""
        if outcome.status == "busy":
            self.status[outcome.key] = "postponed"
            return
        self.status[outcome.key] = outcome.status
        self.outcomes[outcome.key] = outcome
        if outcome.status == "failed":
            self._fail_dependents(outcome.key)
            self.stopped |= self.max_failures is not None and len(self.failed) >= self.max_failures

    def give_back(self, key: str) -> None:
        """The job's worker has gone: it waits again."""
        self.status[key] = "waiting"

    @property
    def running(self) -> list[str]:
        return [key for key, status in self.status.items() if status == "running"]

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes.values() if outcome.status == "failed"]

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing will be begun."""
        waiting = any(status in ("waiting", "postponed") for status in self.status.values())
        return not self.running and (self.stopped or not waiting)

    def _is_ready(self, job: Job) -> bool:
        begun = self.status[job.key] not in ("waiting", "postponed")
        return not begun and all(self.status.get(key, "done") == "done" for key in job.needs)

    def _rank(self, job: Job) -> tuple[bool, int, float]:
        order = -job.num_phases if self.sequential_first and job.num_phases else job.num_phases
        return (self.status[job.key] == "postponed", order, -job.seconds)

    def _fail_dependents(self, key: str) -> None:
        for job in self.jobs:
            if key in job.needs and self.status[job.key] in ("waiting", "postponed"):
                self.settle(Outcome(job.key, "failed", reason=f"it needs {key}, which failed"))
