"""`ia2 sweep`: the grid, the plan, the work, and a summary that says what became of every run."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from ia2 import store
from ia2.config import SweepConfig, TrainConfig
from ia2.errors import MachineError, UserError
from ia2.flows.sweep.estimate import Costs
from ia2.flows.sweep.executors import Executor, InProcess, Pool
from ia2.flows.sweep.grid import expand
from ia2.flows.sweep.plan import Plan, plan_of
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.flows.training import resolve
from ia2.lm.shelf import Models

log = logging.getLogger(__name__)


def sweep(config: SweepConfig, models: Models | None = None) -> list[Outcome]:
    """Train every run of the grid that is not there. MachineError at the end where any failed."""
    root = store.root_of(config)
    configs, unprepared = _resolved(expand(config))
    costs = Costs(root)
    plan = costs.applied(plan_of(root, configs))
    print(described(plan, costs))
    for outcome in unprepared:
        print(f"  failed: {outcome.key}: {outcome.reason}")
    if config.dry_run:
        return []
    os.environ.setdefault("WANDB_RUN_GROUP", f"sweep-{store.value_digest(config.identity())}")
    started = time.perf_counter()
    schedule = Schedule(plan.jobs, config.sequential_first, config.max_failures)
    if plan.jobs:
        _execute(root, config, schedule, models)
    outcomes = [*unprepared, *(schedule.outcomes[job.key] for job in plan.jobs if job.key in schedule.outcomes)]
    finished = Finished(plan, tuple(outcomes), schedule.stopped, round(time.perf_counter() - started, 3))
    summary = _write_summary(root, config, finished)
    print(_table(finished), f"\nsummary: {summary}")
    _raise_failures(finished)
    return outcomes


@dataclass(frozen=True)
class Finished:
    """What a sweep came to."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    stopped: bool
    seconds: float

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]


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


def described(plan: Plan, costs: Costs) -> str:
    """The plan in a few lines: how much is there, is left, and should take how long."""
    num_targets = len(plan.jobs) - len(plan.runs)
    lines = [f"{len(plan.runs) + len(plan.done)} runs: {len(plan.done)} are there, {len(plan.runs)} are left"]
    if plan.jobs:
        total, unknown = costs.total(plan.jobs)
        known = f"about {total.seconds:.0f} s of work and {total.num_bytes / 1e6:.1f} MB"
        lines.append(f"{num_targets} sets of targets to make sure of; {known} by what such work took before")
        lines += [f"nothing is known of {unknown} of these {len(plan.jobs)} jobs"] if unknown else []
    lines += [f"  {job.key}" for job in plan.jobs]
    return "\n".join(lines)


def executor_of(config: SweepConfig, models: Models | None = None) -> Executor:
    """Who does the work that `config` asks for."""
    if config.ray_address is not None:
        from ia2.flows.sweep.on_ray import OnRay

        return OnRay(config.ray_address, config.max_parallel, config.run_timeout)
    if config.max_parallel > 1 or config.gpus or config.run_timeout is not None:
        return Pool(config.max_parallel, config.gpus, config.run_timeout)
    return InProcess(models or Models())


def _execute(root: Path, config: SweepConfig, schedule: Schedule, models: Models | None) -> None:
    with tqdm(total=len(schedule.jobs), desc="sweep", unit="job", disable=None) as bar:

        def watch(outcome: Outcome) -> None:
            bar.update()
            bar.set_postfix({"failed": len(schedule.failed)})
            more = f": {outcome.reason}" if outcome.reason else ""
            place = f"[{len(schedule.outcomes)}/{len(schedule.jobs)}]"
            bar.write(f"{place} {outcome.status} in {outcome.seconds:.1f} s: {outcome.key}{more}")

        executor_of(config, models).execute(root, schedule, watch)


def _write_summary(root: Path, config: SweepConfig, finished: Finished) -> Path:
    """outputs/sweeps/{digest}.json: the command, and what became of every job."""
    path = root / "outputs" / "sweeps" / f"{store.value_digest(config.identity())}.json"
    content = {
        "command": config.command("sweep"),
        "seconds": finished.seconds,
        "there": list(finished.plan.done),
        "jobs": [asdict(outcome) for outcome in finished.outcomes],
    }
    store.write_json(path, content)
    return path


def _table(finished: Finished) -> str:
    runs = {job.key for job in finished.plan.runs}
    done = sum(outcome.status == "done" for outcome in finished.outcomes if outcome.key in runs)
    left = len(runs) - sum(outcome.key in runs for outcome in finished.outcomes)
    counted = {"done": done, "failed": len(finished.failed), "not begun": left, "there before": len(finished.plan.done)}
    lines = [", ".join(f"{number} {what}" for what, number in counted.items() if number) or "nothing to do"]
    return "\n".join([*lines, *(f"  failed: {outcome.key}: {outcome.reason}" for outcome in finished.failed)])


def _raise_failures(finished: Finished) -> None:
    if finished.failed:
        raise MachineError(
            f"{len(finished.failed)} of {len(finished.outcomes)} jobs failed (failure.log in a run's folder has the "
            "traceback); the same command goes on with what is left"
        )
    if finished.stopped:
        raise KeyboardInterrupt
