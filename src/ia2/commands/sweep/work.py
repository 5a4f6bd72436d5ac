"""The work of a sweep, by one process or by workers of its own.

`work` is the whole of it: claim, do, report, release, next. A job is claimed by the store's lock of the folder that it
makes, for as long as a process is at it. So workers of one sweep, of another, and other commands do nothing twice, and
the system releases the claim of a process that dies.

Workers are the same command, started again (`run_worker`). They share a folder, the session, with the jobs and of each
a journal and a log. The sweep that started them reads these, and starts another for each that dies, whose jobs are
tried once more (`supervise`).
"""

import faulthandler
import io
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from ia2 import store
from ia2.commands.progress import leave_failure
from ia2.commands.sweep.schedule import End, Job, Outcome, Schedule, is_finished, new_lines
from ia2.commands.train import collect_targets, train, train_runs
from ia2.config import SweepConfig, TrainConfig
from ia2.errors import MachineError
from ia2.models.generation import attempt
from ia2.models.loading import ModelCache
from ia2.training.run_inputs import read_run_inputs

log = logging.getLogger(__name__)

PAUSE, AGAIN = 0.1, 0.5
"""Seconds between two looks for news, and before a job that another process has locked is tried again."""
MOST_TRIES, MOST_LOSSES, MOST_RESTARTS = 2, 10, 3
"""A job has failed whose worker died so often at it, on this machine or on a cluster, where nodes are lost; a worker is
given up that dies more often in a row without ending a job."""
JOBS = TypeAdapter(list[Job])


def work(schedule: Schedule, models: ModelCache, is_wanted: Callable[[], bool] = lambda: True) -> None:
    """Do jobs until none is begun any more."""
    while not schedule.is_over and is_wanted():
        if jobs := schedule.next():
            do(schedule, jobs, models)
        else:
            time.sleep(PAUSE)


def do(schedule: Schedule, jobs: Sequence[Job], models: ModelCache) -> None:
    """Claim jobs and do those that nobody else has, in the same passes if possible, else each alone.

    An exception becomes a failed outcome and takes no other job along; an assertion, a mistake of ours, is raised too.
    With --run_timeout a worker ends in the midst of jobs that take longer, and writes where it was beside its journal.
    """
    lines, started, mistakes = io.StringIO(), time.perf_counter(), list[AssertionError]()
    logger, handler, limit = logging.getLogger("ia2"), logging.StreamHandler(lines), schedule.config.run_timeout

    def settle(job: Job, made: object, share: int = 1) -> None:
        seconds, reason = round((time.perf_counter() - started) / share, 3), ""
        if isinstance(made, Exception):
            reason = f"{type(made).__name__}: {' '.join(str(made).split())}"
            if not job.kinds:
                text = lines.getvalue() + "".join(traceback.format_exception(made))
                leave_failure(store.run_folder(schedule.root, job.config), text)
        status: End = "failed" if reason else "done" if made else "there"
        schedule.report(Outcome(job.key, status, seconds, reason, models.num_loaded))
        mistakes.extend([made] if isinstance(made, AssertionError) else [])  # others would hold on to memory

    with ExitStack() as claims:
        logger.addHandler(handler)
        claims.callback(logger.removeHandler, handler)
        if limit is not None and schedule.journal is not None:
            trace = claims.enter_context(schedule.journal.with_suffix(".trace").open("w"))
            faulthandler.dump_traceback_later(limit * len(jobs), exit=True, file=trace)
            claims.callback(faulthandler.cancel_dump_traceback_later)
        claimed = _claimed(schedule, jobs, models, claims)
        left = [job for job, ours in claimed if ours is True]
        together = dict(zip(left, _together([job.config for job in left], models), strict=False))
        for job, ours in claimed:
            arguments = (collect_targets, schedule.root, job.config, job.kinds) if job.kinds else (_train, job.config)
            known = together.get(job, ours)
            settle(job, _tried(*arguments, models) if known is True else known, len(together) or 1)
            started = started if together else time.perf_counter()
    if mistakes:
        raise mistakes[0]


def _claimed(
    schedule: Schedule, jobs: Sequence[Job], models: ModelCache, claims: ExitStack
) -> list[tuple[Job, object]]:
    """Lock the folders that jobs make until `claims` is closed, and begin those that are ours to do: they have True.

    A finished run has None, and a job that cannot be locked the error; one that a process has locked is postponed. All
    processes lock in one order, and report before they release: who had a lock before us has done so.
    """

    def claim(job: Job) -> bool:
        inputs = read_run_inputs(schedule.root, job.config, models) if job.kinds else None
        folder = store.run_folder(schedule.root, job.config) if inputs is None else inputs.targets_folder
        return claims.enter_context(store.try_lock(folder))

    locked, claimed = [(job, _tried(claim, job)) for job in sorted(jobs, key=lambda job: job.key)], []
    schedule.read()
    for job, ours in locked:
        if ours is False:
            schedule.postponed[job.key] = time.time() + AGAIN
        elif job.key not in schedule.outcomes:
            is_there = ours is True and not job.kinds and is_finished(schedule.root, job.config)
            claimed.append((job, None if is_there else ours))
    if begun := [job.key for job, ours in claimed if ours is True]:  # and in the log of a worker, so much is printed
        schedule.report({"begin": begun, "at": time.time(), "printed": os.fstat(2).st_size})
    return claimed


def _tried(function: Callable[..., object], *args: object) -> object:
    """The result of a function, or the exception that it raises, whatever that is: the other jobs go on."""
    try:
        return function(*args)
    except Exception as error:
        return error


