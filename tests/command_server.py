"""Runs the command line in forked processes, so that a test can kill one without paying for the import of torch.

Run by `tests/commands.py`. Everything heavy is imported once; each line of standard input is then a JSON request, and
is answered by one JSON line. `run` {"arguments", "terminal", "die_at", "die_after"} is carried out by a child of its
own, which kills itself with SIGKILL before its `die_at`-th file operation, or is killed after `die_after` seconds.
With `watched`, a folder, only the operations below it count, and before each the folder is copied to {folder}@{number}
beside it: what SIGKILL would have left there. `begin` does not wait for the child, and `end` {"begun"} does. Pictures
are empty.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeds import DEEDS, count_deeds
from undrawn import draw_nothing

from ia2 import cli


class Operations:
    """Counts the file operations that change something, and before each kills the process, or keeps what is there."""

    NAMES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
    CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def __init__(self, request: dict[str, Any], own: Path) -> None:
        self.die_at, self.watched, self.own = request["die_at"], request["watched"], own
        self.count = 0
        self.kept: object = None
        self.is_ours = False
        sys.addaudithook(self.see)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_ours or not self.changes(event, arguments):
            return
        self.is_ours = True
        self.count += 1
        (self.own / "moments").write_bytes(str(self.count).encode())
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.watched:
            self.keep(Path(self.watched))
        self.is_ours = False

    def changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event != "open" and event not in self.NAMES:
            return False
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & self.CHANGING):
            return False
        if event in ("os.remove", "os.rmdir") and arguments[1] != -1:
            return True  # within a folder that is being removed
        if not isinstance(arguments[0], str | os.PathLike):
            return False
        path = Path(os.fsdecode(arguments[0])).absolute()
        if self.watched:
            return path.is_relative_to(self.watched)
        return not any(map(path.is_relative_to, (self.own, "/dev", "/proc", Path.home() / ".cache")))

    def keep(self, folder: Path) -> None:
        """Copy the folder, unless nothing has changed since it was copied last."""
        found = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
        now = [(path, status.st_size, status.st_mtime_ns, status.st_ino) for path, status in found]
        if now != self.kept:
            self.kept = now
            shutil.copytree(folder, folder.with_name(f"{folder.name}@{self.count}"), symlinks=True)


def carry_out(request: dict[str, Any], folder: Path) -> int:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request["terminal"] or folder / name, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY), descriptor)
    os.setsid()  # so that a signal reaches all that it starts, as one from a terminal does
    os.environ[DEEDS] = str(folder / "deeds")
    count_deeds()
    os.environ["PYTHONPATH"] = os.pathsep.join((str(Path(__file__).with_name("at_start")), *sys.path))  # for workers
    Operations(request, folder)
    return cli.main(request["arguments"])


running: set[int] = set()
"""Children that nobody has waited for."""


def begin(request: dict[str, Any]) -> dict[str, Any]:
    """A child that carries out the request: its process, the folder that it writes to, and when it began."""
    begun = {"folder": tempfile.mkdtemp(), "began": time.perf_counter()}
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = carry_out(request, Path(begun["folder"]))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    running.add(child)
    return {"process": child, **begun}


def end(begun: dict[str, Any], die_after: float | None) -> dict[str, Any]:
    status = wait(begun["process"], die_after)
    folder = Path(begun["folder"])
    texts = {name: read(folder / name) for name in ("stdout", "stderr", "deeds")}
    seconds = time.perf_counter() - begun["began"]
    moments = int(read(folder / "moments") or 0)
    shutil.rmtree(folder)
    return {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "moments": moments, **texts}


def wait(child: int, die_after: float | None) -> int:
    if die_after is not None:
        time.sleep(die_after)
        os.kill(child, signal.SIGKILL)
    running.discard(child)
    return os.waitpid(child, 0)[1]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    match request["what"]:
        case "begin":
            return begin(request)
        case "end":
            return end(request["begun"], None)
        case _:
            return end(begin(request), request["die_after"])


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    draw_nothing()
    tell("ready")
    for line in sys.stdin:
        tell(json.dumps(answer(json.loads(line))))
    for child in running:  # a test failed and left a sweep without end
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    os._exit(0)  # an interpreter with torch takes seconds to end
