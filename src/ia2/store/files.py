"""Artefacts read and written so that nothing half-made ever counts; digests and lists of their files.

A file or folder is written under a temporary name beginning with a dot and then renamed; readers skip such names.
Nothing is removed that ia2 did not make.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ia2.config import is_path_part
from ia2.errors import UserError

DESCRIPTION = "run.json"
"""Not config.json: transformers takes a folder with that file for a whole model."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
RUN_FILES = (*ADAPTER_FILES, "final_loss_statistics.json", "history.jsonl")
"""Files of a run that decide an answer or a number."""
OURS = {*RUN_FILES, DESCRIPTION, "config.json", "README.md", "checkpoints", "tracking", "failure.log"}
"""All that a run's folder may hold; config.json is run.json of the first edition."""
LONGEST_NAME, LONGEST_BESIDE = 230, 240
"""File systems take 255 bytes, of which an ending, and the name of a temporary file or lock beside it, need some."""

# Digests

_digests: dict[tuple[Path, int, int, int, int], str] = {}


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes; a file is read once in a process, and again when its size, time or inode differs."""
    state = path.stat()
    key = (path, state.st_size, state.st_mtime_ns, state.st_dev, state.st_ino)
    if key not in _digests:
        with path.open("rb") as stream:
            _digests[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _digests[key]


def value_digest(value: Any, length: int = 20) -> str:  # noqa: ANN401
    """A digest of a JSON value in hexadecimal digits, 64 at most, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


# JSON


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is any value
    """The value in a JSON file; UserError names the file where it is missing, cut or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits; too deep
        raise UserError(f"{path} is not valid JSON ({error}); mend it, or delete it to have it made again") from None


def read_object(path: Path, has_digest: bool = False) -> dict[str, Any]:
    """The object in a JSON file; UserError where it holds something else, or its own digest differs from its content.

    One without a digest is of a person's hand or of the first edition; with `has_digest` it is damaged.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} holds {type(value).__name__}, not an object; delete it to have it made again")
    content = {key: part for key, part in value.items() if key != "sha256"}
    if ("sha256" in value or has_digest) and value.get("sha256") != value_digest(content, length=64):
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


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write a value as JSON, whole or not at all: the same bytes for the same value."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """`write_json` of an object and the digest of its content, which `read_object` checks."""
    plain = json.loads(json.dumps(content))  # as it will be read: keys are texts, and tuples lists
    plain.pop("sha256", None)
    write_json(path, {**plain, "sha256": value_digest(plain, length=64)})


# Replacing


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name for `path`, a file or a folder, that replaces it only if the block ends well.

    An old folder is renamed aside, the new one renamed to its place, and then the old one removed: where that is cut
    off, `finish_replacement` ends it. The caller has to know that a folder may be replaced (`check_replaceable`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    remove(temporary)
    try:
        yield temporary
        # the disk holds what was written before the rename makes it count
        for file in [temporary] if temporary.is_file() else filter(Path.is_file, temporary.rglob("*")):
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        if temporary.is_dir():
            finish_replacement(path)
            if os.path.lexists(path):
                path.rename(hidden_path(path, "old"))
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
        if found := re.search(r"\(os error (\d+)\)", str(error)):  # libraries in Rust have errors of their own
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        raise
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it exists; nobody sees a folder that is half removed."""
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

    To be called under its lock.
    """
    old = hidden_path(path, "old")
    if os.path.lexists(path):
        remove(old)
    elif os.path.lexists(old):
        old.rename(path)


# Names of files, and those beside what is written


def safe_filename(name: str, most: int = LONGEST_NAME) -> str:
    """The name, or what can be kept of its beginning and a digest of it where no file should be called so."""
    if is_path_part(name, most):
        return name
    kept = "".join(char if is_path_part(f"_{char}") else "-" for char in name).lstrip(".")
    return f"{kept.encode()[: most - 21].decode(errors='ignore')}+{value_digest(name)}"


def hidden_path(path: Path, ending: str) -> Path:
    """A name beside `path` that readers skip."""
    return path.with_name(f".{safe_filename(path.name, LONGEST_BESIDE)}.{ending}")


def temporary_path(path: Path, what: str = "") -> Path:
    """A temporary name of this process, for what will become `path` or was."""
    return hidden_path(path, f"{os.getpid()}{what and '-'}{what}.tmp")


def process_of(temporary: Path) -> int | None:
    """The process that gave this name by `temporary_path`, never 0; None for any other name."""
    match = re.fullmatch(r"\..+\.(\d{1,9})(-\w+)?\.tmp", temporary.name)
    return int(match[1]) if match else None


def temporaries(path: Path) -> list[Path]:
    """Files and folders being written, or left, that would become `path`, or the pair of files of that name."""
    name = re.escape(safe_filename(path.name, LONGEST_BESIDE))
    pattern = re.compile(rf"\.{name}(\.json|\.parquet)?(\.original)?\.\d+(-\w+)?\.tmp")
    return [one for one in path.parent.glob(".*.tmp") if pattern.fullmatch(one.name)]


# Files of a folder


def unknown_entries(folder: Path, known: Collection[str]) -> list[str]:
    """Names in a folder that are unknown, or of folders where files belong; the folder's own where it is none."""
    if not folder.is_dir():
        return [folder.name]
    folders = {"checkpoints", "tracking"}  # entries of folders of ours that are folders themselves
    strange = (one for one in folder.iterdir() if one.name not in known or (one.is_dir() and one.name not in folders))
    return sorted(one.name for one in strange if not process_of(one))


