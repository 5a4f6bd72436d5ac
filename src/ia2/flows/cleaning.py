"""`ia2 clean`: what killed commands left behind, and, where asked for, what can be made again.

What somebody is at just now is left: it is locked, or, where nothing is locked, its process is alive.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ia2 import store
from ia2.config import CleanConfig
from ia2.flows.status import in_words, shown, size
from ia2.training.targets import FILES


def clean(config: CleanConfig) -> list[Path]:
    """Remove it, or with `dry_run` only say what would go; returns the paths."""
    root = store.resolve_root(config)
    chosen = [*leftovers(root), *(_collected(root) if config.targets else ())]
    for path in chosen:
        verb = "would remove" if config.dry_run else "removing"
        print(shown(f"{verb} {path.relative_to(root)}, {in_words(size([path]))}"))
    total = in_words(size(chosen))
    for path in () if config.dry_run else chosen:
        _remove(path)
    print(f"{len(chosen)} {'things' if len(chosen) != 1 else 'thing'}, {total}")
    return chosen


def _remove(path: Path) -> None:
    """Remove it unless somebody is at it by now; a folder that was being replaced is brought back where it is gone."""
    if store.process_of(path):
        store.remove(path)
        return
    beside = path.suffix in (".lock", ".old")
    with store.try_lock(store.locked_path(path) if beside else path, keep=False) as ours:
        if ours and not beside:
            store.remove(path)


def leftovers(root: Path) -> Iterator[Path]:
    """Temporary files and folders that no process is at, old ones of a replacing cut off, locks that nobody holds."""
    seen = [*root.glob(".*.tmp"), *(path for name in ("reports", "plots") for path in (root / name).rglob(".*.tmp"))]
    processes = {path: store.process_of(path) for path in sorted(seen)}
    yield from (path for path, process in processes.items() if process is not None and not _is_alive(process))
    beside = [root / ".adapter.old", root / ".adapter.lock"]
    for folder in (root / "data", root / "outputs"):
        yield from (path for path in sorted(filter(store.process_of, folder.rglob(".*.tmp"))) if not _is_in_use(path))
        beside += sorted((*folder.rglob(".*.old"), *folder.rglob(".*.lock")))
    for path in beside:
        ours = path.suffix == ".old" or (path.is_file() and not size([path]))
        if ours and os.path.lexists(path) and not store.is_locked(store.locked_path(path)):
            yield path


def _is_in_use(path: Path) -> bool:
    """Whether what this becomes, or the folder that it is in, is locked.

    A record's lock has the name of both its files without their endings, so any beginning of the name counts.
    """
    locked = [store.locked_path(lock) for lock in path.parent.glob(".*.lock")]
    at_it = [place for place in locked if path.name[1:].startswith(place.name[:200])]
    return any(map(store.is_locked, [*at_it, path.parent]))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _collected(root: Path) -> Iterator[Path]:
    """Sets of targets, and the responses that similarity decoded; each is made again when it is needed."""
    for kind in ("targets", "responses"):
        for folder in sorted((root / "outputs" / kind).glob("[!.]*")):
            if foreign := store.unknown_entries(folder, FILES):
                print(shown(f"leaving {folder.relative_to(root)}: it holds {foreign[0]!r}, which ia2 did not write"))
            elif not store.is_locked(folder):
                yield folder
