"""Rows of a local file: csv, tsv, jsonl, json or parquet, read alike, strictly, and one after another.

A file that cannot be read whole is an error that names the line; no cell is guessed at and none is dropped. Rows are
given as they are read, so that a file may be larger than the memory; json alone, one value, is read at once.

Text is UTF-8, or UTF-16 where a byte order mark says so, as spreadsheets write it. Other encodings cannot be told from
one another by their bytes, so they are refused: a wrong guess would train on `cafÃ©`.
"""

import codecs
import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ia2.errors import MachineError, UserError

FILE_TYPES = ("parquet", "jsonl", "json", "csv", "tsv")

Objects = Iterator[dict[str, Any]]


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a csv, tsv, jsonl, json or parquet file as text; an absent or null value is the empty text.

    UserError, with the file and the row, where it is missing, empty, of another type, malformed or not UTF-8.
    """
    return list(iterate_rows(path))


def iterate_rows(path: Path, columns: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """The rows as they are read, these columns of them or all; errors as in `read_rows`, when the row's turn comes.

    UserError too where the first row lacks one of `columns`; in a later row it is the empty text.
    """
    for number, row in enumerate(iterate_objects(path, columns), start=1):
        wanted: dict[str, Any] = {column: row.get(column) for column in columns or row}
        for column, value in wanted.items():
            if not isinstance(value, str):
                wanted[column] = text_of_cell(value, f"{path}, row {number}, column {column!r}")
        yield wanted


def text_of_cell(value: object, where: str) -> str:
    """A value as text, as JSON writes it, null and NaN as the empty text; UserError for neither text nor a number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise UserError(f"{where} holds {type(value).__name__}; text or a number is needed")


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The rows of a file as its format types them; errors as in `read_rows`."""
    return list(iterate_objects(path))


def iterate_objects(path: Path, columns: Sequence[str] = ()) -> Objects:
    """The rows as they are read and as the format types them; of parquet, these columns only. Errors as above."""
    read = _reader(path)
    empty = True
    try:
        for row in read(path, columns):
            if empty:
                check_columns(str(path), columns, list(row))
            empty = False
            yield row
    except UnicodeDecodeError as error:
        raise UserError(_not_text(path, error)) from error
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}") from error
    if empty:
        raise UserError(f"{path}: the file has no rows")


def check_columns(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """UserError names the first wanted column that is not there, those that are, and the one that may be meant."""
    for column in wanted:
        if column not in there:
            near = get_close_matches(column, there, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise UserError(f"{where}: no column {column!r}; it has {', '.join(map(repr, there))}{meant}")


def _reader(path: Path) -> Callable[[Path, Sequence[str]], Objects]:
    readers = {"csv": _read_csv, "tsv": _read_csv, "jsonl": _read_jsonl, "json": _read_json, "parquet": _read_parquet}
    extension = path.suffix.removeprefix(".").lower()
    if extension not in readers:
        raise UserError(f"{path}: a file of rows ends in {', '.join(f'.{known}' for known in FILE_TYPES)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return readers[extension]


# Formats


def _read_csv(path: Path, _columns: Sequence[str]) -> Objects:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding=_encoding(path), newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        lines = filter(None, reader)
        try:
            header = _header(path, next(lines, []))
            for cells in lines:
                if len(cells) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells where the header has {len(header)}"
                    )
                yield dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error} (is a quotation mark open?)") from error


def _header(path: Path, names: list[str]) -> list[str]:
    if len(names) == 1 and any(other in names[0] for other in ";\t"):
        raise UserError(f"{path}: the columns of {names[0]!r} are not parted by commas; save it so, or tabs as .tsv")
    if "" in names or len(set(names)) < len(names):
        raise UserError(f"{path}: the first line must name each column once, and has {', '.join(map(repr, names))}")
    return names


def _read_jsonl(path: Path, _columns: Sequence[str]) -> Objects:
    with path.open(encoding=_encoding(path), newline="\n") as stream:  # a text may hold U+2028
        for number, line in enumerate(stream, start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield _object(_parse_json(line, where), where)


def _read_json(path: Path, _columns: Sequence[str]) -> Objects:
    rows = _parse_json(path.read_text(encoding=_encoding(path)), str(path))
    if not isinstance(rows, list):
        raise UserError(f"{path}: an array of objects is needed, and it holds {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        yield _object(row, f"{path}, row {number}")


def _parse_json(text: str, where: str) -> object:
    """What the text says. Not all that JSON allows can be read, a number of 5,000 digits for one, or written again."""
    try:
        value: object = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise UserError(f"{where}: {half!r} is half of a character, where a text was cut; take it out") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {error}") from error
    return value


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: an object is needed, and it holds {type(value).__name__}")
    return value


def _read_parquet(path: Path, columns: Sequence[str]) -> Objects:
    import pyarrow  # noqa: PLC0415  # a tenth of a second to import
    import pyarrow.parquet  # noqa: PLC0415

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_columns(str(path), columns, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=256, columns=list(columns) or None):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a parquet file: {' '.join(str(error).split())}") from error


# Encodings


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        beginning = stream.read(1024)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in beginning:
        raise UserError(f"{path}: byte {beginning.index(0)} is NUL: this is no UTF-8 text; save the file as UTF-8")
    return "utf-8-sig"  # spreadsheets write a byte order mark


def _not_text(path: Path, error: UnicodeDecodeError) -> str:
    """Where the first byte is that is no text. The error cannot say: it counts from the block it was found in."""
    if error.encoding.startswith("utf-16"):
        return f"{path}: its byte order mark says UTF-16, and it is not ({error.reason}); save the file as UTF-8"
    offset = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                return (
                    f"{path}, line {number}: byte {offset + found.start} (0x{line[found.start]:02x}) is not UTF-8; "
                    f"save the file as UTF-8, from Latin-1 by: iconv -f CP1252 -t UTF-8 {path.name}"
                )
            offset += len(line)
    return f"{path}: not UTF-8: {error.reason}; save the file as UTF-8"
