"""Rows with their provenance: a digest of the content, so that what a result rests on does not rest on a cache."""

import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ia2.errors import UserError
from ia2.sources.files import read_rows


@dataclass(frozen=True)
class Table:
    """Rows as a source gave them, and where they came from."""

    rows: Sequence[Mapping[str, object]]
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
        return [{c: self._text(number, row, c) for c in columns} for number, row in enumerate(self.rows, start=1)]

    def _text(self, number: int, row: Mapping[str, object], column: str) -> str:
        value = row.get(column)
        if isinstance(value, str | int | float):
            return str(value)
        have = f"holds {type(value).__name__}" if column in row else f"is missing (there: {', '.join(row)})"
        raise UserError(f"{self.source}, row {number}: the column {column!r} {have}; text or a number is needed")


def split_provenance(train: Table, validation: Table) -> dict[str, str]:
    """The provenance of two tables in one record."""
    tables = {"train": train, "validation": validation}
    return {f"{split}_{key}": value for split, table in tables.items() for key, value in table.provenance.items()}


Texts = list[dict[str, str]]


def hold_out(rows: Texts, num_validation: int) -> tuple[Texts, Texts]:
    """Training pool and validation of a table without splits: shuffled with seed 42, the last rows are validation."""
    shuffled = rows.copy()
    Random(42).shuffle(shuffled)
    return shuffled[: len(rows) - num_validation], shuffled[len(rows) - num_validation :]


def bundled_table(filename: str) -> Table:
    """A table that comes with this package, src/ia2/tasks/data/{filename}."""
    with importlib.resources.as_file(importlib.resources.files("ia2") / "tasks" / "data" / filename) as path:
        return Table(read_rows(path), source=f"ia2/tasks/data/{filename}")
