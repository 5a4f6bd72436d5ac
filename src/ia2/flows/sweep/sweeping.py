"""`ia2 sweep`: the grid, the plan, the work, and a summary that says what became of every run."""

import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from ia2 import store
from ia2.commands.train import resolve
from ia2.config import SweepConfig, TrainConfig
from ia2.errors import MachineError, UserError, said_once
from ia2.flows.sweep.estimate import Costs
from ia2.flows.sweep.executors import Executor, InProcess, Pool
from ia2.flows.sweep.grid import expand, left_out
from ia2.flows.sweep.plan import Plan, plan_of
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.flows.sweep.watching import watching
from ia2.models.loading import ModelCache
from ia2.training.tracking import check_tracker

GROUP = "WANDB_RUN_GROUP"
"""Where wandb looks for the group of a run."""

TOLD = ("key", "status", "seconds", "reason", "num_loaded")
"""What the summary says of a job."""


def sweep(config: SweepConfig, models: ModelCache | None = None) -> list[Outcome]:
    """Train every run of the grid that is not there. MachineError at the end where any failed, KeyboardInterrupt where
    Ctrl-C stopped it; either way after the summary."""
    root = store.resolve_root(config).resolve()
    started = datetime.now().astimezone()
    configs, unprepared = _resolved([one.model_copy(update={"root": root}) for one in expand(config)])
    costs = Costs(root)
    plan = costs.applied(plan_of(root, configs))
    print("\n".join([described(plan, costs, in_full=config.dry_run), *left_out(config)]))
    for line in said_once((f"failed: {outcome.key}", outcome.reason) for outcome in unprepared):
        print(f"  {line}")
    if plan.jobs and config.ray_address is None and config.tracker != "none":
        check_tracker(config.tracker)
    if config.dry_run:
        return []
    schedule = Schedule(plan.jobs, config.sequential_first, _failures_left(config, unprepared), config.stack)
    with _grouped(config):
        _execute(root, config, schedule, models)
    finished = Finished(plan, (*unprepared, *_in_order(schedule)), _end(schedule), started)
    print(f"{_table(finished)}\nsummary: {_write_summary(root, config, finished)}")
    _raise_failures(finished)
    return list(finished.outcomes)


@dataclass(frozen=True)
class Finished:
    """What a sweep came to."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    ended_by: Literal["completion", "failures", "interrupt"]
    started: datetime

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def not_begun(self) -> list[str]:
        settled = {outcome.key for outcome in self.outcomes}
        return [job.key for job in self.plan.jobs if job.key not in settled]


def _resolved(configs: Sequence[TrainConfig]) -> tuple[list[TrainConfig], list[Outcome]]:
    """The runs whose data files are in place, made where they were missing, and what became of the others."""
    found, failed = [], []
    for config in configs:
        try:
            found.append(resolve(config))
        except (UserError, MachineError) as error:
            what = f"{config.training_method} on {config.dataset}, N={config.num_labels}, run {config.run_idx}"
            failed.append(Outcome(f"{what}, lr={config.lr:g}", "failed", reason=str(error)))
    return found, failed


def described(plan: Plan, costs: Costs, in_full: bool) -> str:
    """The plan in a few lines: how much is there, is left, and should take how long; in full, each of its jobs too."""
    num_targets = len(plan.jobs) - len(plan.runs)
    lines = [f"{len(plan.runs) + len(plan.done)} runs: {len(plan.done)} are there, {len(plan.runs)} are left"]
    if plan.jobs:
        total, unknown = costs.total(plan.jobs)
        known = f"about {total.seconds:.0f} s of work and {total.num_bytes / 1e6:.1f} MB"
        sets = "1 set" if num_targets == 1 else f"{num_targets} sets"
        lines.append(f"{sets} of targets to make sure of; {known} by what such work took before")
        lines += [f"nothing is known of {unknown} of these {len(plan.jobs)} jobs"] if unknown else []
    lines += [f"  {job.key}" for job in plan.jobs] if in_full else []
    return "\n".join(lines)


def executor_of(config: SweepConfig, models: ModelCache | None = None) -> Executor:
    """Who does the work that `config` asks for; UserError where this machine has not the GPUs."""
    if config.ray_address is not None:
        from ia2.flows.sweep.on_ray import OnRay

        group = {GROUP: os.environ[GROUP]} if GROUP in os.environ else {}
        return OnRay(config.ray_address, config.max_parallel, config.device, config.run_timeout, group)
    if config.max_parallel > 1 or config.gpus or config.run_timeout is not None:
        return Pool(max(config.max_parallel, len(config.gpus)), visible(config.gpus), config.run_timeout)
    return InProcess(models or ModelCache())


def visible(gpus: Sequence[int]) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES calls these GPUs, which are counted among those that this process sees."""
    import torch

    number = torch.cuda.device_count() if gpus else 0
    for gpu in gpus:
        if gpu >= number:
            raise UserError(f"--gpus {gpu}: this process sees {number} GPUs, counted from 0")
    names = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(number)))).split(",")
    return tuple(names[gpu].strip() for gpu in gpus)


