"""Measurements as pairs of files, JSON beside parquet: written whole, read strictly, and current or to be made again.

A file that cannot be read whole is no measurement, and is in no table. From schema 2 on a file holds the digests of
its own content and of the rows beside it. One of a newer schema stops the reading, because guessing at its meaning
could show wrong numbers as right ones.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, ValidationError

from ia2.config import absolute_model_id
from ia2.errors import UserError
from ia2.store import atomic_write, file_digest, read_object, write_object


class Measurement(BaseModel):
    """A measurement: the numbers of a JSON file, and the rows that they come from in the parquet beside it."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    path: Path

    @property
    def parquet(self) -> Path:
        """The file of the rows."""
        return self.path.with_suffix(".parquet")

    def check_rows(self, rows: pyarrow.parquet.ParquetFile) -> None:
        """Raise ValueError where the numbers are not those of the rows."""


Kind = TypeVar("Kind", bound=Measurement)
Found = TypeVar("Found")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A file that should have been readable, and why it was not."""

    path: Path
    reason: str


def read_whole(path: Path, kind: type[Kind], newest: int, columns: Sequence[str] = ()) -> Kind | Problem:
    """The JSON file as a `kind`, or the reason why it or the parquet beside it is not whole.

    The parquet has to have these columns. UserError where its schema is newer than `newest`.
    """
    try:
        content = read_object(path)
        schema = content["schema"]
    except (UserError, KeyError) as error:
        return Problem(path, f"not a whole record ({str(error).removeprefix(f'{path} ')})")
    if not isinstance(schema, int) or schema > newest:
        raise UserError(f"{path} has schema {schema!r}, newer than {newest}, which this version reads: update ia2")
    try:
        record = kind.model_validate({**content, "path": path})
        rows_digest = content.get("examples_sha256", content.get("rows_sha256"))
        if schema == 1:  # without digests
            with pyarrow.parquet.ParquetFile(record.parquet) as rows:
                if missing := [name for name in columns if name not in rows.schema_arrow.names]:
                    raise ValueError(f"its rows lack {', '.join(missing)}")
                record.check_rows(rows)
        elif "sha256" not in content or rows_digest != file_digest(record.parquet):
            raise ValueError(f"{record.parquet.name} is damaged: its sha256 is not the one in {path.name}")
    except ValidationError as error:
        first = error.errors()[0]
        return Problem(path, f"field {'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}")
    except UserError as error:
        return Problem(path, f"field run: {error}")
    except (OSError, pyarrow.ArrowException) as error:
        return Problem(path, f"its rows cannot be read ({error})")
    except ValueError as error:
        return Problem(path, str(error))
    return record


def why_stale(
    path: Path,
    found: Measurement | Problem,
    digests: Callable[[dict[str, Any]], Mapping[str, object]],
    model_id: str | None = None,
    parts: Callable[[str], Mapping[str, str] | None] = lambda _: None,
) -> str | None:
    """Reason why the measurement at `path` is to be made again; None where it is current.

    It is current where it could be read (`found`), each of the `digests`, which may depend on its content, is the one
    it was made from, and so is each of the `parts` of the base model's files, as far as both are known. UserError where
    it is of another `model_id`, since two models can have one name.
    """
    if isinstance(found, Problem):
        return f"it is damaged: {found.reason}"
    try:
        content = read_object(path)
    except UserError as error:  # another process has replaced it meanwhile
        return f"it is damaged: {error}"
    was = content.get("eval", content).get("model_id")
    if model_id is not None and absolute_model_id(was) != model_id:
        raise UserError(f"{path} is of model_id={was!r}, not {model_id!r}; rename one of them, or use another --root")
    changed = [name for name, digest in digests(content).items() if name not in content or content[name] != digest]
    base = content.get("base")
    if model_id is not None and isinstance(base, dict) and isinstance(known := base.get("parts"), dict):
        now = parts(model_id) or {}
        changed += [f"the base model's {part}" for part, digest in now.items() if known.get(part) != digest]
    return f"{', '.join(changed)} is not that of the files on disk" if changed else None


def write_measured(path: Path, content: Mapping[str, Any], digest: str, write_rows: Callable[[Path], object]) -> None:
    """Write a measurement: its rows, by `write_rows`, and then its JSON with their sha256 under the name `digest`.

    The JSON before it is removed first: an older one must never be beside new rows. So one that can be found is whole.
    """
    rows = path.with_suffix(".parquet")
    path.unlink(missing_ok=True)
    with atomic_write(rows) as temporary:
        write_rows(temporary)
    write_object(path, {**content, digest: file_digest(rows)})


@dataclass(frozen=True)
class Examined(Generic[Found]):
    """The files of a kind that could be read, in order of path, and those that could not."""

    found: tuple[Found, ...] = ()
    problems: tuple[Problem, ...] = ()


def examine(paths: Iterable[Path], kind: type[Kind], newest: int, columns: Sequence[str] = ()) -> Examined[Kind]:
    """`read_whole` of each that is not being written; UserError where one is newer than this."""
    outcomes = [read_whole(path, kind, newest, columns) for path in finished(paths)]
    found = tuple(outcome for outcome in outcomes if isinstance(outcome, kind))
    return Examined(found, tuple(outcome for outcome in outcomes if isinstance(outcome, Problem)))


def tell(problems: Iterable[Problem]) -> None:
    """Name what cannot be read, and why."""
    for problem in problems:
        log.warning("%s is not counted: %s", problem.path, problem.reason)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> pyarrow.Table:
    """A parquet file's rows, in a third of the time that pandas takes; UserError where its bytes are damaged."""
    try:
        return pyarrow.parquet.ParquetFile(path).read(
            columns=None if columns is None else list(columns), use_threads=False
        )
    except (OSError, pyarrow.ArrowException) as error:
        reason, record = " ".join(str(error).split()), path.with_suffix(".json").name
        raise UserError(
            f"{path}: its rows cannot be read ({reason}); delete it and {record}, and make them again"
        ) from None


def finished(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without what is being written."""
    return sorted(path for path in paths if not path.name.startswith("."))
