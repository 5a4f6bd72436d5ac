"""Similarities and overlaps as tables of text."""

from pathlib import Path

from made_up_comparisons import run, similarity, write_overlap, write_similarity

from ia2.analysis.similarity import examine_similarities
from ia2.analysis.subspace import examine_overlaps
from ia2.tables import overlap_table, similarity_table


def test_similarities_pool_runs_alone_and_tells_configurations_apart(tmp_path: Path) -> None:
    run = similarity()["run"]
    for run_idx, mean in ((0, 0.8), (1, 0.9)):
        write_similarity(tmp_path, f"low{run_idx}", mean=mean, run_idx=run_idx, run={**run, "run_idx": run_idx})
    write_similarity(tmp_path, "high", mean=0.5, run={**run, "lr": 1e-3})
    write_similarity(tmp_path, "other", mean=0.7, reference="other_demonstrations", run={**run, "lr": 1e-3})
    write_similarity(tmp_path, "base", mean=0.25, method="base", run=None)
    write_similarity(tmp_path, "pair", mean=0.6, reference="tok", reference_run={**run, "training_method": "tok"})
    write_similarity(tmp_path, "unknown", mean=None, method="tok", run={**run, "training_method": "tok"})
    lines = [line.split() for line in similarity_table(examine_similarities(tmp_path).found).splitlines()]
    assert lines[3:7] == [
        ["base", "0.250", "–", "1"],
        ["tok", "–", "–", "1"],
        ["act", "[lr", "0.001]", "0.500", "0.700", "1"],
        ["act", "[lr", "0.0001]", "0.850", "±", "0.071", "–", "2"],
    ]
    assert ["act,", "tok", "0.600", "1"] in lines


def test_similarities_keep_evaluation_sets_apart(tmp_path: Path) -> None:
    write_similarity(tmp_path, "one")
    write_similarity(tmp_path, "two", eval_dataset="towns", mean=0.125)
    table = similarity_table(examine_similarities(tmp_path).found)
    assert table.index("capitals (2 examples") < table.index("0.500") < table.index("towns (2") < table.index("0.125")


def test_overlaps_show_chance_without_a_spread_and_the_control_below(tmp_path: Path) -> None:
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
