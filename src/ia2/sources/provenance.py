"""Rows with their provenance: a digest of the content, so that no result rests on a cache."""

import hashlib
import importlib.resources
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ia2.errors import UserError
from ia2.sources.row_files import iterate_rows

SourceRow = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """Rows as a source gave them, and where they came from."""

    rows: Sequence[SourceRow]
    source: str
    revision: str = ""

    @property
    def provenance(self) -> dict[str, str]:
        """Source, revision where there is one, number of rows and the sha256 of their content."""
        content = json.dumps(list(self.rows), sort_keys=True, ensure_ascii=False, default=str)
        found = {"source": self.source, "revision": self.revision, "rows": str(len(self.rows))}
        return {k: v for k, v in found.items() if v} | {"sha256": hashlib.sha256(content.encode()).hexdigest()}

    def texts(self, *columns: str) -> list[dict[str, str]]:
        """These columns as text; UserError names the row where one is missing or holds no text or number."""
        return self.converted(lambda row: {column: text_of(row, column) for column in columns})

    def converted(self, convert: Callable[[SourceRow], T | None]) -> list[T]:
        """The results of `convert` on each row, without None; its ValueError becomes a UserError that names the row."""
        found = []
        for number, row in enumerate(self.rows, start=1):
            try:
                one = convert(row)
            except ValueError as error:
                raise UserError(f"{self.source}, row {number}: {error}") from error
            if one is not None:
                found.append(one)
        return found


def text_of(row: SourceRow, column: str) -> str:
    """A column as text; ValueError where it is missing or holds neither text nor a number."""
    value = row.get(column)
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(_not_there(row, column, "text or a number"))


def texts_of(row: SourceRow, column: str) -> list[str]:
    """A column that holds a list, as texts; ValueError where it does not, or where one of them is no text."""
    value = row.get(column)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return list(value)
    raise ValueError(_not_there(row, column, "a list of texts"))


def row_of(row: SourceRow, column: str) -> SourceRow:
    """A column that holds columns of its own; ValueError where it does not."""
    value = row.get(column)
    if isinstance(value, Mapping):
        return value
    raise ValueError(_not_there(row, column, "an object"))


def _not_there(row: SourceRow, column: str, needed: str) -> str:
    value = row.get(column)
    have = f"holds {type(value).__name__}" if column in row else f"is missing (there: {', '.join(row)})"
    return f"the column {column!r} {have}; {needed} is needed"


def bundled_table(filename: str) -> Table:
    """A table that comes with this package, src/ia2/tasks/data/{filename}."""
    with importlib.resources.as_file(importlib.resources.files("ia2") / "tasks" / "data" / filename) as path:
        return Table(list(iterate_rows(path)), source=f"ia2/tasks/data/{filename}")
