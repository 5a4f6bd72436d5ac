"""Runs the command line in forked processes, so that a test can kill one without paying for the import of torch.

Run by `tests/commands.py`. Everything heavy is imported once; each line of standard input is then a JSON request
{"arguments", "die_at", "die_after"} that a child of its own carries out, and that is answered by one JSON line. The
child kills itself with SIGKILL at the `die_at`-th moment of writing, or is killed after `die_after` seconds.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ia2.flows.evaluation
import ia2.flows.prediction
import ia2.flows.training  # noqa: F401
from ia2 import cli, store


class Moments:
    """Counts the moments around every write, and ends the process at the one that was asked for."""

    def __init__(self, die_at: int | None, report: Path) -> None:
        self.die_at = die_at
        self.report = report
        self.count = 0

    def pass_one(self) -> None:
        self.count += 1
        self.report.write_bytes(str(self.count).encode())
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> object:
            self.pass_one()
            result = function(*arguments, **named)
            self.pass_one()
            return result

        return wrapped


def carry_out(request: dict[str, Any], folder: Path) -> int:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
    moments = Moments(request["die_at"], folder / "moments")
    os.replace = moments.around(os.replace)
    os.fsync = moments.around(os.fsync)
    store.writing = moments.around(store.writing)
    return cli.main(request["arguments"])


def answer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        started = time.perf_counter()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = carry_out(request, folder)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = wait(child, request["die_after"])
        texts = {name: read(folder / name) for name in ("stdout", "stderr")}
        seconds = time.perf_counter() - started
        moments = int(read(folder / "moments") or 0)
        return {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "moments": moments, **texts}


def wait(child: int, die_after: float | None) -> int:
    if die_after is not None:
        time.sleep(die_after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    tell("ready")
    for line in sys.stdin:
        tell(json.dumps(answer(json.loads(line))))
