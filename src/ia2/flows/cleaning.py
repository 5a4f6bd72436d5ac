"""`ia2 clean`: what killed commands left behind, and, where asked for, what can be made again."""

from collections.abc import Iterator
from pathlib import Path

from ia2 import store
from ia2.config import CleanConfig
from ia2.flows.status import in_words, size


def clean(config: CleanConfig) -> list[Path]:
    """Remove it, or with `dry_run` only say what would go; returns the paths."""
    root = store.root_of(config)
    chosen = [*leftovers(root), *(_collected(root) if config.targets else ())]
    for path in chosen:
        print(f"{'would remove' if config.dry_run else 'removing'} {path.relative_to(root)}, {in_words(size([path]))}")
    total = in_words(size(chosen))
    if not config.dry_run:
        for path in chosen:
            store.remove(path)
    print(f"{len(chosen)} {'things' if len(chosen) != 1 else 'thing'}, {total}")
    return chosen


def leftovers(root: Path) -> Iterator[Path]:
    """Temporary files and folders that no process is at, and locks that nobody holds."""
    for folder in (root / "data", root / "outputs", root / "reports"):
        for path in sorted(folder.rglob(".*.tmp")):
            if not _is_in_use(path):
                yield path
        for lock in sorted(folder.rglob(".*.lock")):
            if not store.is_locked(store.locked_by(lock)):
                yield lock


def _is_in_use(path: Path) -> bool:
    """Whether what this becomes, or the folder that it is in, is locked.

    A record's lock has the name of both its files without their endings, so any beginning of the name counts.
    """
    locked = [store.locked_by(lock) for lock in path.parent.glob(".*.lock")]
    at_it = [place for place in locked if path.name[1:].startswith(place.name)]
    return any(map(store.is_locked, [*at_it, path.parent]))


def _collected(root: Path) -> Iterator[Path]:
    """Sets of targets, and the responses that similarity decoded; each is made again when it is needed."""
    for kind in ("targets", "responses"):
        for folder in sorted((root / "outputs" / kind).glob("[!.]*")):
            if not store.is_locked(folder):
                yield folder
