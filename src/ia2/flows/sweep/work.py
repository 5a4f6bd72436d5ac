"""One job done, whoever does it: its outcome never takes others along, and what went wrong stands in its folder."""

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ia2 import store
from ia2.flows.sweep.failures import leave_failure
from ia2.flows.sweep.plan import Job, stands
from ia2.flows.sweep.schedule import Outcome
from ia2.flows.training import train
from ia2.lm.shelf import Models
from ia2.stages.collect import collect


def do(root: Path, job: Job, models: Models) -> Outcome:
    """Do a job; an exception becomes a failed outcome. What another sweep is at comes back as busy."""
    started = time.perf_counter()
    with _logged() as lines:
        try:
            status = _do(root, job, models)
        except Exception as error:  # whatever it is: the other runs go on
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if not job.kinds:
                log = "".join(f"{line}\n" for line in lines)
                leave_failure(store.run_folder(root, job.config), log + traceback.format_exc())
            return Outcome(job.key, "failed", _since(started), reason, models.num_loaded)
    return Outcome(job.key, status, _since(started), num_loaded=models.num_loaded)


def _do(root: Path, job: Job, models: Models) -> Literal["done", "there", "busy"]:
    """The job done once, whoever else is at the same work."""
    if job.kinds:
        collected = collect(root, job.config, job.kinds, models)
        return "busy" if collected is None else "done" if collected else "there"
    with store.claimed(store.run_folder(root, job.config)) as ours:
        if not ours:
            return "busy"
        if stands(root, job.config):
            return "there"
        train(job.config, models)
        return "done"


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
