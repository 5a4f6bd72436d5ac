"""Which job is next: the state of a sweep, in one process, whoever does the work.

A job is ready when all it needs is done. Of the ready ones, targets come first, because runs wait for them; then the
phases in order (or, with `sequential_first`, second phases as soon as they can); then the longest, so that no worker is
left with a long one at the end. What failed takes along only what needs it. Where runs are stacked, a job takes others
with it that can be trained in the same passes, but never so many that a worker has none.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ia2.flows.sweep.plan import Job

End = Literal["done", "there", "failed", "skipped"]
"""done here; there already, because another sweep did it meanwhile; failed; skipped, since what it needs failed."""

Status = Literal["waiting", "running", "postponed", End]

PAUSE = 0.5
"""Seconds between two looks at whether another sweep has finished what we wait for, or a worker hangs."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job; `busy` where another sweep is at it. `num_loaded` counts the base models that its worker
    has loaded so far."""

    key: str
    status: End | Literal["busy"]
    seconds: float = 0.0
    reason: str = ""
    num_loaded: int = 0
    others: tuple["Outcome", ...] = ()
    """Of the runs that were trained in the same passes."""


UP = Outcome("", "done")
"""What a worker says before it is given anything."""


@dataclass
class Schedule:
    """Jobs and where they stand."""

    jobs: Sequence[Job]
    sequential_first: bool = False
    max_failures: int | None = None
    stack: int = 1
    """Runs that are trained in the same passes, at most."""
    num_workers: int = 1
    pause: float = PAUSE
    """Seconds before a job that another sweep is at is looked at again."""
    status: dict[str, Status] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    """When a job was begun last, by time.monotonic()."""
    stopped: bool = False
    """No new job is begun."""
    interrupted: bool = False
    """It was a person who stopped it."""

    def __post_init__(self) -> None:
        self.status = {job.key: "waiting" for job in self.jobs}
        self._postponed_until: dict[str, float] = {}
        self._mates: dict[str, tuple[str, ...]] = {}
        self._heed_failures()

    def next(self) -> Job | None:
        """A job to begin now, marked as running; None where none is ready."""
        if self.stopped:
            return None
        ready = [job for job in self.jobs if self._is_ready(job)]
        if not ready:
            return None
        chosen = min(ready, key=self._rank)
        mates = self._mates_of(chosen, ready)
        for job in (chosen, *mates):
            self.status[job.key] = "running"
            self.begun[job.key] = time.monotonic()
        self._mates[chosen.key] = tuple(mate.key for mate in mates)
        return replace(chosen, mates=mates)

    def _mates_of(self, chosen: Job, ready: Sequence[Job]) -> tuple[Job, ...]:
        """Those that go with a job in the same passes; the workers share evenly what could."""
        if self.stack == 1 or chosen.stack is None:
            return ()
        fitting = [job for job in ready if job.key != chosen.key and job.stack == chosen.stack]
        share = -(-(len(fitting) + 1) // self.num_workers)
        return tuple(sorted(fitting, key=self._rank)[: min(self.stack, share) - 1])

    def settle(self, outcome: Outcome) -> None:
        """Note what became of a job and its mates; what needs a failed one is skipped."""
        for other in outcome.others:
            self._settle(other)
        self._release_mates(outcome.key)
        self._settle(outcome)

    def _release_mates(self, key: str) -> None:
        """Of the mates of a job that is over, those that nothing is known of wait again."""
        for mate in self._mates.pop(key, ()):
            if self.status[mate] == "running":
                self.status[mate] = "waiting"

    def _settle(self, outcome: Outcome) -> None:
        if outcome.status == "busy":
            self.status[outcome.key] = "postponed"
            self._postponed_until[outcome.key] = time.monotonic() + self.pause
            return
        self.status[outcome.key] = outcome.status
        self.outcomes[outcome.key] = outcome
        if outcome.status in ("failed", "skipped"):
            self._skip_dependents(outcome)
        self._heed_failures()

    def give_back(self, key: str) -> None:
        """The job's worker has gone: it waits again, and so do its mates."""
        self._release_mates(key)
        self.status[key] = "waiting"

    def interrupt(self) -> None:
        """Begin nothing more, because a person said so."""
        self.stopped = self.interrupted = True

    @property
    def running(self) -> list[str]:
        return [key for key, status in self.status.items() if status == "running"]

    @property
    def failed(self) -> list[Outcome]:
        """Those that failed themselves."""
        return [outcome for outcome in self.outcomes.values() if outcome.status == "failed"]

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing will be begun."""
        waiting = any(status in ("waiting", "postponed") for status in self.status.values())
        return not self.running and (self.stopped or not waiting)

    def _heed_failures(self) -> None:
        self.stopped |= self.max_failures is not None and len(self.failed) >= self.max_failures

    def _is_ready(self, job: Job) -> bool:
        waits = self.status[job.key] in ("waiting", "postponed")
        return (
            waits
            and time.monotonic() >= self._postponed_until.get(job.key, 0.0)
            and all(self.status.get(key, "done") in ("done", "there") for key in job.needs)
        )

    def _rank(self, job: Job) -> tuple[bool, int, float]:
        order = -job.num_phases if self.sequential_first and job.num_phases else job.num_phases
        return (self.status[job.key] == "postponed", order, -job.seconds)

    def _skip_dependents(self, lost: Outcome) -> None:
        why = "failed" if lost.status == "failed" else "was skipped"
        for job in self.jobs:
            if lost.key in job.needs and self.status[job.key] in ("waiting", "postponed"):
                self._settle(Outcome(job.key, "skipped", reason=f"it needs {lost.key}, which {why}"))
