"""Who makes what: one process at a time, which first sweeps up what killed ones left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from ia2.store.files import finish_replacement, is_temporary, remove, temporaries
from ia2.store.names import LONGEST_BESIDE, safe_filename


@contextmanager
def file_lock(path: Path, keep: bool = True) -> Iterator[None]:
    """Only one process at a time makes what belongs at `path`; leftovers of killed ones are swept first.

    A thread that holds it already, or has `try_lock` it, goes straight on. Without `keep` the lock's file vanishes with
    the lock, which is for folders of a person's own.
    """
    with _acquired(path, timeout=-1, keep=keep):
        yield


@contextmanager
def try_lock(path: Path, keep: bool = True) -> Iterator[bool]:
    """`file_lock` without waiting: yields whether it is ours, or another process is at it."""
    with _acquired(path, timeout=0, keep=keep) as ours:
        yield ours


@contextmanager
def _acquired(path: Path, timeout: float, keep: bool) -> Iterator[bool]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_path(path), is_singleton=True, fallback_to_soft=False)  # so that who holds it can again
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    except OSError as error:
        error.filename = error.filename or str(_lock_path(path))
        raise
    try:
        _sweep(lock, path)
        yield True
    finally:
        if not keep and lock.lock_counter == 1:
            _lock_path(path).unlink(missing_ok=True)  # while it is held: who waits for it begins anew
        lock.release()


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{safe_filename(path.name, LONGEST_BESIDE)}.lock")


def locked_path(path: Path) -> Path:
    """What a lock locks, or an old folder was, by as much of the name as that of the lock holds."""
    return path.with_name(path.stem[1:])


def _sweep(lock: BaseFileLock, path: Path) -> None:
    """Remove what was left by processes that are gone, unless we are at it ourselves already."""
    if lock.lock_counter == 1:
        finish_replacement(path)
        for leftover in [*temporaries(path), *filter(is_temporary, path.glob(".*.tmp"))]:
            remove(leftover)


def is_locked(path: Path) -> bool:
    """Whether a process is making what belongs at `path` just now."""
    if not _lock_path(path).exists():
        return False
    try:
        with FileLock(_lock_path(path), timeout=0, fallback_to_soft=False):
            return False
    except Timeout:
        return True
