r"""Equivalence of two LaTeX answers, as math-verify sees it: `\frac{1}{2}` and `0.5`, `2 \pi r` and `2r\pi`.

Symbolic algebra may never end, so a worker process is asked, which ends itself after some seconds of CPU time: that is
right in every thread and leaves the alarm of this process alone. The worker is a script started by its path. A forked
one would copy threads and devices, and a spawned one would run the caller's main program again.
"""

import atexit
import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock

from ia2.errors import MachineError

log = logging.getLogger(__name__)

SECONDS = 5.0
"""CPU time of one comparison; after it the answers are undecided."""

_SCRIPT = Path(__file__).with_name("verifier.py")


class Verifier:
    """One worker, started when it is first asked and again after it had to end; any thread may ask."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._worker: subprocess.Popen[str] | None = None

    def disown(self) -> None:
        """Leave the worker to the process that started it, whose fork this is; the lock may be held there for ever."""
        self._lock = Lock()
        if self._worker is not None:
            self._worker.returncode = 0  # not ours to wait for
            _close(self._worker)
        self._worker = None

    def is_equal(self, gold: str, ours: str) -> bool | None:
        """None where there is no verdict in time; MachineError where no worker can be started."""
        with self._lock:
            worker, self._worker, reply = self._living() or _started(self._seconds), None, ""
            try:
                reply = _reply(worker, json.dumps([gold, ours]))
            finally:  # a worker that owes a reply would give it to the next question
                if reply:
                    self._worker = worker
                else:
                    _end(worker)
        if not reply:
            log.warning("%r is undecided against %r: no verdict within %g s", ours[:200], gold[:200], self._seconds)
            return None
        return reply == "true"

    def stop(self) -> None:
        """End the worker; the next question starts another."""
        with self._lock:
            if self._worker is not None:
                _end(self._worker)
            self._worker = None

    def _living(self) -> subprocess.Popen[str] | None:
        if self._worker is not None and self._worker.poll() is not None:
            _close(self._worker)
            return None
        return self._worker


def _started(seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", str(_SCRIPT), str(seconds)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1)
    if worker.stdout is None or not worker.stdout.readline():
        _end(worker)
        raise MachineError(f"answers in boxes cannot be compared: {' '.join(command)} does not run (see above)")
    return worker


def _reply(worker: subprocess.Popen[str], question: str) -> str:
    """The worker's next line, empty where it ended instead."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with suppress(BrokenPipeError):
        print(question, file=worker.stdin)
    return worker.stdout.readline().strip()


def _end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    _close(worker)


def _close(worker: subprocess.Popen[str]) -> None:
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # a question that nobody read
                pipe.close()


_VERIFIER = Verifier(SECONDS)
atexit.register(_VERIFIER.stop)
os.register_at_fork(after_in_child=_VERIFIER.disown)


@lru_cache(maxsize=4096)
def equivalent(ours: str, gold: str) -> bool | None:
    """True where `ours` means what `gold` does; None where that is not decided in time.

    Not symmetric: an interval answers an inequality, not the reverse.
    """
    return _VERIFIER.is_equal(gold, ours)
