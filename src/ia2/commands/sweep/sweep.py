"""`ia2 sweep`: the grid, the plan, the work, and a summary of what became of every run."""

import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path

from ia2 import store
from ia2.commands.processes import GROUP, JOURNAL, start_local, start_on_ray, stopping
from ia2.commands.sweep.grid import expand, left_out
from ia2.commands.sweep.schedule import Job, Outcome, Schedule, jobs_of
from ia2.commands.sweep.view import watching
from ia2.commands.sweep.work import run_worker, supervise, work
from ia2.commands.train import resolve
from ia2.config import SweepConfig
from ia2.errors import MachineError, UserError, said_once
from ia2.models.loading import ModelCache
from ia2.training.tracking import check_tracker


def sweep(config: SweepConfig, models: ModelCache | None = None) -> list[Outcome]:
    """Train every run of the grid that is not in the store, and return what became of each job.

    MachineError at the end where any failed, KeyboardInterrupt where Ctrl-C stopped it; either way after the summary.
    """
    if JOURNAL in os.environ:  # this is a worker: the same command, started again by a sweep
        run_worker(config, Path(os.environ[JOURNAL]))
        return []
    root, started = store.resolve_root(config).resolve(), datetime.now().astimezone()
    schedule, finished = _planned(config.model_copy(update={"root": root}), root)
    print("\n".join([*_described(schedule.jobs, finished, in_full=config.dry_run), *left_out(config)]))
    print("".join(f"  {line}\n" for line in _reasons(schedule)), end="")
    if schedule.jobs and config.ray_address is None and config.tracker != "none":
        check_tracker(config.tracker)
    if config.dry_run:
        return []
    digest, group = store.value_digest(config.identity()), os.environ.get(GROUP)
    # so that no other start of the same command replaces it
    summary = root / "outputs" / "sweeps" / f"{digest}_{started:%Y%m%d-%H%M%S}_{os.getpid()}.json"
    os.environ.setdefault(GROUP, f"sweep-{digest}")  # unless a person has named another
    try:
        with watching(schedule), stopping(partial(schedule.report, {"stop": True})):
            execute(schedule, summary, models)
    except KeyboardInterrupt:
        schedule.interrupted = True
    finally:
        if group is None:
            del os.environ[GROUP]
    _summarize(summary, schedule, finished, started)
    if schedule.interrupted:
        raise KeyboardInterrupt
    if failed := sum(outcome.status == "failed" for outcome in schedule.outcomes.values()):
        stopped = ", and --max_failures stopped the rest" if schedule.left else ""
        raise MachineError(
            f"{failed} of {len(schedule.outcomes)} jobs failed{stopped} (failure.log in a run's folder has the "
            "traceback); the same command goes on with what is left"
        )
    return list(schedule.outcomes.values())


def _planned(config: SweepConfig, root: Path) -> tuple[Schedule, list[str]]:
    """The jobs that are left, with a failure for each run whose data files cannot be made, and the finished runs."""
    configs, failed = [], list[Outcome]()
    for one in expand(config):
        try:
            configs.append(resolve(one))
        except (UserError, MachineError) as error:
            what = f"{one.training_method} on {one.dataset}, N={one.num_labels}, run {one.run_idx}, lr={one.lr:g}"
            failed.append(Outcome(what, "failed", reason=str(error)))
    jobs, finished = jobs_of(root, configs)
    return Schedule(root, jobs, config, {outcome.key: outcome for outcome in failed}), finished


def _described(jobs: Sequence[Job], finished: Sequence[str], in_full: bool) -> Iterator[str]:
    """Lines of a plan: what is there, what is left, and how long that should take; in full each of its jobs too."""
    num_sets, unknown = sum(bool(job.kinds) for job in jobs), sum(job.seconds is None for job in jobs)
    num_runs = len(jobs) - num_sets
    yield f"{num_runs + len(finished)} runs: {len(finished)} are there, {num_runs} are left"
    if jobs:
        seconds, num_bytes = sum(job.seconds or 0 for job in jobs), sum(job.num_bytes for job in jobs)
        known = f"about {seconds:.0f} s of work and {num_bytes / 1e6:.1f} MB by what such work took before"
        yield f"{num_sets} {'set' if num_sets == 1 else 'sets'} of targets to make sure of; {known}"
    if unknown:
        yield f"nothing is known of {unknown} of these {len(jobs)} jobs"
    yield from (f"  {job.key}" for job in jobs if in_full)


def execute(schedule: Schedule, summary: Path, models: ModelCache | None = None) -> None:
    """Do the jobs here, or by workers where several, a GPU for each, a cluster or a time limit are wanted."""
    config = schedule.config
    if schedule.is_over:
        return
    if config.max_parallel == 1 and not config.gpus and config.run_timeout is None and config.ray_address is None:
        work(schedule, models or ModelCache())
        return
    number, on_ray = schedule.num_workers, config.ray_address is not None
    start = start_on_ray(config, number, run_worker) if on_ray else partial(start_local, config, number)
    supervise(schedule, start, summary)


def _reasons(schedule: Schedule) -> list[str]:
    """A line for each reason why jobs failed or were skipped."""
    lost = [one for one in schedule.outcomes.values() if one.status in ("failed", "skipped")]
    return said_once((f"{one.status}: {one.key}", one.reason) for one in lost)


def _summarize(path: Path, schedule: Schedule, finished: Sequence[str], started: datetime) -> None:
    """Print what became of the runs, and write the summary."""
    runs, outcomes = {job.key for job in schedule.jobs if not job.kinds}, schedule.outcomes
    ends = Counter(one.status for one in outcomes.values() if one.key in runs or one.status == "failed")
    counted = {
        "done": ends["done"],
        "failed": ends["failed"],
        "skipped": ends["skipped"],
        "not begun": len(runs - outcomes.keys()),
        "done by another sweep": ends["there"],
        "there before": len(finished),
    }
    print(", ".join(f"{number} {what}" for what, number in counted.items() if number) or "nothing to do")
    print("".join(f"  {line}\n" for line in _reasons(schedule)), end="")
    content = {
        "command": schedule.config.command("sweep"),
        "started": started.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "seconds": round((datetime.now().astimezone() - started).total_seconds(), 3),
        "ended_by": "interrupt" if schedule.interrupted else "failures" if schedule.left else "completion",
        "there": finished,
        "jobs": [asdict(outcome) for outcome in outcomes.values()],
        "not_begun": [job.key for job in schedule.left],
    }
    store.write_json(path, content)
    print(f"summary: {path}")
