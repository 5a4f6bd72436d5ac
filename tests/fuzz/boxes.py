"""Commands in boxes: a forked process with limits, in a folder of its own, and what it did to all that is around it.

A box holds the root, the current folder with the input files, and `elsewhere`, which no command is given. Everything
heavy is imported before the first fork, so that a command costs its own work only.
"""

import contextlib
import faulthandler
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ia2 import cli

CPU_SECONDS, IDLE_SECONDS = 40, 60
"""A command of these inputs takes three: what computes for longer hangs, and so does what does nothing for a minute."""
TICKS_OF_WORK = os.sysconf("SC_CLK_TCK")
"""A second of a processor in a minute: a loop that only sleeps and looks takes less."""
MEMORY = 4 << 30
LONGEST_LINE = 1000
CODES = (0, 1, 2, 130)
WRITES = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"})
TWO_PATHS = ("os.rename", "os.link")
CRASHED, KILLED = 70, -signal.SIGKILL


@dataclass(frozen=True)
class Outcome:
    """How a process ended, what it printed, and the paths that it wrote to, in order."""

    code: int
    stdout: str
    stderr: str
    written: tuple[str, ...]
    writes: int
    seconds: float


@dataclass
class Box:
    """A folder for one input."""

    folder: Path
    root: Path = field(init=False)
    here: Path = field(init=False)
    logs: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.folder / "place" / "a" / "root"
        self.here = self.folder / "place" / "here"
        self.logs = self.folder / "logs"
        elsewhere = self.folder / "place" / "elsewhere"
        for folder in (self.root, self.here, self.logs, elsewhere, elsewhere / "adapter"):
            folder.mkdir(parents=True)
        for file in (elsewhere / "notes", elsewhere / "adapter" / "notes", self.root.parent / "notes"):
            file.write_text("precious")

    def fill(self, root: Path, *files: Path) -> None:
        """Copy a store to the root, and input files beside the current folder's."""
        shutil.copytree(root, self.root, dirs_exist_ok=True)
        for file in files:
            (shutil.copytree if file.is_dir() else shutil.copy)(file, self.here / file.name)

    def run(self, words: Sequence[str], die_at: int | None = None, die_after: float | None = None) -> Outcome:
        """The command line on these words, killed before the `die_at`-th write or after `die_after` seconds."""
        return self.call(lambda: cli.main(list(words)), die_at, die_after)

    def call(self, work: Callable[[], Any], die_at: int | None = None, die_after: float | None = None) -> Outcome:
        """`work` in a process of its own, and how that ended."""
        began = time.monotonic()
        for name in ("stdout", "stderr", "written"):
            (self.logs / name).unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            self._work_and_leave(work, die_at)
        code = _wait(child, die_after)
        out, err = ((self.logs / name).read_bytes().decode(errors="replace") for name in ("stdout", "stderr"))
        written = self.logs / "written"
        paths, writes = json.loads(written.read_bytes()) if written.exists() else ([], 0)
        return Outcome(code, out, err, tuple(paths), writes, time.monotonic() - began)

    def _work_and_leave(self, work: Callable[[], Any], die_at: int | None) -> None:
        code, writes = CRASHED, Writes(die_at)
        try:
            os.setsid()  # so that what it starts is ended with it
            os.chdir(self.here)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(self.logs / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
            _limit()
            sys.addaudithook(writes.note)
            code = int(work() or 0)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            writes.active = False
            (self.logs / "written").write_text(json.dumps([writes.paths, writes.count]))
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)

    def state(self, apart: Sequence[Path]) -> dict[str, str]:
        """What is in the box, but for the root, the logs, and what is `apart`."""
        skipped, found = {self.root, self.logs, *apart}, {}
        for folder, subfolders, files in os.walk(self.folder):
            here = Path(folder)
            subfolders[:] = [name for name in subfolders if here / name not in skipped]
            found[folder] = "folder"
            for path in (here / name for name in files if here / name not in skipped):
                regular = path.is_file() and not path.is_symlink()
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if regular else "special"
        return found


