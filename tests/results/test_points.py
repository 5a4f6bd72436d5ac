"""The points of plots: what is averaged, over what its interval is, and which models share a line."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from described import describe
from made_up import MadeUpStore, config, rewrite, settings

from ia2.commands.train import first_phase
from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import METHODS
from ia2.results.compare import SCORES, interval_of
from ia2.results.costs import seconds_to_train, training_seconds
from ia2.results.frame import in_condition, points, rows_of, tidy
from ia2.results.records import examine_records
from ia2.results.runs import TrainedRun, config_key, read_runs


def at(points: pd.DataFrame, **fields: Any) -> pd.Series:
    """The one point with these fields."""
    for name, value in fields.items():
        points = points[points[name] == value]
    (point,) = [row for _, row in points.iterrows()]
    return point


def tok(store: MadeUpStore, accuracy: float, num: int = 8, run_idx: int = 0, **changes: Any) -> None:
    asked = settings(run_idx=run_idx, num_train_examples=num)
    store.adapter(config("tok", run_idx, num_train_examples=num, **changes), accuracy, 0.5, eval=asked)


def test_a_point_is_the_mean_over_the_runs_of_the_chosen_rate(full_store: MadeUpStore) -> None:
    found = points(full_store.scores(), "accuracy")
    assert list(found["method"]) == ["base", "base", "tok", "act", "a2t"]
    a2t = at(found, method="a2t")
    assert (a2t["mean"], a2t["values"], a2t["n"]) == (85, (80, 85, 90), 3)
    assert (a2t["num_train_examples"], a2t["num_examples"], a2t["majority"]) == (8, 40, 2.5)
    assert math.isnan(a2t["floor"])
    assert at(found, method="base", with_icl=True)["values"] == (72.5, 77.5, 75)
    assert at(points(full_store.scores(), "ece_equal_count"), method="a2t")["floor"] == 0.11


def test_an_accuracy_has_the_interval_of_the_tables(full_store: MadeUpStore) -> None:
    found = points(full_store.scores(), "accuracy")
    assert [(one.low, one.high) for one in rows_of(found)] == [(row.low, row.high) for row in full_store.rows()]
    assert set(found["over"]) == {"examples"}


def test_a_calibration_error_has_an_interval_over_runs_and_only_from_three(store: MadeUpStore) -> None:
    for run_idx, ece in enumerate((0.1, 0.2, 0.3)):
        metrics = {"without_icl_accuracy": 70.0, "without_icl_ece_equal_count": ece}
        asked = settings(run_idx=run_idx)
        store.adapter(config("tok", run_idx), 70.0, 0.5, metrics=metrics, eval=asked)
    point = at(points(store.scores(), "ece_equal_count"))
    # t of 2 degrees is 4.303; sd 0.1
    half = 4.3027 * 0.1 / math.sqrt(3)
    assert (point["low"], point["high"]) == pytest.approx((0.2 - half, 0.2 + half), rel=1e-4)
    assert point["over"] == "runs"
    store.written[2].unlink()
    assert math.isnan(at(points(store.scores(), "ece_equal_count"))["low"])


def test_n_makes_a_line_and_another_field_another_line(store: MadeUpStore) -> None:
    for num in (4, 8):
        tok(store, 50.0 + 2.5 * num, num)
        tok(store, 30.0 + 2.5 * num, num, label_type="icl_outputs")
    tok(store, 20.0, label_type="icl_outputs", num_generated_tokens=1)
    found = points(store.scores(), "accuracy")
    lines = found.groupby("name", sort=False)["num_train_examples"].agg(list).to_dict()
    assert lines == {
        "tok (SFT) [num_generated_tokens 1, label_type icl_outputs]": [8],
        "tok (SFT) [num_generated_tokens 8, label_type ground_truth]": [4, 8],
        "tok (SFT) [num_generated_tokens 8, label_type icl_outputs]": [4, 8],
    }
    assert list(found["variation"]) == [0, 1, 1, 2, 2]
    assert at(found, variation=2, num_train_examples=4)["mean"] == 40


def test_the_rates_of_each_n_are_chosen_and_stand_on_one_line(store: MadeUpStore) -> None:
    for num, losses in ((4, (0.5, 0.9)), (8, (0.9, 0.5))):
        for lr, loss in zip((1e-4, 1e-3), losses, strict=True):
            asked = settings(num_train_examples=num)
            settled = config("tok", 0, lr, num_train_examples=num)
            store.run(settled, loss)
            store.adapter(settled, 100 * loss, loss, eval=asked)
    found = points(store.scores(), "accuracy")
    assert list(found["name"]) == ["tok (SFT)"] * 2
    assert list(found["mean"]) == [50, 50]


def test_adapters_are_shown_in_one_pass_and_the_base_model_in_both(store: MadeUpStore) -> None:
    store.base((1.0, 70.0))
    tok(store, 50.0)
    found = points(store.scores(), "accuracy")
    assert list(in_condition(found, False)["name"]) == [
        "Base, no demonstrations",
        "Base + demonstrations (teacher)",
        "tok (SFT)",
    ]
    assert list(in_condition(found, True)["method"]) == ["base", "base"]


def test_a_metric_that_was_not_measured_has_no_points(full_store: MadeUpStore) -> None:
    found = points(full_store.scores(), "entropy")
    assert found.empty


# Scores of examples


SURE = np.linspace(0.1, 0.9, 40)
COLUMN_OF = {
    "gold_rank": np.arange(40) % 12,
    "gold_log_prob": -np.linspace(0.1, 3, 40),
    "confidence": SURE,
    "entropy": np.linspace(0, 2, 40),
    "response_entropy": np.linspace(0, 1, 40),
    "gold_label_log_prob": [-0.7] * 40,
    "label_probabilities": [[0.1 * one, 0.3 * one] for one in SURE],
}
MEANS = {
    "accuracy": 70.0,
    "top1_accuracy": 100 * 4 / 40,
    "top5_accuracy": 100 * 19 / 40,
    "top10_accuracy": 100 * 34 / 40,
    "nll": 1.55,
    "uncertainty": 0.5,
    "entropy": 1.0,
    "response_entropy": 0.5,
    "label_nll": 0.7,
    "label_uncertainty": 0.25,
    "label_entropy": -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)),
}


@pytest.mark.parametrize("metric", SCORES)
def test_the_interval_of_a_mean_over_examples_is_of_its_own_column(store: MadeUpStore, metric: str) -> None:
    path = store.adapter(config("tok"), 70.0, 0.5)
    rewrite(path, **{name: list(values) for name, values in COLUMN_OF.items()})
    interval = interval_of(metric, [str(path)], False, [0.0])
    assert interval.low <= MEANS[metric] + 1e-9
    assert interval.high >= MEANS[metric] - 1e-9
    if metric.startswith("label_"):  # the shares are the same for all examples
        assert (interval.low, interval.high) == pytest.approx((MEANS[metric],) * 2)
    elif MEANS[metric] > 12.5:  # 5 of 40; fewer have a longer end away from 0
        assert (interval.low + interval.high) / 2 == pytest.approx(MEANS[metric], rel=0.15)


def test_runs_on_different_examples_have_no_common_interval(store: MadeUpStore) -> None:
    paths = [store.adapter(config("tok", run_idx), 70.0, 0.5) for run_idx in (0, 1)]
    rewrite(paths[1], idx=range(1, 41))
    with pytest.raises(UserError, match="runs of one configuration on different examples"):
        interval_of("nll", list(map(str, paths)), False, [1.0, 1.0])


def test_damaged_examples_are_named_with_the_remedy(store: MadeUpStore) -> None:
    path = store.adapter(config("tok"), 70.0, 0.5)
    parquet = path.with_suffix(".parquet")
    content = parquet.read_bytes()
    parquet.write_bytes(content[:4] + b"x" * (len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(
        UserError, match=r"record000\.parquet: its rows cannot be read .*; delete it and record000\.json"
    ):
        interval_of("nll", [str(path)], False, [1.0])


def test_lines_of_one_method_are_in_the_order_of_the_numbers_that_tell_them_apart(store: MadeUpStore) -> None:
    for num_tokens in (16, 2):
        tok(store, 50.0, num_generated_tokens=num_tokens)
    found = points(store.scores(), "accuracy")
    assert list(found["details"]) == ["num_generated_tokens 2", "num_generated_tokens 16"]
    assert list(found["variation"]) == [0, 1]


# Costs


def trained(method: str, seconds: float | None, **changes: Any) -> TrainedRun:
    return TrainedRun(config(method, **changes), 0.5, seconds=seconds)


def test_the_seconds_of_a_second_phase_hold_those_of_the_first() -> None:
    runs = {run.key: run for run in (trained("act", 30.0), trained("a2t", 4.0), trained("ia3-tok", 7.0))}
    assert seconds_to_train(config("a2t"), runs) == 34
    assert seconds_to_train(config("ia3-tok"), runs) == 7
    assert seconds_to_train(config("a2t", continue_training="somewhere"), runs | {
        config_key(one.config): one for one in [trained("a2t", 5.0, continue_training="somewhere")]
    }) == 5  # fmt: skip
    assert math.isnan(seconds_to_train(config("t2a"), runs)), "neither of its phases is known"
    assert math.isnan(seconds_to_train(config("a2t"), {run.key: run for run in (trained("a2t", 4.0),)}))


def test_the_table_and_the_plot_show_the_seconds_of_all_phases(store: MadeUpStore) -> None:
    """A run that went through both phases itself says so; one that starts from another adds that."""
    for method, phases in (("act", {"act": 36.0}), ("a2t", {"tok": 18.0})):
        folder = store.run(config(method), 0.5)
        told = json.loads((folder / "final_loss_statistics.json").read_text())
        seconds = {name: {"seconds": number} for name, number in phases.items()}
        whole = told | {"seconds": list(phases.values())[-1], "phases": seconds}
        (folder / "final_loss_statistics.json").write_text(json.dumps(whole))
        describe(folder, {"config": config(method).identity()})
        store.adapter(config(method), 60.0, 0.5)
    records = examine_records(store.root).found
    runs = read_runs(store.root, records)
    table = {row.method: row.train_seconds for row in store.rows()}
    plotted = points(store.scores(), "accuracy").set_index("method")["train_seconds"].to_dict()
    tidied = tidy(records, training_seconds(records, runs)).groupby("method")["train_seconds"].first().to_dict()
    assert table == plotted == tidied == {"act": 36.0, "a2t": 54.0}
    both = config("a2t", continue_training="somewhere")
    folder = store.run(both, 0.5)
    told = json.loads((folder / "final_loss_statistics.json").read_text())
    seconds = {"act": {"seconds": 30.0}, "tok": {"seconds": 4.0}}
    (folder / "final_loss_statistics.json").write_text(json.dumps(told | {"seconds": 4.0, "phases": seconds}))
    describe(folder, {"config": both.identity()})
    assert seconds_to_train(both, {run.key: run for run in read_runs(store.root)}) == 34


@pytest.mark.parametrize("method", METHODS)
def test_the_first_phases_are_those_that_training_takes(method: str) -> None:
    asked = TrainConfig(training_method=method, label_type="icl_outputs")
    first = first_phase(asked)
    assert (first and first.method.variant) == {"a2t": "act", "t2a": "tok"}.get(asked.method.variant)
