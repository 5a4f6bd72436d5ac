"""Digests of files and of values: what something was made from, in a few letters."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes; a file is read once in a process, and again when its size, time or inode differs."""
    state = path.stat()
    return _file_digest(path, (state.st_size, state.st_mtime_ns, state.st_dev, state.st_ino))


@cache
def _file_digest(path: Path, _state: tuple[int, ...]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(content: Mapping[str, Any]) -> str:
    """sha256 of a JSON object without its own `sha256`, independent of the order of its keys and of spaces."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def value_digest(value: Any) -> str:  # noqa: ANN401
    """A short digest of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]
