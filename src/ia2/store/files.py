"""How artefacts are read and written, so that nothing half-made ever counts.

A file or folder is written under a temporary name beginning with a dot and then renamed; readers skip such names.
"""

import glob
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ia2.errors import UserError
from ia2.store.digests import content_digest
from ia2.store.names import beginning


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
        raise UserError(f"{path} is damaged: its content is not what its sha256 says; delete it to have it made again")
    return value


def json_text(value: Any) -> str:  # noqa: ANN401
    """The JSON text that we write everywhere: the same bytes for the same value."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write a value as JSON, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """`write_json` of an object and the digest of its content, which `read_object` checks."""
    plain = json.loads(json.dumps(content))  # as it will be read: keys are texts, and tuples lists
    plain.pop("sha256", None)
    write_json(path, {**plain, "sha256": content_digest(plain)})


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary name for `path`, a file or a folder, that replaces it only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{beginning(path.name, 150)}.{os.getpid()}.tmp")
    remove(temporary)
    try:
        yield temporary
        _flush(temporary)
        if temporary.is_dir():
            remove(path)
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
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def temporaries(path: Path) -> list[Path]:
    """What processes are writing, or have left, that would become `path`."""
    return list(path.parent.glob(f".{glob.escape(beginning(path.name, 150))}.*.tmp"))
