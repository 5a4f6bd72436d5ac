"""Local files of rows: every format gives the same rows, and what is malformed is told in one line."""

import gzip
import json
import tracemalloc
from functools import partial
from pathlib import Path

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from ia2.errors import UserError
from ia2.sources import iterate_rows

TWO_ROWS = [{"text": 'Ünï, "code"', "n": "1"}, {"text": "two\nlines\u2028", "n": ""}]


def read_rows(path: Path) -> list[dict[str, str]]:
    return list(iterate_rows(path))


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
        (
            "a.csv",
            b"text\ncaf\xe9\n",
            r"a\.csv, line 2: byte 8 \(0xe9\) is not UTF-8; .*iconv -f CP1252 -t UTF-8 a\.csv",
        ),
        ("a.csv", b"text\nna\xc3\xafve\ncaf\xe9\n", r"a\.csv, line 3: byte 15 \(0xe9\) is not UTF-8"),
        ("a.jsonl", b'{"a": "x"}\n{"a": "\xff"}\n', r"a\.jsonl, line 2: byte 18 \(0xff\) is not UTF-8"),
        ("a.json", b'[{"a": "\xe9"}]', r"a\.json, line 1: byte 8 \(0xe9\) is not UTF-8"),
        ("a.csv", "text\na\n".encode("utf-16-le"), r"a\.csv: byte 1 is NUL: .*; save the file as UTF-8"),
        ("a.csv", b"\xff\xfea", r"a\.csv: its byte order mark says UTF-16, and it is not \(truncated data\)"),
        ("a.csv", b"text;n\na;1\n", r"a\.csv: the columns of 'text;n' are not parted by commas"),
        ("a.csv", b'"text";"n"\n"a";"1"\n', r"a\.csv: the columns of '\"text\";\"n\"' are not parted by commas"),
        ("a.csv", b"text|n\na|1\n", r"a\.csv: the columns of 'text\|n' are not parted by commas"),
        ("a.tsv", b"text,n\na,1\n", r"a\.tsv: the columns of 'text,n' are not parted by tabs"),
        ("a.csv", b"sep=;\ntext,n\na,1\n", r"a\.csv: the columns of 'text,n' are not parted by ';'"),
        ("a.csv", b'text,n\na,1\nb,"open\nc,2\n', r"a\.csv, line 3: unexpected end of data"),
        ("a.csv", b",,\na,1,2\n", r"must name each column once, and has '', '', ''"),
        ("a.csv", b"text,n\n,\n,\n", r"a\.csv: the file has no rows"),
        ("a.csv.gz", b"text,n\n", r"a\.csv\.gz: not a whole gzip file"),
        ("a.csv.gz", gzip.compress(b"text,n\na,1\n" * 99, mtime=0)[:-9], r"a\.csv\.gz: not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n{"a": "\xff"}\n', mtime=0), r"a\.jsonl\.gz, line 2: byte 16 \(0xff\)"),
        ("a.parquet.gz", b"x", r"a\.parquet\.gz: a file of rows ends in"),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', r"a\.json: not JSON: Extra data.*\.jsonl"),
        ("a.json", b'{"a": [{"x": 1}], "b": [{"x": 1}]}', r"a\.json: an array of objects.* holds one with 'a', 'b'"),
        (
            "a.csv",
            b"text\n" + b'"' + b"x" * 140_000,
            r"a\.csv, line 2: unexpected end of data \(is a quotation mark open",
        ),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl, line 2: an object is needed, and it holds list"),
        ("a.jsonl", b'{"a": ["x"]}\n', r"a\.jsonl, row 1, column 'a' holds list"),
        ("a.json", b'{"a": 1}', r"a\.json: an array of objects is needed"),
        ("a.json", b"[", r"a\.json: not JSON"),
        ("a.json", b"[" * 100_000, r"a\.json: not JSON: maximum recursion"),
        ("a.jsonl", b'{"a": ' + b"1" * 5000 + b"}", r"a\.jsonl, line 1: not JSON: Exceeds the limit"),
        (
            "a.jsonl",
            b'{"a": "\\ud83d\\ude00"}\n{"a": "\\ud83d"}',
            r"a\.jsonl, line 2: '\\ud83d' is half of a character",
        ),
        ("a.json", b"[]", r"a\.json: the file has no rows"),
        ("a.parquet", b"PAR1", r"a\.parquet: not a parquet file"),
    ],
)
def test_a_malformed_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "text,n\ncafé,1\n"), ("a.tsv", "text\tn\ncafé\t1\n"), ("a.jsonl", '{"text": "café", "n": 1}\n')],
)
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert read_rows(tmp_path / name) == [{"text": "café", "n": "1"}]


def test_rows_before_a_bad_line_are_given_as_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\na,1\nb\n")
    rows = iterate_rows(tmp_path / "a.csv")
    assert next(rows) == {"text": "a", "n": "1"}
    with pytest.raises(UserError, match="line 3: 1 cells"):
        next(rows)


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_only_the_columns_that_are_asked_for(tmp_path: Path, extension: str) -> None:
    table = pandas.DataFrame({"text": ["a", "b"], "n": ["1", "2"], "more": ["x", "y"]})
    path = tmp_path / f"a.{extension}"
    write = {"csv": partial(table.to_csv, index=False), "parquet": table.to_parquet}
    write.get(extension, partial(table.to_json, orient="records", lines=True))(path)
    assert list(iterate_rows(path, ["n", "text"])) == [{"n": "1", "text": "a"}, {"n": "2", "text": "b"}]
    with pytest.raises(UserError, match=r"no column 'txt'; it has 'text', 'n', 'more' \(did you mean 'text'\?\)"):
        list(iterate_rows(path, ["n", "txt"]))