def _limit() -> None:
    status = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A process in Python notes the signal between two instructions; one that is not in Python any more is killed.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
    faulthandler.register(signal.SIGXCPU, chain=True)


@dataclass
class Writes:
    """The files and folders that this process makes, opens for writing, renames or removes; it ends before one."""

    die_at: int | None
    count: int = 0
    paths: list[str] = field(default_factory=list)
    active: bool = True

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        writes = event in WRITES or (event == "open" and _is_for_writing(arguments))
        if not self.active or not writes or isinstance(arguments[0], int):
            return
        if event == "os.mkdir" and os.path.isdir(arguments[0]):
            return
        self.active = False  # what the hook does itself is no write of the command
        descriptor = arguments[-1] if event in ("os.remove", "os.rmdir") else -1  # of the folder it is in
        folder = os.readlink(f"/proc/self/fd/{descriptor}") if descriptor >= 0 else "."
        paths = arguments[: 1 + (event in TWO_PATHS)]
        self.paths += [os.path.abspath(os.path.join(folder, os.fsdecode(path))) for path in paths]
        self.active = True
        self.count += 1
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_for_writing(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if mode is None else any(c in mode for c in "wax+")


def _wait(child: int, die_after: float | None) -> int:
    deadline, used = time.monotonic() + (IDLE_SECONDS if die_after is None else die_after), 0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        late = not ended and time.monotonic() > deadline
        if late and die_after is None and (now := _ticks(child)) > used + TICKS_OF_WORK:
            deadline, used = time.monotonic() + IDLE_SECONDS, now
        elif ended or late:
            with contextlib.suppress(ProcessLookupError):  # of its group, where it has come to have one
                os.killpg(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(status if ended else os.waitpid(child, 0)[1])
        time.sleep(0.003)


def _ticks(session: int) -> int:
    """Processor time of all processes of a session so far; other work on the same machine does not lengthen it."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that has ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[3]) == session else 0
    return ticks


# What may not be


def faults(outcome: Outcome) -> list[str]:
    """What no command may do, whatever it is given: crash, hang, or tell a failure in any way but one short line."""
    if outcome.code not in CODES or "Traceback" in outcome.stderr:
        return [f"{'hang' if outcome.code < 0 else 'traceback'}: {_place(outcome.stderr)} (code {outcome.code})"]
    found = []
    lines = outcome.stderr.splitlines()
    told = [line for line in lines if line.startswith("ia2: ")]
    if outcome.code and (len(told) != 1 or lines[-1] != told[0]):
        found.append(f"{len(told)} error lines, the last line is {lines[-1][:80] if lines else 'missing'!r}")
    if outcome.code and told and len(told[0]) > LONGEST_LINE:
        found.append(f"a line of {len(told[0])} characters: {told[0][:80]!r}")
    text = outcome.stdout + outcome.stderr
    if controls := sorted({c for c in text if ord(c) < 32 and c not in "\n\r\t"} | ({"\x7f"} & set(text))):
        found.append(f"control characters {controls} are printed")
    return found


def _place(stderr: str) -> str:
    """Our innermost frame and the error: what two inputs share that have one cause."""
    lines = stderr.splitlines()
    ours = [line.strip() for line in lines if "/ia2/" in line and line.strip().startswith("File ")]
    frames = ours[:1] if "most recent call first" in stderr else ours[-1:]
    return f"{frames[0].split('/ia2/')[-1] if frames else 'no frame of ours'}: {lines[-1][:120] if lines else ''}"


def outside(box: Box, outcome: Outcome, allowed: Sequence[Path]) -> list[str]:
    """What was written that belongs neither to the root nor to what the command was told to write."""
    given = (box.root, *allowed, os.environ["IA2_CACHE"], os.environ["TMPDIR"], "/dev", "/proc")
    places = [os.path.realpath(path) for path in given]
    places += [f"{os.path.dirname(place)}/.{os.path.basename(place)}" for place in places]  # their locks
    wrong = []
    for path in dict.fromkeys(outcome.written):
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not any(real == place or real.startswith((f"{place}/", f"{place}.")) for place in places):
            wrong.append(f"outside the root: {path}")
    return wrong[:3]
