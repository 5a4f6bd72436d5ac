"""Overlaps as a table of text."""

from pathlib import Path

from made_up_comparisons import run, write_overlap

from ia2.analysis.subspace import examine_overlaps
from ia2.report.overlap_table import overlap_table


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
