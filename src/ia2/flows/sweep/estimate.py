"""How long a plan will take and what it will write, from what the store says similar work took, and how long what is
left of it, from what it took so far; unknown otherwise."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from ia2 import store
from ia2.errors import UserError
from ia2.flows.status import size
from ia2.flows.sweep.plan import Job, Plan
from ia2.flows.sweep.schedule import Schedule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cost:
    """Seconds, and bytes written."""

    seconds: float
    num_bytes: int


class Costs:
    """What finished work below a root took, by method, and for targets."""

    def __init__(self, root: Path) -> None:
        self._runs: dict[str, list[Cost]] = {}
        for folder in store.run_folders(root):
            method = folder.relative_to(root / "outputs").parts[0]
            self._runs.setdefault(method, []).extend(_cost_in(folder / "final_loss_statistics.json"))
        manifests = (root / "outputs" / "targets").glob("*/manifest.json")
        self._targets = [cost for manifest in manifests for cost in _cost_in(manifest)]

    def of(self, job: Job) -> Cost | None:
        """What such a job took on average; None where none was ever done."""
        found = self._targets if job.kinds else self._runs.get(job.config.training_method, [])
        return _mean(found) if found else None

    def applied(self, plan: Plan) -> Plan:
        """The plan with its estimates; where there is none for a method, that of all runs."""
        every = [cost for costs in self._runs.values() for cost in costs]
        usual = _mean(every).seconds if every else 0.0
        jobs = [replace(job, seconds=cost.seconds if (cost := self.of(job)) else usual) for job in plan.jobs]
        return replace(plan, jobs=tuple(jobs))

    def total(self, jobs: Iterable[Job]) -> tuple[Cost, int]:
        """What the jobs together should take, and how many of them nothing is known of."""
        found = [self.of(job) for job in jobs]
        known = [cost for cost in found if cost is not None]
        total = Cost(sum(cost.seconds for cost in known), sum(cost.num_bytes for cost in known))
        return total, len(found) - len(known)


def seconds_left(schedule: Schedule, now: float) -> float | None:
    """What is left of a sweep at `now` (as time.monotonic()), its workers sharing it; None where nothing is known.

    A job should take what such jobs took in this sweep on average, else what was planned, else the mean of all others.
    """
    measured: dict[str, list[float]] = {}
    for job in schedule.jobs:
        outcome = schedule.outcomes.get(job.key)
        if outcome is not None and outcome.status == "done":
            measured.setdefault(_sort(job), []).append(outcome.seconds)
    expected = {
        job.key: mean(measured[_sort(job)]) if _sort(job) in measured else job.seconds or None for job in schedule.jobs
    }
    known = [seconds for seconds in expected.values() if seconds is not None]
    if not known:
        return None
    left = []
    for key, seconds in expected.items():
        if schedule.status[key] in ("waiting", "postponed", "running"):
            been = now - schedule.begun[key] if schedule.status[key] == "running" else 0.0
            left.append(max(0.0, (mean(known) if seconds is None else seconds) - been))
    return max([sum(left) / schedule.num_workers, *left])


def _sort(job: Job) -> str:
    return "targets" if job.kinds else job.config.training_method


def _mean(costs: list[Cost]) -> Cost:
    return Cost(mean(cost.seconds for cost in costs), round(mean(cost.num_bytes for cost in costs)))


def _cost_in(file: Path) -> Iterator[Cost]:
    """What a file says that its folder took; nothing where it is damaged, which is told and stops no sweep."""
    try:
        yield Cost(float(store.read_object(file)["seconds"]), size([file.parent]))
    except (UserError, KeyError, TypeError, ValueError) as error:
        log.warning("%s says no seconds (%s), and is left out of the estimate", file, error)
