"""The command line in a process of its own, which may be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is -9 where it was killed. `moments` counts its file operations; `deeds`
    says, a line each, what it and its workers finished and loaded."""

    code: int
    seconds: float
    moments: int
    stdout: str
    stderr: str
    deeds: str

    @property
    def done(self) -> Counter[str]:
        """How often each was done: the name of a file or folder that was finished, `model loaded by` a process."""
        return Counter(self.deeds.splitlines())


@dataclass(frozen=True)
class Begun:
    """A command that runs."""

    process: int
    folder: str
    began: float

    def said(self) -> str:
        """What it has printed so far."""
        path = Path(self.folder) / "stdout"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def wait_for(self, text: str, seconds: float = 240.0) -> None:
        """Until it has printed it."""
        deadline = time.monotonic() + seconds
        while text not in self.said():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """To it and its workers."""
        os.killpg(self.process, number)


class Commands:
    """A server that imports torch once and forks for every command."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).with_name("command_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self._read() == "ready\n"

    def run(
        self,
        *arguments: object,
        die_at: int | None = None,
        die_after: float | None = None,
        watched: Path | None = None,
    ) -> Ended:
        """With `watched`, leave what a kill before each file operation would have left of this folder beside it."""
        folder = None if watched is None else str(watched)
        return Ended(**self._ask("run", arguments, die_at=die_at, die_after=die_after, watched=folder))

    def begin(self, *arguments: object, terminal: str | None = None) -> Begun:
        """Do not wait for the command; it writes to `terminal`, or where `Begun` reads."""
        return Begun(**self._ask("begin", arguments, terminal=terminal))

    def end(self, begun: Begun) -> Ended:
        return Ended(**self._ask("end", (), begun=asdict(begun)))

    def _ask(self, what: str, arguments: Sequence[object], **more: object) -> dict[str, Any]:
        assert self._server.stdin is not None
        request = {
            "what": what,
            "arguments": list(map(str, arguments)),
            "terminal": None,
            "die_at": None,
            "watched": None,
        }
        request |= more
        print(json.dumps(request), file=self._server.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._read())
        return answer

    def _read(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(timeout=60)
