"""One job done, whoever does it: its outcome never takes others along, and what went wrong stands in its folder."""

import logging
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ia2 import store
from ia2.commands.collect import collect
from ia2.config import TrainConfig
from ia2.errors import MachineError, UserError
from ia2.flows.sweep.failures import leave_failure
from ia2.flows.sweep.plan import Job, stands
from ia2.flows.sweep.schedule import Outcome
from ia2.flows.training import train, train_together
from ia2.models.generation import attempt
from ia2.models.loading import ModelCache

log = logging.getLogger(__name__)


def do(root: Path, job: Job, models: ModelCache) -> Outcome:
    """Do a job and its mates; an exception becomes a failed outcome, and an assertion is raised as well. What another
    sweep is at comes back as busy."""
    started = time.perf_counter()
    if job.mates:
        return _do_together(root, (job, *job.mates), models)
    with _logged() as lines:
        try:
            status = _do(root, job, models)
        except AssertionError as error:  # a mistake of ours: whatever comes after may be wrong too
            _failed(root, job, error, Words(lines, started, models))
            raise
        except Exception as error:  # whatever it is: the other runs go on
            return _failed(root, job, error, Words(lines, started, models))
    return Outcome(job.key, status, _since(started), num_loaded=models.num_loaded)


@dataclass(frozen=True)
class Words:
    """What was logged since when, and by whom."""

    lines: list[str]
    started: float
    models: ModelCache


def _failed(root: Path, job: Job, error: BaseException, words: Words) -> Outcome:
    """The outcome of a job that failed; a run's folder is left the log and the traceback."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if not job.kinds:
        log = "".join(f"{line}\n" for line in words.lines)
        leave_failure(store.run_folder(root, job.config), log + "".join(traceback.format_exception(error)))
    return Outcome(job.key, "failed", _since(words.started), reason, words.models.num_loaded)


def _do(root: Path, job: Job, models: ModelCache) -> Literal["done", "there", "busy"]:
    """The job done once, whoever else is at the same work."""
    if job.kinds:
        collected = collect(root, job.config, job.kinds, models)
        return "busy" if collected is None else "done" if collected else "there"
    with store.try_lock(store.run_folder(root, job.config)) as ours:
        if not ours:
            return "busy"
        if stands(root, job.config):
            return "there"
        _train(job.config, models)
        return "done"


def _train(config: TrainConfig, models: ModelCache) -> None:
    """Train a run, whose first phase is a job of its own; where memory runs out, once more with half as many examples
    in a pass."""
    size = config.micro_batch_size or config.batch_size
    if attempt(train, config, models, keep_first=True) is None:
        if size == 1:
            raise MachineError("out of memory with a single example in a pass")
        log.warning("out of memory with %d examples in a pass; once more with %d", size, size // 2)
        train(config.model_copy(update={"micro_batch_size": size // 2}), models, keep_first=True)


def _do_together(root: Path, jobs: Sequence[Job], models: ModelCache) -> Outcome:
    """Jobs done in the same passes; what stands, or another sweep is at, is left out.

    Where the passes themselves fail, memory running out among the reasons, each is done alone.
    """
    started, outcomes = time.perf_counter(), dict[str, Outcome]()
    with ExitStack() as claims, _logged() as lines:
        left = []
        for job in sorted(jobs, key=lambda job: job.key):  # all processes claim in one order
            ours = claims.enter_context(store.try_lock(store.run_folder(root, job.config)))
            if ours and not stands(root, job.config):
                left.append(job)
            else:
                outcomes[job.key] = Outcome(job.key, "there" if ours else "busy", num_loaded=models.num_loaded)
        words = Words(lines, started, models)
        outcomes |= _trained_together(root, left, words)
    first, *others = (outcomes.get(job.key) or do(root, replace(job, mates=()), models) for job in jobs)
    return replace(first, others=tuple(others))


def _trained_together(root: Path, jobs: Sequence[Job], words: Words) -> dict[str, Outcome]:
    """What became of each, or nothing where they have to be done alone."""
    if not jobs:
        return {}
    try:
        found = attempt(train_together, [job.config for job in jobs], words.models)
    except AssertionError as error:  # a mistake of ours, which doing each alone would hide
        for job in jobs:
            _failed(root, job, error, words)
        raise
    except Exception as error:  # whatever it is: each is tried alone, and what fails then fails for itself
        log.warning("%d runs cannot be trained in the same passes (%s); each alone", len(jobs), error)
        return {}
    if found is None:
        log.warning("memory does not hold %d runs in the same passes; each alone", len(jobs))
        return {}
    seconds = _since(words.started) / len(jobs)
    return {
        job.key: _failed(root, job, one, words)
        if isinstance(one, UserError)
        else Outcome(job.key, "done", round(seconds, 3), num_loaded=words.models.num_loaded)
        for job, one in zip(jobs, found, strict=True)
    }


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)


@contextmanager
def _logged() -> Iterator[list[str]]:
    """The lines that are logged meanwhile."""
    lines: list[str] = []
    handler = _Listing(lines)
    log = logging.getLogger("ia2")
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)


class _Listing(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())