def _together(configs: Sequence[TrainConfig], models: ModelCache) -> Sequence[Path | Exception]:
    """The folder of each of several runs, or why it has none; nothing where they have to be trained each alone."""
    if len(configs) < 2:
        return []
    try:
        made = attempt(train_runs, configs, models)
    except AssertionError as error:  # which training each alone would hide
        return [error] * len(configs)
    except Exception as error:  # whatever it is: one that fails alone too then fails for itself
        log.warning("%d runs cannot be trained in the same passes (%s); each alone", len(configs), error)
        return []
    if made is None:
        log.warning("memory does not hold %d runs in the same passes; each alone", len(configs))
    return made or []


def _train(config: TrainConfig, models: ModelCache) -> Path:
    """Train a run whose first phase is there; where memory runs out, once more with half as many examples in a pass."""
    size = config.micro_batch_size or config.batch_size
    if (folder := attempt(train, config, models, keep_first=True)) is not None:
        return folder
    if size == 1:
        raise MachineError("out of memory with a single example in a pass")
    log.warning("out of memory with %d examples in a pass; once more with %d", size, size // 2)
    return train(config.model_copy(update={"micro_batch_size": size // 2}), models, keep_first=True)


# Workers


def run_worker(config: SweepConfig, journal: Path, environment: dict[str, str] | None = None) -> None:
    """Be the worker of a journal: work on the jobs of its session until none is begun any more or the sweep is gone."""
    os.environ.update(environment or {})
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    logging.getLogger("ia2").setLevel(logging.INFO)  # for failure.log
    folder, root = journal.parent, journal.parents[3]
    if not (folder / "jobs.json").exists():
        raise MachineError(f"{folder} is no session here: every node has to see the same --root")
    schedule = Schedule(root, JOBS.validate_json((folder / "jobs.json").read_bytes()), config, journal=journal)
    schedule.report({"up": True})
    work(schedule, ModelCache(), partial(store.is_locked, folder.with_name(folder.name[1:].rsplit(".", 2)[0])))
    schedule.report({"lost": journal.stem})


def supervise(schedule: Schedule, start: Callable[[Path], Any], claim: Path) -> None:
    """Keep workers, which `start` makes for journals, at the jobs until none is begun any more.

    They share a folder beside the path `claim`, which is locked meanwhile. MachineError where no worker stays alive.
    """
    folder, offsets = store.temporary_path(claim, "workers"), dict[Path, int]()
    workers, deaths, new = dict[str, Any](), Counter[str](), [f"{slot}.0" for slot in range(schedule.num_workers)]
    with ExitStack() as ending:
        ending.enter_context(store.file_lock(claim, keep=False))
        ending.callback(store.remove, folder)
        folder.mkdir()
        (folder / "jobs.json").write_bytes(JOBS.dump_json(list(schedule.jobs)))
        schedule.journal = folder / "main.jsonl"
        ending.callback(setattr, schedule, "journal", None)
        for outcome in list(schedule.outcomes.values()):
            schedule.report(outcome)  # of data files that could not be made, which count for --max_failures
        while not schedule.is_over or workers.keys() & schedule.workers.keys():
            for name in [] if schedule.is_over else new:
                (folder / f"{name}.log").touch()
                workers[name] = start(folder / f"{name}.jsonl")
                ending.callback(workers[name].wait)
                ending.callback(workers[name].kill)
            time.sleep(PAUSE)
            ended, new = {name: end for name, one in workers.items() if (end := one.poll()) is not None}, []
            schedule.read()
            for line in (line for file in sorted(folder.glob("*.log")) for line in new_lines(file, offsets)):
                if text := line.rstrip("\n").rpartition("\r")[2].strip():
                    print(text, file=sys.stderr, flush=True)
            for name, end in ended.items():
                del workers[name]
                words = f"exit code {end}" if isinstance(end, int) else end
                slot, _, number = name.partition(".")
                deaths[slot] = 1 if schedule.workers.get(name) else deaths[slot] + 1
                if _bury(schedule, name, words):
                    deaths[slot] = 0
                if deaths[slot] <= MOST_RESTARTS:
                    new.append(f"{slot}.{int(number) + 1}")
                elif not workers and not new and not schedule.is_over:
                    printed = (folder / f"{name}.log").read_text(errors="replace").strip() or "it printed nothing"
                    raise MachineError(f"no worker stays alive ({words}): {printed.splitlines()[-1]}")


def _bury(schedule: Schedule, name: str, end: str) -> bool:
    """Release the jobs of a dead worker; True where one has failed, for it took too long or lost too many workers."""
    assert schedule.journal is not None
    printed, trace = (schedule.journal.with_name(f"{name}.{ending}") for ending in ("log", "trace"))
    where, failed = trace.read_text() if trace.exists() else "", False
    most = MOST_TRIES if schedule.config.ray_address is None else MOST_LOSSES
    for job in schedule.jobs:
        claim, tries = schedule.running.get(job.key), schedule.tries[job.key]
        if claim is not None and claim.worker == name and claim.together == 1 and (where or tries >= most):
            limit = f"it took longer than run_timeout={schedule.config.run_timeout:g} s" if where else ""
            reason, failed = limit or f"its worker died {tries} times (last {end})", True
            if not job.kinds:
                words = printed.read_bytes()[claim.printed :].decode(errors="replace")
                leave_failure(store.run_folder(schedule.root, job.config), f"{words}{where}{reason}\n")
            schedule.report(Outcome(job.key, "failed", round(time.time() - claim.since, 3), reason))
    schedule.report({"lost": name})
    return failed
