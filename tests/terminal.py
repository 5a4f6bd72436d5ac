"""A pseudo-terminal for a command, and the screen that a person in front of it sees."""

import fcntl
import os
import pty
import re
import struct
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

CONTROL = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Screen:
    """Lines of text under a cursor that moves as the few control codes that we use say."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0
        self.shows_cursor = True

    def feed(self, text: str) -> None:
        for match in CONTROL.finditer(text):
            if match[2]:
                self._control(match[1], match[2])
            elif match[0] == "\r":
                self.column = 0
            elif match[0] == "\n":  # the terminal makes \r\n of it
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            else:
                self._write(match[0])

    def _write(self, text: str) -> None:
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)

    def _control(self, given: str, what: str) -> None:
        match what:
            case "A":
                self.row = max(0, self.row - int(given or 1))
            case "K":
                assert given == "2", "the whole line"
                self.lines[self.row] = ""
            case "h" | "l":
                assert given == "?25"
                self.shows_cursor = what == "h"
            case "m":
                pass
            case _:
                raise AssertionError(f"control code {given}{what}")

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip()


class Terminal:
    """A terminal of so many columns; `name` is what a command writes to."""

    def __init__(self, columns: int = 100) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.set_blocking(self._ours, False)
        self.name = os.ttyname(self._theirs)
        self.screen = Screen()
        self.received = ""

    def settings(self) -> list[object]:
        """Of its line discipline: echo and the like."""
        return list(termios.tcgetattr(self._theirs))

    def read(self) -> str:
        """Take what came, and return what is on the screen now."""
        try:
            while chunk := os.read(self._ours, 65536):
                text = chunk.decode(errors="replace")
                self.received += text
                self.screen.feed(text)
        except BlockingIOError:
            pass
        return self.screen.text

    def wait_for(self, seen: Callable[[str], object], seconds: float = 240.0) -> str:
        """The screen once it is as wanted."""
        deadline = time.monotonic() + seconds
        while not seen(text := self.read()):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        return text

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._ours)
        os.close(self._theirs)
