"""Digests of files, remembered in the cache by size, times and inode: 100 GB are read once, not at every start."""

import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from time import time_ns

from ia2 import store
from ia2.sources.packages import cache_folder

log = logging.getLogger(__name__)

State = list[int]
_remembered: dict[Path, dict[str, tuple[State, str]]] = {}
"""By the file that keeps them: name -> size, times and inode of a file, and its sha256."""

TICK = 2 * 10**9
"""Nanoseconds within which a file could change again and keep its times."""


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> sha256 of files of one folder, read again where size, times or inode differ."""
    keeper = cache_folder() / "digests" / f"{store.value_digest(str(folder.absolute()))}.json"
    if keeper not in _remembered:
        _remembered[keeper] = {}
        try:
            content = json.loads(keeper.read_text(encoding="utf-8"))
            if content["digest"] == store.value_digest(content["files"]):
                _remembered[keeper] = {name: (state, digest) for name, (state, digest) in content["files"].items()}
        except (OSError, ValueError, TypeError, KeyError):
            pass  # missing or damaged: they are made again
    known, found, learned = _remembered[keeper], dict[str, str](), False
    for name in names:
        file = (folder / name).stat()
        state = [file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino]
        if name in known and known[name][0] == state:
            found[name] = known[name][1]
            continue
        found[name] = store.file_digest(folder / name)
        if time_ns() - max(file.st_mtime_ns, file.st_ctime_ns) > TICK:
            known[name], learned = (state, found[name]), True
    if learned:
        try:
            store.write_json(keeper, {"files": known, "digest": store.value_digest(known)})
        except OSError as error:
            log.warning("digests are not remembered, files are read at every start: %s", error)
    return found


def forget_digests() -> None:
    """Have every file read in full when its digest is next needed: times do not show what a disk has damaged."""
    shutil.rmtree(cache_folder() / "digests", ignore_errors=True)
    _remembered.clear()
