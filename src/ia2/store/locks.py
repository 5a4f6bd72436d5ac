"""Who makes what: one process at a time, which first sweeps up what killed ones left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from ia2.store.files import remove, temporaries
from ia2.store.names import beginning


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time makes what belongs at `path`; leftovers of killed ones are swept first.

    A thread that holds it already, or has `claimed` it, goes straight on.
    """
    lock = _lock_of(path)
    with lock:
        _sweep(lock, path)
        yield


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """`locked` without waiting: yields whether it is ours, or another process is at it."""
    lock = _lock_of(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        _sweep(lock, path)
        yield True
    finally:
        lock.release()


def _lock_of(path: Path) -> BaseFileLock:
    """One lock for each path of this process, so that who holds it can take it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(_lock_path(path), is_singleton=True)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{beginning(path.name, 150)}.lock")


def locked_by(lock: Path) -> Path:
    """What a lock file locks, by as much of its name as the lock holds."""
    return lock.with_name(lock.name[1:].removesuffix(".lock"))


def _sweep(lock: BaseFileLock, path: Path) -> None:
    """Remove what was left by processes that are gone, unless we are at it ourselves already."""
    if lock.lock_counter == 1:
        for leftover in [*temporaries(path), *path.glob(".*.tmp")]:
            remove(leftover)


def is_locked(path: Path) -> bool:
    """Whether a process is making what belongs at `path` just now."""
    if not _lock_path(path).exists():
        return False
    try:
        with FileLock(_lock_path(path), timeout=0):
            return False
    except Timeout:
        return True
