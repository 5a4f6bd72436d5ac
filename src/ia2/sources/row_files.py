"""Rows of a local file: csv, tsv, jsonl, json (each plain or .gz) or parquet, read alike, strictly, one after another.

A file that cannot be read whole is an error that names the line; no cell is guessed at. Only columns without a name
(pandas' index), empty columns and rows that a spreadsheet left at the end are left out. Rows are given one by one, so
that a file may be larger than the memory; json alone, one value, is read at once.

Text is UTF-8, or UTF-16 where a byte order mark says so, as spreadsheets write it. Other encodings cannot be
distinguished by their bytes, so they are refused: a wrong guess would train on `cafÃ©`.
"""

import codecs
import csv
import gzip
import io
import json
import logging
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ia2.errors import MachineError, UserError, did_you_mean

log = logging.getLogger(__name__)

FILE_TYPES = ("parquet", "jsonl", "json", "csv", "tsv")
GZIPPED = ".gz"
MOST_CHARACTERS = 100_000_000
"""The longest cell of a csv; csv's own limit, 131,072, is exceeded by any saved web page."""

Objects = Iterator[dict[str, Any]]

_said: set[str] = set()


def say_once(message: str) -> None:
    """Log a remark about a file once, though the file is read several times in a command."""
    if message not in _said:
        _said.add(message)
        log.warning("%s", message)


def stem_and_type(path: Path) -> tuple[str, str]:
    """The name and the type of a file of rows, "rows" and "csv" of `rows.CSV.gz`; the type is empty if unknown."""
    inner = Path(path.stem) if path.suffix.lower() == GZIPPED else path
    kind = inner.suffix.removeprefix(".").lower()
    return inner.stem, kind if kind in FILE_TYPES and (kind != "parquet" or inner is path) else ""


def iterate_rows(path: Path, columns: Sequence[str] = (), others: bool = False) -> Iterator[dict[str, str]]:
    """Rows of a csv, tsv, jsonl, json or parquet file as text, these columns or all; null is the empty text.

    UserError, with the file and the row, where it is missing, empty, of another type, malformed or not UTF-8, when the
    row's turn comes; and where the first row lacks one of `columns`: in a later row it is the empty text. With `others`
    the other columns are given too, and any value of theirs that is neither text nor a number as JSON.
    """
    for number, row in enumerate(iterate_objects(path, columns, others), start=1):
        names = dict.fromkeys([*row, *columns]) if others or not columns else columns
        wanted: dict[str, Any] = {column: row.get(column) for column in names}
        for column, value in wanted.items():
            if others and column not in columns and not isinstance(value, str | int | float | None):
                wanted[column] = json.dumps(value, ensure_ascii=False, default=str)
            elif not isinstance(value, str):
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


def iterate_objects(path: Path, columns: Sequence[str] = (), others: bool = False) -> Objects:
    """Rows as the format types them, one after another; of parquet, these columns only, unless `others`."""
    read = _reader(path)
    empty = True
    try:
        for row in read(path, () if others else columns):
            if empty:
                check_columns(str(path), columns, list(row))
            empty = False
            yield row
    except UnicodeDecodeError as error:
        raise UserError(_not_text(path, error)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}") from error
    if empty:
        raise UserError(f"{path}: the file has no rows")


