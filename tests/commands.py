"""The command line in a process of its own, which may be killed."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is -9 where it was killed. `moments` counts the writes it began or ended."""

    code: int
    seconds: float
    moments: int
    stdout: str
    stderr: str


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

    def run(self, *arguments: object, die_at: int | None = None, die_after: float | None = None) -> Ended:
        assert self._server.stdin is not None
        request = {"arguments": list(map(str, arguments)), "die_at": die_at, "die_after": die_after}
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return Ended(**json.loads(self._read()))

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
        self._server.wait(timeout=10)
