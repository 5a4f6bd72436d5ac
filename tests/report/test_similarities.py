"""Stored similarities: read strictly, and averaged as worked out by hand."""

import json
import logging
import math
from pathlib import Path

import pytest
from made_up_comparisons import ROWS, similarity, write_similarity

from ia2.errors import UserError
from ia2.report.similarities import (
    by_layer,
    by_layer_and_token,
    by_token,
    cosines,
    examine_similarities,
    overall,
    per_example,
    read_similarities,
)
from ia2.report.similarity_table import similarity_table
from ia2.store import write_json


def test_tokens_are_averaged_within_an_example_first(tmp_path: Path) -> None:
    write_similarity(tmp_path)
    (one,) = read_similarities(tmp_path)
    assert len(cosines(one)) == len(ROWS)
    token = by_token(one)
    assert token.to_dict("list") == {
        "token": [0, 1],
        "cosine": [pytest.approx((0.75 + 0.5) / 2), 0.25],
        "sd": [pytest.approx(0.25 / math.sqrt(2)), pytest.approx(math.nan, nan_ok=True)],
        "n": [2, 1],
    }
    both = by_layer_and_token(one)
    assert list(both.columns) == ["layer", "token", "cosine", "sd", "n"]
    assert both[["layer", "token", "cosine", "n"]].values.tolist() == [
        [0, 0, pytest.approx(0.625), 2],
        [0, 1, 0.0, 1],
        [1, 0, pytest.approx(0.625), 2],
        [1, 1, 0.5, 1],
    ]
    assert per_example(one).to_dict("list") == {"idx": [5, 9], "cosine": [0.5, 0.5], "num_tokens": [2, 1]}


def test_numbers_of_the_whole_are_those_of_the_json_and_what_is_not_known_is_nan(tmp_path: Path) -> None:
    write_similarity(tmp_path)
    (one,) = read_similarities(tmp_path)
    assert (overall(one).mean, overall(one).sd, overall(one).n) == (0.5, 0.0, 2)
    layers = by_layer(one)
    assert list(layers.columns) == ["layer", "cosine", "sd", "n"]
    assert layers["cosine"][0] == 0.375
    assert layers[["cosine", "sd"]].iloc[1].isna().all()


def test_a_cosine_that_is_not_defined_enters_no_mean(tmp_path: Path) -> None:
    write_similarity(tmp_path, rows=[*ROWS[:-1], (9, 1, 0, math.nan)], mean=None, sd=None)
    (one,) = read_similarities(tmp_path)
    assert math.isnan(overall(one).mean)
    assert per_example(one)["cosine"].tolist() == [0.5, 0.25]
    counts = by_layer_and_token(one)
    assert counts[(counts["layer"] == 1) & (counts["token"] == 0)]["n"].item() == 1


def test_an_empty_store_holds_none(tmp_path: Path) -> None:
    assert read_similarities(tmp_path) == ()


def test_a_newer_schema_stops_the_reading(tmp_path: Path) -> None:
    write_similarity(tmp_path, "one")
    write_similarity(tmp_path, "two", schema=3)
    with pytest.raises(UserError, match=r"two\.json has schema 3, newer than 2, .* update ia2"):
        read_similarities(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "no parquet", "cut parquet", "field", "method"])
def test_what_is_not_whole_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    whole, path = write_similarity(tmp_path, "whole"), write_similarity(tmp_path, "broken")
    match damage:
        case "cut":
            path.write_text(path.read_text()[:50])
        case "no parquet":
            path.with_suffix(".parquet").unlink()
        case "cut parquet":
            path.with_suffix(".parquet").write_bytes(b"PAR1")
        case "field":
            write_json(path, {key: value for key, value in similarity().items() if key != "eval_sha256"})
        case "method":
            write_json(path, similarity(run={"training_method": "atc"}))
    with caplog.at_level(logging.WARNING):
        assert [one.path for one in read_similarities(tmp_path)] == [whole]
    assert f"{path} is not counted: " in caplog.text
    (problem,) = examine_similarities(tmp_path).problems
    assert problem.path == path
    assert problem.reason in caplog.text


def test_what_is_being_written_is_not_read(tmp_path: Path) -> None:
    path = write_similarity(tmp_path)
    path.rename(path.with_name(f".{path.name}"))
    assert read_similarities(tmp_path) == ()


def test_the_table_pools_runs_alone_and_tells_configurations_apart(tmp_path: Path) -> None:
    run = similarity()["run"]
    for run_idx, mean in ((0, 0.8), (1, 0.9)):
        write_similarity(tmp_path, f"low{run_idx}", mean=mean, run_idx=run_idx, run={**run, "run_idx": run_idx})
    write_similarity(tmp_path, "high", mean=0.5, run={**run, "lr": 1e-3})
    write_similarity(tmp_path, "other", mean=0.7, reference="other_demonstrations", run={**run, "lr": 1e-3})
    write_similarity(tmp_path, "base", mean=0.25, method="base", run=None)
    write_similarity(tmp_path, "pair", mean=0.6, reference="tok", reference_run={**run, "training_method": "tok"})
    write_similarity(tmp_path, "unknown", mean=None, method="tok", run={**run, "training_method": "tok"})
    lines = [line.split() for line in similarity_table(read_similarities(tmp_path)).splitlines()]
    assert lines[3:7] == [
        ["base", "0.250", "–", "1"],
        ["tok", "–", "–", "1"],
        ["act", "[lr", "0.001]", "0.500", "0.700", "1"],
        ["act", "[lr", "0.0001]", "0.850", "±", "0.071", "–", "2"],
    ]
    assert ["act,", "tok", "0.600", "1"] in lines


def test_the_table_keeps_evaluation_sets_apart(tmp_path: Path) -> None:
    write_similarity(tmp_path, "one")
    write_similarity(tmp_path, "two", eval_dataset="towns", mean=0.125)
    table = similarity_table(read_similarities(tmp_path))
    assert table.index("capitals (2 examples") < table.index("0.500") < table.index("towns (2") < table.index("0.125")


def test_the_json_needs_no_more_than_it_says(tmp_path: Path) -> None:
    """What a later version adds is no obstacle."""
    path = write_similarity(tmp_path, added_later=1)
    assert json.loads(path.read_text())["added_later"] == 1
    assert len(read_similarities(tmp_path)) == 1