def check_columns(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """UserError names the first wanted column that is not there, those that are, and the one that may be meant."""
    for column in wanted:
        if column not in there:
            meant = did_you_mean(column, there)
            raise UserError(f"{where}: no column {column!r}; it has {', '.join(map(repr, there))}{meant}")


def _reader(path: Path) -> Callable[[Path, Sequence[str]], Objects]:
    readers = {"csv": _read_csv, "tsv": _read_csv, "jsonl": _read_jsonl, "json": _read_json, "parquet": _read_parquet}
    if not (kind := stem_and_type(path)[1]):
        known = ", ".join(f".{known}" for known in FILE_TYPES)
        raise UserError(f"{path}: a file of rows ends in {known}; all but parquet may be followed by {GZIPPED}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if str(path) != str(path).encode(errors="replace").decode():  # it is written into task files
        raise UserError(f"{str(path)!a}: the name of the file, or of a folder above it, is not UTF-8; rename it")
    return readers[kind]


# Formats


def _read_csv(path: Path, _columns: Sequence[str]) -> Objects:
    lines = _csv_lines(path)
    _, header = next(lines, (0, []))
    names = {place: name for place, name in enumerate(header) if name}
    if header and (not names or len(set(names.values())) < len(names)):
        raise UserError(f"{path}: the first line must name each column once, and has {', '.join(map(repr, header))}")
    num_empty = 0
    for number, cells in lines:
        if not any(cells):  # a row only if one with content follows
            num_empty += 1
            continue
        yield from (dict.fromkeys(names.values(), "") for _ in range(num_empty))
        num_empty = 0
        if len(cells) <= max(names) or any(cells[len(header) :]):
            raise UserError(f"{path}, line {number}: {len(cells)} cells where the header has {len(header)}")
        for place in [place for place, cell in enumerate(cells) if cell and place not in names]:
            say_once(f"{path}: column {place + 1} has no name in the first line and is left out")
        yield {name: cells[place] for place, name in names.items()}
    if num_empty:
        say_once(f"{path}: {num_empty} empty rows at the end are left out")


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that is not blank, and the number of the line that they begin in."""
    delimiter = "\t" if stem_and_type(path)[1] == "tsv" else ","
    csv.field_size_limit(max(csv.field_size_limit(), MOST_CHARACTERS))
    with _text(path, newline="") as stream:
        first, before = next(stream, ""), 0
        while first and not first.strip():
            first, before = next(stream, ""), before + 1
        if stated := re.fullmatch(r'"?sep=(.)"?', first.strip("\r\n")):  # as spreadsheets write and read it
            delimiter, first, before = stated[1], next(stream, ""), before + 1
        widths = {other: len(next(csv.reader([first], delimiter=other), [])) for other in (delimiter, *",;\t|")}
        if widths[delimiter] == 1 and max(widths.values()) > 1:
            by = "tabs" if delimiter == "\t" else "commas" if delimiter == "," else repr(delimiter)
            raise UserError(
                f"{path}: the columns of {first.strip()!r} are not parted by {by}; save it with commas, or tabs as .tsv"
            )
        reader = csv.reader(chain([first], stream), delimiter=delimiter, strict=True)
        number = before + 1
        try:
            for cells in reader:
                if cells:
                    yield number, cells
                number = before + reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}, line {number}: {error} (is a quotation mark open?)") from error


def _read_jsonl(path: Path, _columns: Sequence[str]) -> Objects:
    with _text(path, newline="\n") as stream:  # a text may hold U+2028
        for number, line in enumerate(stream, start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield _object(_parse_json(line, where), where)


def _read_json(path: Path, _columns: Sequence[str]) -> Objects:
    with _text(path) as stream:
        value = _parse_json(stream.read(), str(path))
    rows = value
    if isinstance(value, dict):  # {"data": [...]}, as servers answer
        lists = [key for key, one in value.items() if isinstance(one, list) and one and isinstance(one[0], dict)]
        if len(lists) == 1:
            rows = value[lists[0]]
            say_once(f"{path}: its rows are those of {lists[0]!r}")
    if not isinstance(rows, list):
        holds = f"one with {', '.join(map(repr, rows))}" if isinstance(rows, dict) else type(rows).__name__
        raise UserError(f"{path}: an array of objects is needed, or an object with one such array; it holds {holds}")
    for number, row in enumerate(rows, start=1):
        yield _object(row, f"{path}, row {number}")


def _parse_json(text: str, where: str) -> object:
    """The value of a JSON text. Not all of JSON can be read, a number of 5,000 digits for one, or written again."""
    try:
        value: object = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise UserError(f"{where}: {half!r} is half of a character, where a text was cut; take it out") from error
    except (ValueError, RecursionError) as error:
        many = "; is it one object a line? Then name it .jsonl" if str(error).startswith("Extra data") else ""
        raise UserError(f"{where}: not JSON: {error}{many}") from error
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
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: a text or a name in it is not UTF-8 ({error.reason}); write it again") from error
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a parquet file: {' '.join(str(error).split())}") from error


# Bytes and encodings


def _bytes(path: Path) -> BinaryIO:
    return gzip.GzipFile(path) if path.suffix.lower() == GZIPPED else path.open("rb")  # type: ignore[return-value]


def _text(path: Path, newline: str | None = None) -> TextIO:
    with _bytes(path) as stream:
        beginning = stream.read(1024)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return io.TextIOWrapper(_bytes(path), encoding="utf-16", newline=newline)
    if b"\0" in beginning:
        raise UserError(f"{path}: byte {beginning.index(0)} is NUL: this is no UTF-8 text; save the file as UTF-8")
    return io.TextIOWrapper(_bytes(path), encoding="utf-8-sig", newline=newline)  # a byte order mark of spreadsheets


def _not_text(path: Path, error: UnicodeDecodeError) -> str:
    """A message that names the first byte that is no text; the error itself counts from the block it was found in."""
    if error.encoding.startswith("utf-16"):
        return f"{path}: its byte order mark says UTF-16, and it is not ({error.reason}); save the file as UTF-8"
    offset = 0
    with _bytes(path) as stream:
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
