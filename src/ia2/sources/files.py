"""Rows of a local file: csv, tsv, jsonl, json or parquet, read alike and strictly.

A file that cannot be read whole is an error that names the line; no cell is guessed at and none is dropped.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

from ia2.errors import MachineError, UserError

FILE_TYPES = ("parquet", "jsonl", "json", "csv", "tsv")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a csv, tsv, jsonl, json or parquet file as text; an absent or null value is the empty text.

    UserError, with the file and the row, where it is missing, empty, of another type, malformed or not UTF-8.
    """
    return [
        {column: _as_text(value, f"{path}, row {number}, column {column!r}") for column, value in row.items()}
        for number, row in enumerate(read_objects(path), start=1)
    ]


def _as_text(value: object, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise UserError(f"{where} holds {type(value).__name__}; text or a number is needed")


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The rows of a file as its format types them; errors as in `read_rows`."""
    readers = {"csv": _read_csv, "tsv": _read_csv, "jsonl": _read_jsonl, "json": _read_json, "parquet": _read_parquet}
    extension = path.suffix.removeprefix(".").lower()
    if extension not in readers:
        raise UserError(f"{path}: a file of rows ends in {', '.join(f'.{known}' for known in FILE_TYPES)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        rows = readers[extension](path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}") from error
    if not rows:
        raise UserError(f"{path}: the file has no rows")
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a byte order mark
    delimiter = "	" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if "" in header or len(set(header)) < len(header):
            named = ", ".join(map(repr, header))
            raise UserError(f"{path}: the first line must name each column once, and has {named}")
        rows = []
        for cells in filter(None, reader):
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells where the header has {len(header)}"
                )
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().decode("utf-8-sig").split("\n")  # not splitlines: a text may hold U+2028
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return [_object(_parse_json(line, f"{path}, line {number}"), f"{path}, line {number}") for number, line in numbered]


def _read_json(path: Path) -> list[dict[str, Any]]:
    rows = _parse_json(path.read_bytes().decode("utf-8-sig"), str(path))
    if not isinstance(rows, list):
        raise UserError(f"{path}: an array of objects is needed, and it holds {type(rows).__name__}")
    return [_object(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1)]


def _parse_json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON: {error}") from error


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: an object is needed, and it holds {type(value).__name__}")
    return value


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow  # noqa: PLC0415  # a tenth of a second to import
    import pyarrow.parquet  # noqa: PLC0415

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a parquet file: {' '.join(str(error).split())}") from error
    return rows