def check_replaceable(folder: Path) -> None:
    """UserError where there is anything at `folder` that is not, as a whole, a run of ours: it is never removed."""
    if not os.path.lexists(folder):
        return
    descriptions = [folder / name for name in (DESCRIPTION, "config.json") if (folder / name).is_file()]
    ours = any(b'"split_sha256"' in file.read_bytes() for file in descriptions)
    if names := unknown_entries(folder, OURS if ours else {"failure.log"}):
        raise UserError(
            f"{folder} holds {names[0]!r}, which ia2 did not write, and is not replaced; move it away, or give "
            "another --root"
        )


def list_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """{name: {size, sha256}} of files in a folder."""
    paths = {name: folder / name for name in names}
    return {name: {"size": path.stat().st_size, "sha256": file_digest(path)} for name, path in paths.items()}


def check_files(folder: Path, files: Mapping[str, Mapping[str, Any]], tensors: bool = True) -> None:
    """UserError that names the first file which is not as listed; without `tensors`, large ones by their size alone."""
    for name, listed in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing; delete the folder to have it made again")
        whole = path.stat().st_size == listed["size"]
        if whole and (tensors or path.suffix != ".safetensors"):
            whole = file_digest(path) == listed["sha256"]
        if not whole:
            raise UserError(f"{path} is damaged: it is not as it was written; delete the folder to have it made again")


def description_path(folder: Path) -> Path:
    """The file that describes the run in `folder`: run.json, or the config.json that the first edition wrote."""
    older = folder / "config.json"
    return older if older.exists() and not (folder / DESCRIPTION).exists() else folder / DESCRIPTION


def read_description(folder: Path, tensors: bool = True) -> dict[str, Any]:
    """The description of the run in `folder`, once it and the files it lists are found whole (as in check_files).

    UserError names what is damaged or missing. The first edition listed no files: they have to exist.
    """
    path = description_path(folder)
    description = read_object(path, has_digest=path.name == DESCRIPTION)
    check_files(folder, description.get("files", {}), tensors)
    if missing := [name for name in (*ADAPTER_FILES, "final_loss_statistics.json") if not (folder / name).is_file()]:
        raise UserError(f"{folder / missing[0]} is missing; delete the folder to have the run trained again")
    return description
