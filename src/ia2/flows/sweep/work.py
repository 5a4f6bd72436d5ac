"""One job done, whoever does it: its outcome never takes others along, and what went wrong stands in its folder."""

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ia2 import store
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import Outcome
from ia2.flows.training import train
from ia2.lm.shelf import Models
from ia2.stages.collect import collect

FAILURE = "failure.log"
"""In the folder of a run that failed: what was logged, and the traceback."""


def do(root: Path, job: Job, models: Models) -> Outcome:
    """Do a job; an exception becomes a failed outcome. A run that another sweep is at comes back as busy."""
    started = time.perf_counter()
    folder = None if job.kinds else store.run_folder(root, job.config)
    if folder is not None and store.is_locked(folder):
        return Outcome(job.key, "busy", num_loaded=models.num_loaded)
    with _logged() as lines:
        try:
            _do(root, job, models)
        except Exception as error:  # whatever it is: the other runs go on
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if folder is not None:
                _leave(folder, lines, traceback.format_exc())
            return Outcome(job.key, "failed", _since(started), reason, models.num_loaded)
    return Outcome(job.key, "done", _since(started), num_loaded=models.num_loaded)


def _do(root: Path, job: Job, models: Models) -> None:
    if job.kinds:
        collect(root, job.config, job.kinds, models)
    else:
        train(job.config, models)


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


def _leave(folder: Path, lines: list[str], trace: str) -> None:
    with store.writing(folder / FAILURE) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines) + trace, encoding="utf-8")
