r"""Equivalence of two LaTeX answers, as math-verify sees it: `\frac{1}{2}` and `0.5`, `2 \pi r` and `2r\pi`.

Symbolic algebra may never end, so a worker process compares, which ends itself after some seconds of CPU time: that is
right in every thread and leaves the alarm of this process alone. The worker is this file, run by its path. A forked
one would copy threads and devices, and a spawned one would run the caller's main program again.

Each line between them is JSON: `[gold, ours]` in, `true` or `false` out, after a first line when the worker is ready.
"""

import atexit
import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock

log = logging.getLogger(__name__)

SECONDS = 5.0
"""CPU time of one comparison; after it the answers are undecided."""

_SCRIPT = Path(__file__)


class Verifier:
    """One worker, started at the first comparison and again after it had to end; any thread may compare."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._worker: subprocess.Popen[str] | None = None

    def is_equal(self, gold: str, ours: str) -> bool | None:
        """None where there is no verdict in time; MachineError where no worker can be started."""
        with self._lock:
            if self._worker is not None and self._worker.poll() is not None:
                _close(self._worker)
                self._worker = None
            worker, self._worker, reply = self._worker or _started(self._seconds), None, ""
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

    def disown(self) -> None:
        """Leave the worker to the process that started it, whose fork this is; the lock may be held there for ever."""
        self._lock = Lock()
        if self._worker is not None:
            self._worker.returncode = 0  # not ours to wait for
            _close(self._worker)
        self._worker = None


def _started(seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", str(_SCRIPT), str(seconds)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1)
    if worker.stdout is None or not worker.stdout.readline():
        from ia2.errors import MachineError  # noqa: PLC0415 - the worker, which this file is too, does without ia2

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


def _serve(seconds: float) -> None:
    """Compare until the input ends; nothing but replies reaches the terminal.

    A pair that takes more CPU time ends the process, however busy the machine is. The alarm keeps its default action,
    which works in the middle of a power of a power too, where a handler in Python (math-verify's own) waits until that
    is computed.
    """
    from math_verify import LatexExtractionConfig, parse, verify  # noqa: PLC0415 - algebra is the worker's alone

    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    print("ready", file=replies)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        config = [LatexExtractionConfig()]
        gold, ours = (parse(f"${one}$", extraction_config=config, parsing_timeout=None) for one in json.loads(line))
        equal = bool(verify(gold, ours, timeout_seconds=None))  # False where it understands neither
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(equal), file=replies)


@lru_cache(maxsize=4096)
def equivalent(ours: str, gold: str) -> bool | None:
    """True where `ours` means what `gold` does; None where that is not decided in time.

    Not symmetric: an interval answers an inequality, not the reverse.
    """
    return _VERIFIER.is_equal(gold, ours)


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
else:
    _VERIFIER = Verifier(SECONDS)
    atexit.register(_VERIFIER.stop)
    os.register_at_fork(after_in_child=_VERIFIER.disown)