def test_a_list_in_a_column_that_nobody_asks_for_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "x", "tags": ["y"]}\n{"tags": []}')
    assert list(iterate_rows(tmp_path / "a.jsonl", ["a"])) == [{"a": "x"}, {"a": ""}]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_reading_takes_the_memory_of_a_few_rows(tmp_path: Path, name: str) -> None:
    """8 MB of rows take less than 1 MB (they are not kept here), whatever the format."""
    rows = [{"text": f"{number:07d}" + "x" * 3_993, "n": number % 2} for number in range(2_000)]
    if name == "a.csv":
        (tmp_path / name).write_text("text,n\n" + "".join(f"{row['text']},{row['n']}\n" for row in rows))
    elif name == "a.jsonl":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name, row_group_size=100)
    del rows
    next(iterate_rows(tmp_path / name))  # imports
    tracemalloc.start()
    try:
        assert sum(1 for _ in iterate_rows(tmp_path / name)) == 2_000
        assert tracemalloc.get_traced_memory()[1] < (3_000_000 if name == "a.parquet" else 1_000_000)
    finally:
        tracemalloc.stop()


def test_of_parquet_the_other_columns_are_not_read(tmp_path: Path) -> None:
    rows = [{"text": "x" * 4_000, "n": number} for number in range(256)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    next(iterate_rows(tmp_path / "a.parquet", ["n"]))  # imports
    tracemalloc.start()
    try:
        assert len(list(iterate_rows(tmp_path / "a.parquet", ["n"]))) == 256
        assert tracemalloc.get_traced_memory()[1] < 500_000  # the texts take a million
    finally:
        tracemalloc.stop()


def test_truth_values_and_fractions_are_written_as_in_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": true, "b": 1.50}')
    assert read_rows(tmp_path / "a.jsonl") == [{"a": "true", "b": "1.5"}]


def test_what_is_not_a_number_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": NaN}\n{"a": null}\n{"a": 0.5}\n', encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"a": [float("nan"), None, 0.5]}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert [row["a"] for row in read_rows(tmp_path / name)] == ["", "", "0.5"]


def test_empty_lines_stand_before_a_header_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n\r\na,b\n1,2\n", encoding="utf-8")
    assert read_rows(tmp_path / "a.csv") == [{"a": "1", "b": "2"}]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read_rows(tmp_path / "none.csv")


def test_compressed_files_give_the_same_rows(tmp_path: Path) -> None:
    contents = {
        "a.csv.gz": '\ufefftext,n\n"Ünï, ""code""",1\n"two\nlines\u2028",\n',
        "a.TSV.GZ": 'text\tn\n"Ünï, ""code"""\t1\n"two\nlines\u2028"\t\n',
        "a.jsonl.gz": '{"text": "Ünï, \\"code\\"", "n": 1}\n{"text": "two\\nlines\u2028", "n": null}\n',
        "a.json.gz": '{"data": [{"text": "Ünï, \\"code\\"", "n": 1}, {"text": "two\\nlines\u2028", "n": null}]}',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
        assert read_rows(tmp_path / name) == TWO_ROWS
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress("text,n\ncafé,1\n".encode("utf-16")))
    assert read_rows(tmp_path / "b.csv.gz") == [{"text": "café", "n": "1"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (",text,n\n0,a,1\n1,b,2\n", ["column 1"]),  # pandas' index
        ("text,n,,\na,1,,\nb,2,,\n,,,\n,,,\n", ["2 empty rows"]),
        ("text,n,,\na,1\nb,2,,\n", []),  # a spreadsheet writes some rows without their empty end
        ("text,n\na,1,,\nb,2\n", []),
        ("text,,n\na,note,1\nb,,2\n", ["column 2"]),
        ("sep=;\ntext;n\na;1\nb;2\n", []),
        ('\ufeff"sep=|"\r\ntext|n\r\na|1\r\nb|2\r\n', []),
    ],
)
def test_what_others_write_around_the_rows_is_left_out_and_said(
    tmp_path: Path, content: str, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="utf-8", newline="")
    for _ in range(2):
        assert read_rows(tmp_path / "a.csv") == [{"text": "a", "n": "1"}, {"text": "b", "n": "2"}]
    assert [word in message for word, message in zip(said, caplog.messages, strict=True)] == [True] * len(said)


def test_an_empty_row_between_others_stays_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\na,1\n,\nb,2\n", encoding="utf-8")
    assert read_rows(tmp_path / "a.csv")[1] == {"text": "", "n": ""}


def test_a_cell_may_be_as_long_as_a_web_page(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text,html\na,{'<p>' * 50_000}\n", encoding="utf-8")
    assert len(read_rows(tmp_path / "a.csv")[0]["html"]) == 150_000


def test_other_columns_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "x", "tags": ["y", {"é": 1}], "n": 1}\n', encoding="utf-8")
    (row,) = iterate_rows(tmp_path / "a.jsonl", ["a"], others=True)
    assert row == {"a": "x", "tags": '["y", {"é": 1}]', "n": "1"}
    with pytest.raises(UserError, match=r"row 1, column 'tags' holds list"):
        list(iterate_rows(tmp_path / "a.jsonl", ["tags"], others=True))


def test_text_of_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    column = pyarrow.array([b"\xff"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: .*not UTF-8"):
        read_rows(tmp_path / "a.parquet")
