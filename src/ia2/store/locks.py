"""One process at a time makes an artefact; it first sweeps up what killed ones left."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from ia2.errors import MachineError, UserError
from ia2.store.files import atomic_write, finish_replacement, hidden_path, process_of, remove, temporaries

Value = TypeVar("Value")


@contextmanager
def file_lock(path: Path, keep: bool = True) -> Iterator[None]:
    """Only one process at a time makes what belongs at `path`; leftovers of killed ones are swept first.

    A thread that holds it already, or has `try_lock` it, goes straight on. Without `keep` the lock's file vanishes with
    the lock, which is for folders of a person's own.
    """
    with try_lock(path, keep, timeout=-1):
        yield


@contextmanager
def replacing(path: Path, mark: str) -> Iterator[Path]:
    """`atomic_write`, locked, where a person may have a file too: only one that holds the mark is replaced."""
    with file_lock(path, keep=False):
        if os.path.lexists(path) and not path.is_file():
            raise UserError(f"{path} is a folder, where a file is to be written; move it away")
        content = path.read_bytes() if path.is_file() else b""
        if content and mark.encode() not in content:
            raise UserError(f"{path} was not written by ia2, and is not replaced; move it away")
        with atomic_write(path) as temporary:
            yield temporary


def read_steadily(folder: Path, read: Callable[[], Value]) -> Value:
    """The result of `read` on a folder; where another process replaced that meanwhile, on the new one."""

    def state() -> tuple[int, bool]:
        """The folder's inode, and True while it is being replaced."""
        return (folder.stat().st_ino if folder.exists() else 0), os.path.lexists(hidden_path(folder, "old"))

    before = state()
    try:
        value = read()
    except (UserError, MachineError, OSError):
        if state() == before and not before[1]:
            raise
    else:
        if state() == before:
            return value
    with file_lock(folder):  # until it is replaced, or what a killed process left of that is mended
        return read()


@contextmanager
def try_lock(path: Path, keep: bool = True, timeout: float = 0) -> Iterator[bool]:
    """`file_lock` without waiting: yields True where it is ours, False where another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = hidden_path(path, "lock")
    lock = FileLock(file, is_singleton=True, fallback_to_soft=False)  # so that its holder can lock it again
    try:
        file.touch()  # where no file can be made, as below /proc, acquiring would try for ever
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    except OSError as error:
        error.filename = error.filename or str(file)
        raise
    try:
        if lock.lock_counter == 1:  # else we are at it ourselves already
            finish_replacement(path)
            for leftover in [*temporaries(path), *filter(process_of, path.glob(".*.tmp"))]:
                remove(leftover)
        yield True
    finally:
        if not keep and lock.lock_counter == 1:
            file.unlink(missing_ok=True)  # while it is held: a process that waits for it begins anew
        lock.release()


def locked_path(path: Path) -> Path:
    """The path that a lock is for, or that an old folder was at, by as much of the name as its own name holds."""
    return path.with_name(path.stem[1:])


def is_locked(path: Path) -> bool:
    """True while a process is making what belongs at `path`."""
    file = hidden_path(path, "lock")
    if not file.exists():
        return False
    try:
        with FileLock(file, timeout=0, fallback_to_soft=False):
            return False
    except Timeout:
        return True
