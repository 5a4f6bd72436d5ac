"""Stored overlaps: read strictly as one frame, and shown."""

import logging
from pathlib import Path

import pytest
from made_up_comparisons import run, write_overlap

from ia2.errors import UserError
from ia2.report.overlap_table import overlap_table
from ia2.report.overlaps import PAIR_COLUMNS, ROW_COLUMNS, examine_overlaps, read_overlaps


def test_a_row_says_which_pair_it_is_of(tmp_path: Path) -> None:
    write_overlap(tmp_path, "one", 0.25)
    write_overlap(tmp_path, "two", relation="runs", config_b=run(run_idx=3))
    frame = read_overlaps(tmp_path)
    assert list(frame.columns) == [*PAIR_COLUMNS, *ROW_COLUMNS]
    assert frame["relation"].tolist() == ["methods"] * 2 + ["runs"] * 2
    assert frame["method_b"].tolist() == ["tok"] * 2 + ["act"] * 2
    assert frame["run_idx_b"].tolist() == [0, 0, 3, 3]
    assert frame["left_overlap"].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert frame["num_train_examples"].tolist() == [8] * 4


def test_an_empty_store_and_a_pair_without_rows_give_an_empty_frame(tmp_path: Path) -> None:
    assert list(read_overlaps(tmp_path).columns) == [*PAIR_COLUMNS, *ROW_COLUMNS]
    write_overlap(tmp_path, "absent", num_rows=0)
    examined = examine_overlaps(tmp_path)
    assert (len(examined.frame), len(examined.found), examined.problems) == (0, 1, ())


def test_a_newer_schema_stops_the_reading(tmp_path: Path) -> None:
    write_overlap(tmp_path, "one", schema=3)
    with pytest.raises(UserError, match="has schema 3, newer than 2"):
        read_overlaps(tmp_path)


def test_what_is_not_whole_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_overlap(tmp_path, "whole")
    broken = write_overlap(tmp_path, "broken")
    broken.with_suffix(".parquet").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(read_overlaps(tmp_path)) == 2
    assert f"{broken} is not counted: " in caplog.text


def test_the_table_shows_chance_without_a_spread_and_the_control_below(tmp_path: Path) -> None:
    for name, value in (("0", 0.25), ("1", 0.75)):
        write_overlap(tmp_path, f"methods{name}", value)
    write_overlap(tmp_path, "control", 0.125, relation="runs", config_b=run(run_idx=1))
    write_overlap(tmp_path, "absent", num_rows=0, config_b=run("tna"))
    lines = overlap_table(examine_overlaps(tmp_path).found).splitlines()
    assert lines[0] == "capitals, N = 8, Qwen3-4B-Base"
    found = {line.split("  ")[0]: line.split() for line in lines}
    spread = ["0.500", "±", "0.354"]
    assert found["act, tok"][2:] == [*spread, "0.500", *spread, "0.500", *spread, "0.500", *spread, "2"]
    assert found["act, act"][2:] == ["0.125"] * 7 + ["1"]
    assert found["act, tna"][2:] == ["–"] * 7 + ["1"]
    order = [lines.index(next(line for line in lines if line.startswith(start))) for start in ("act, tok", "control")]
    assert order == sorted(order)
