"""How artefacts are read and written, so that nothing half-made ever counts.

A file or folder is written under a temporary name beginning with a dot and then renamed; readers skip such names.
Nothing is removed that ia2 did not make.
"""

import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ia2.errors import UserError
from ia2.store.digests import content_digest
from ia2.store.names import LONGEST_BESIDE, safe_filename


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is any value
    """The value in a JSON file; UserError names the file where it is missing, cut or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits; too deep
        raise UserError(f"{path} is not valid JSON ({error}); mend it, or delete it to have it made again") from None


def read_object(path: Path, has_digest: bool = False) -> dict[str, Any]:
    """The object in a JSON file; UserError where it holds something else, or is not what its own digest says.

    One without a digest is what people and the first edition write; with `has_digest` it is damaged.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} holds {type(value).__name__}, not an object; delete it to have it made again")
    if ("sha256" in value or has_digest) and value.get("sha256") != content_digest(value):
        raise UserError(
            f"{path} is damaged or was edited: its content is not what its sha256 says; delete it to have it made "
            "again, or, where it is data (main.json, a split) that you edited, delete its field sha256"
        )
    return value


def read_part(path: Path, *keys: str) -> dict[str, Any]:
    """The object under these keys, one within the other, in a JSON file; empty where one is absent, or no object."""
    part: Any = read_object(path)
    for key in keys:
        part = part.get(key) if isinstance(part, dict) else None
    return part if isinstance(part, dict) else {}


def json_text(value: Any) -> str:  # noqa: ANN401
    """The JSON text that we write everywhere: the same bytes for the same value."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write a value as JSON, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """`write_json` of an object and the digest of its content, which `read_object` checks."""
    plain = json.loads(json.dumps(content))  # as it will be read: keys are texts, and tuples lists
    plain.pop("sha256", None)
    write_json(path, {**plain, "sha256": content_digest(plain)})


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name for `path`, a file or a folder, that replaces it only if the block ends well.

    An old folder is renamed aside, the new one renamed to its place, and then the old one removed: where that is cut
    off, `finish_replacement` ends it. Whether a folder may be replaced is for the caller to know (`check_replaceable`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    remove(temporary)
    try:
        yield temporary
        _flush(temporary)
        if temporary.is_dir():
            finish_replacement(path)
            if os.path.lexists(path):
                path.rename(_aside(path))
            try:
                temporary.rename(path)
            finally:
                finish_replacement(path)
        else:
            temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    except Exception as error:
        if told := re.search(r"\(os error (\d+)\)", str(error)):  # what is written in Rust has errors of its own
            raise OSError(int(told[1]), os.strerror(int(told[1])), str(path)) from error
        raise
    finally:
        remove(temporary)


def _flush(path: Path) -> None:
    """Make the disk hold what was written before the rename makes it count."""
    for file in [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there; nobody sees a folder that is half removed."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith("."):
        path = path.rename(temporary_path(path, "removed"))
    while path.exists():
        with suppress(FileNotFoundError):  # another process removes it too
            shutil.rmtree(path)


def finish_replacement(path: Path) -> None:
    """End a replacing of the folder at `path` that was cut off: of the old and the new folder, the whole one stays.

    To be called by who has it locked.
    """
    old = _aside(path)
    if os.path.lexists(path):
        remove(old)
    elif os.path.lexists(old):
        old.rename(path)


# Names beside what is written


def temporary_path(path: Path, what: str = "") -> Path:
    """A temporary name of this process, for what will become `path` or was."""
    return path.with_name(f".{safe_filename(path.name, LONGEST_BESIDE)}.{os.getpid()}{what and '-'}{what}.tmp")


def _aside(path: Path) -> Path:
    return path.with_name(f".{safe_filename(path.name, LONGEST_BESIDE)}.old")


_TEMPORARY = re.compile(r"\..+\.(\d{1,9})(-\w+)?\.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a file or folder has a name as `temporary_path` gives."""
    return _TEMPORARY.fullmatch(path.name) is not None


def process_of(temporary: Path) -> int:
    """The process that gave the temporary name."""
    match = _TEMPORARY.fullmatch(temporary.name)
    assert match is not None
    return int(match[1])


def temporaries(path: Path) -> list[Path]:
    """What processes are writing, or have left, that would become `path`, or the pair of files of that name."""
    name = re.escape(safe_filename(path.name, LONGEST_BESIDE))
    pattern = re.compile(rf"\.{name}(\.json|\.parquet)?(\.original)?\.\d+(-\w+)?\.tmp")
    return [one for one in path.parent.glob(".*.tmp") if pattern.fullmatch(one.name)]


# Whose a folder is

RUN_FILES = frozenset(
    {
        *("adapter_model.safetensors", "adapter_config.json", "run.json", "config.json", "history.jsonl", "README.md"),
        *("final_loss_statistics.json", "checkpoints", "tracking", "failure.log"),
    }
)
"""All that a run's folder may hold; config.json is what the first edition called run.json."""


def unknown_entries(folder: Path, known: Collection[str]) -> list[str]:
    """Names of what is in a folder and not known; the folder's own where it is none."""
    if not folder.is_dir():
        return [folder.name]
    return sorted(file.name for file in folder.iterdir() if file.name not in known and not is_temporary(file))


def check_replaceable(folder: Path) -> None:
    """UserError where there is anything at `folder` that is not, as a whole, a run of ours: it is never removed."""
    if not os.path.lexists(folder):
        return
    descriptions = [folder / name for name in ("run.json", "config.json") if (folder / name).is_file()]
    ours = any(b'"split_sha256"' in file.read_bytes() for file in descriptions)
    if names := unknown_entries(folder, RUN_FILES if ours else {"failure.log"}):
        raise UserError(
            f"{folder} holds {names[0]!r}, which ia2 did not write, and is not replaced; move it away, or give "
            "another --root"
        )
