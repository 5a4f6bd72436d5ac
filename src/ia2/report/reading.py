"""Files of ours read strictly: whole and understood, or a problem that is shown, or an error.

A file that cannot be read whole is no measurement, and stands in no table. From schema 2 on a file holds the digests of
its own content and of the rows beside it. One of a newer schema stops the reading, because guessing at its meaning
could show wrong numbers as right ones.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, ValidationError

from ia2.errors import UserError
from ia2.store import file_digest, read_object


class Measured(BaseModel):
    """What was measured: the numbers of a JSON file, and the rows that they come from in the parquet beside it."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    path: Path

    @property
    def parquet(self) -> Path:
        """The file of the rows."""
        return self.path.with_suffix(".parquet")

    def check_rows(self, rows: pyarrow.parquet.ParquetFile) -> None:
        """Raise ValueError where the numbers are not those of the rows."""


Kind = TypeVar("Kind", bound=Measured)
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


@dataclass(frozen=True)
class Examined(Generic[Found]):
    """The files of a kind that could be read, in order of path, and those that could not."""

    found: tuple[Found, ...] = ()
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


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without what is being written."""
    return sorted(path for path in paths if not path.name.startswith("."))
