"""Local files of rows: every format gives the same rows, and what is malformed is told in one line."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from ia2.errors import UserError
from ia2.sources import read_rows

TWO_ROWS = [{"text": 'Ünï, "code"', "n": "1"}, {"text": "two\nlines\u2028", "n": ""}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", '\ufefftext,n\r\n"Ünï, ""code""",1\r\n"two\nlines\u2028",\r\n\r\n'),
        ("a.tsv", 'text\tn\n"Ünï, ""code"""\t1\n"two\nlines\u2028"\t\n'),
        ("a.jsonl", '{"text": "Ünï, \\"code\\"", "n": 1}\n\n{"text": "two\\nlines\u2028", "n": null}\n'),
        ("A.JSON", '[{"text": "Ünï, \\"code\\"", "n": 1}, {"text": "two\\nlines\u2028", "n": null}]'),
    ],
)
def test_every_text_format_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read_rows(tmp_path / name) == TWO_ROWS


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"text": row["text"], "n": int(row["n"] or 0) or None} for row in TWO_ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == TWO_ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", r"a\.txt: a file of rows ends in \.parquet"),
        ("a.csv", b"", r"a\.csv: the file has no rows"),
        ("a.csv", b"text,n\n", r"a\.csv: the file has no rows"),
        ("a.csv", b"text,text\na,b\n", r"must name each column once, and has 'text', 'text'"),
        ("a.csv", b"text,n\na,1\nb\n", r"a\.csv, line 3: 1 cells where the header has 2"),
        ("a.csv", b"text,n\na,1,2\n", r"a\.csv, line 2: 3 cells"),
        ("a.csv", b'text\n"open\n', r"a\.csv, line 2: unexpected end of data"),
        ("a.csv", b"text\ncaf\xe9\n", r"a\.csv: byte 8 is not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl, line 2: an object is needed, and it holds list"),
        ("a.jsonl", b'{"a": ["x"]}\n', r"a\.jsonl, row 1, column 'a' holds list"),
        ("a.json", b'{"a": 1}', r"a\.json: an array of objects is needed"),
        ("a.json", b"[", r"a\.json: not JSON"),
        ("a.json", b"[]", r"a\.json: the file has no rows"),
        ("a.parquet", b"PAR1", r"a\.parquet: not a parquet file"),
    ],
)
def test_a_malformed_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_truth_values_and_fractions_are_written_as_in_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": true, "b": 1.50}')
    assert read_rows(tmp_path / "a.jsonl") == [{"a": "true", "b": "1.5"}]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read_rows(tmp_path / "none.csv")