def _failures_left(config: SweepConfig, unprepared: Sequence[Outcome]) -> int | None:
    """How many more failures there may be, after those of data files."""
    return None if config.max_failures is None else max(0, config.max_failures - len(unprepared))


@contextmanager
def _grouped(config: SweepConfig) -> Iterator[None]:
    """wandb shows the runs of a sweep as one group, unless a person has named another."""
    if GROUP in os.environ:
        yield
        return
    os.environ[GROUP] = f"sweep-{store.value_digest(config.identity())}"
    try:
        yield
    finally:
        del os.environ[GROUP]


def _execute(root: Path, config: SweepConfig, schedule: Schedule, models: ModelCache | None) -> None:
    """Do the jobs; where Ctrl-C came twice, what was finished by then is in the schedule."""
    if schedule.is_over:
        return
    executor = executor_of(config, models)
    schedule.num_workers = executor.num_workers
    with watching(root, schedule) as watch:
        try:
            executor.execute(root, schedule, watch)
        except KeyboardInterrupt:
            schedule.interrupt()


def _in_order(schedule: Schedule) -> list[Outcome]:
    return [schedule.outcomes[job.key] for job in schedule.jobs if job.key in schedule.outcomes]


def _end(schedule: Schedule) -> Literal["completion", "failures", "interrupt"]:
    if schedule.interrupted:
        return "interrupt"
    return "failures" if len(schedule.outcomes) < len(schedule.jobs) else "completion"


def _write_summary(root: Path, config: SweepConfig, finished: Finished) -> Path:
    """outputs/sweeps/{digest}_{start}_{process}.json, so that no other start of the same command replaces it."""
    digest, start = store.value_digest(config.identity()), finished.started
    path = root / "outputs" / "sweeps" / f"{digest}_{start:%Y%m%d-%H%M%S}_{os.getpid()}.json"
    content = {
        "command": config.command("sweep"),
        "started": start.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "seconds": round((datetime.now().astimezone() - start).total_seconds(), 3),
        "ended_by": finished.ended_by,
        "there": list(finished.plan.done),
        "jobs": [{field: getattr(outcome, field) for field in TOLD} for outcome in finished.outcomes],
        "not_begun": finished.not_begun,
    }
    store.write_json(path, content)
    return path


def _table(finished: Finished) -> str:
    """How many runs came to what, and the reasons of those that are not there."""
    runs = {job.key for job in finished.plan.runs}
    ends = Counter(one.status for one in finished.outcomes if one.key in runs or one.status == "failed")
    counted = {
        "done": ends["done"],
        "failed": ends["failed"],
        "skipped": ends["skipped"],
        "not begun": len(runs.intersection(finished.not_begun)),
        "done by another sweep": ends["there"],
        "there before": len(finished.plan.done),
    }
    lines = [", ".join(f"{number} {what}" for what, number in counted.items() if number) or "nothing to do"]
    lost = [outcome for outcome in finished.outcomes if outcome.status in ("failed", "skipped")]
    reasons = said_once((f"{outcome.status}: {outcome.key}", outcome.reason) for outcome in lost)
    return "\n".join([*lines, *(f"  {line}" for line in reasons)])


def _raise_failures(finished: Finished) -> None:
    if finished.ended_by == "interrupt":
        raise KeyboardInterrupt
    if finished.failed:
        stopped = ", and --max_failures stopped the rest" if finished.ended_by == "failures" else ""
        raise MachineError(
            f"{len(finished.failed)} of {len(finished.outcomes)} jobs failed{stopped} (failure.log in a run's folder "
            "has the traceback); the same command goes on with what is left"
        )
