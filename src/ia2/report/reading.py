"""Files of ours read strictly: whole and understood, or a problem that is shown, or an error.

A file that cannot be read whole is no measurement, and stands in no table. One of a newer schema stops the reading,
because guessing at its meaning could show wrong numbers as right ones.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow
import pyarrow.parquet
from pydantic import BaseModel, ValidationError

from ia2.errors import UserError

Kind = TypeVar("Kind", bound=BaseModel)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A file that should have been readable, and why it was not."""

    path: Path
    reason: str


def read_whole(path: Path, kind: type[Kind], newest: int, columns: Sequence[str] = ()) -> Kind | Problem:
    """The JSON file as a `kind`, which has a field `path`, or the reason why it or the parquet beside it is not whole.

    The parquet has to have these columns. UserError where its schema is newer than `newest`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
    except (ValueError, KeyError, TypeError) as error:
        return Problem(path, f"not a whole record ({error or type(error).__name__})")
    if not isinstance(schema, int) or schema > newest:
        raise UserError(f"{path} has schema {schema!r}, newer than {newest}, which this version reads: update ia2")
    try:
        record = kind.model_validate({**content, "path": path})
        there = pyarrow.parquet.read_metadata(path.with_suffix(".parquet")).schema.names
    except ValidationError as error:
        first = error.errors()[0]
        return Problem(path, f"field {'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}")
    except UserError as error:
        return Problem(path, f"field run: {error}")
    except (OSError, pyarrow.ArrowException) as error:
        return Problem(path, f"its rows cannot be read ({error})")
    if missing := [name for name in columns if name not in there]:
        return Problem(path, f"its rows lack {', '.join(missing)}")
    return record


@dataclass(frozen=True)
class Examined(Generic[Kind]):
    """The files of a kind that could be read, in order of path, and those that could not."""

    found: tuple[Kind, ...] = ()
    problems: tuple[Problem, ...] = ()


def examine(paths: Iterable[Path], kind: type[Kind], newest: int, columns: Sequence[str] = ()) -> Examined[Kind]:
    """`read_whole` of each that is not being written; UserError where one is newer than this."""
    outcomes = [read_whole(path, kind, newest, columns) for path in visible(paths)]
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


def is_parquet(path: Path) -> bool:
    """By its end, which says what it holds and which one that was cut has lost."""
    try:
        pyarrow.parquet.read_metadata(path)
    except (OSError, pyarrow.ArrowInvalid):
        return False
    return True


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without what is being written."""
    return sorted(path for path in paths if not path.name.startswith("."))
