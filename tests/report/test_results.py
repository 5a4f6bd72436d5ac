import json

import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings

from ia2.errors import UserError
from ia2.report.results import MEASURED, load_examples, read_results, tidy


def test_one_row_per_record_and_metric_with_every_field_a_column(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    store.adapter(config("tok"), 70.0, 0.5)
    frame = tidy(read_results(store.root).records)
    base, tok = frame[frame["method"] == "base"], frame[frame["method"] == "tok"]
    # 7 metrics for each of two passes, floor and seconds for each, majority class and memory
    assert len(base) == 2 * 7 + 2 * 2 + 2
    assert len(tok) == 7 + 2 + 2
    assert frame[["record", "metric"]].duplicated().sum() == 0
    assert set(settings()) | set(config("tok").applicable()) - {"torch_dtype"} <= set(frame.columns)
    values = tok.set_index("metric")["value"]
    assert values["without_icl_accuracy"] == 70.0
    assert values["without_icl_ece_floor"] == 0.11
    assert values["majority_class_accuracy"] == 2.5


def test_a_metric_that_was_not_measured_is_absent(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    frame = tidy(read_results(store.root).records)
    assert not frame["metric"].str.startswith("with_icl").any()
    assert frame["value"].notna().all()


def test_fields_of_training_and_evaluation_are_kept_apart(store: MadeUpStore) -> None:
    store.adapter(config("tok", stop="eos"), 70.0, 0.5)
    row = tidy(read_results(store.root).records).iloc[0]
    assert (row["stop"], row["train_stop"]) == ("separator", "eos")
    assert row["train_seconds"] == 25.0
    assert "lora_r" not in MEASURED
    assert row["lora_r"] == 8


def test_fields_that_mean_nothing_to_a_method_are_no_columns(store: MadeUpStore) -> None:
    store.adapter(config("act"), 70.0, 0.5)
    assert "label_type" not in tidy(read_results(store.root).records)


def test_integers_stay_integers_beside_records_that_lack_them(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    store.adapter(config("tok"), 70.0, 0.5)
    frame = tidy(read_results(store.root).records)
    assert pd.api.types.is_integer_dtype(frame["lora_r"])
    assert frame.loc[frame["method"] == "base", "lora_r"].isna().all()


def test_a_field_added_later_becomes_a_column(store: MadeUpStore) -> None:
    store.base((0.0, 75.0), eval=settings(control="wrong_labels"))
    assert set(tidy(read_results(store.root).records)["control"]) == {"wrong_labels"}


def test_no_records_give_an_empty_frame(store: MadeUpStore) -> None:
    results = read_results(store.root)
    assert results.records == results.problems == ()
    assert tidy(results.records).empty


@pytest.mark.parametrize("length", [0, 1, 40, 400])
def test_a_truncated_record_is_a_problem_and_counts_nowhere(store: MadeUpStore, length: int) -> None:
    store.base((0.0, 75.0))
    path = store.base((0.0, 50.0), run_idx=1)
    path.write_bytes(path.read_bytes()[:length])
    results = read_results(store.root)
    assert [record.settings.run_idx for record in results.records] == [0]
    assert [problem.path for problem in results.problems] == [path]
    assert "not a whole record" in results.problems[0].reason


def test_a_record_without_whole_rows_is_a_problem(store: MadeUpStore) -> None:
    gone, cut = store.base((0.0, 75.0)), store.base((0.0, 75.0), run_idx=1)
    gone.with_suffix(".parquet").unlink()
    rows = cut.with_suffix(".parquet")
    rows.write_bytes(rows.read_bytes()[:-20])
    results = read_results(store.root)
    assert not results.records
    assert ["rows cannot be read" in problem.reason for problem in results.problems] == [True, True]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metrics": {"without_icl_accuracy": None}}, "metrics.without_icl_accuracy"),
        ({"metrics": {"without_icl_accuracy": "much"}}, "metrics.without_icl_accuracy"),
        ({"kind": "adapter"}, "record"),
        ({"eval": {"eval_dataset": "capitals"}}, "eval.icl_source_dataset"),
    ],
)
def test_a_malformed_record_is_a_problem_that_names_the_field(store: MadeUpStore, changes: dict, field: str) -> None:
    path = store.base((0.0, 75.0))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    results = read_results(store.root)
    assert not results.records
    assert field in results.problems[0].reason


def test_a_run_that_no_version_knows_is_a_problem(store: MadeUpStore) -> None:
    path = store.adapter(config("tok"), 70.0, 0.5)
    content = json.loads(path.read_text())
    content["run"]["training_method"] = "telepathy"
    path.write_text(json.dumps(content))
    assert "telepathy" in read_results(store.root).problems[0].reason


def test_a_newer_schema_is_an_error(store: MadeUpStore) -> None:
    store.base((0.0, 75.0), schema=2)
    with pytest.raises(UserError, match="schema 2"):
        read_results(store.root)


def test_names_with_a_dot_are_leftovers_and_not_read(store: MadeUpStore) -> None:
    path = store.base((0.0, 75.0))
    path.with_name(".half.json").write_text("{")
    results = read_results(store.root)
    assert len(results.records) == 1
    assert not results.problems


def test_examples_are_ordered_by_pass_and_index(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    (record,) = read_results(store.root).records
    rows = load_examples(record)
    assert list(rows["idx"]) == 2 * list(range(record.num_examples))
    assert list(rows["with_icl"]) == [False] * record.num_examples + [True] * record.num_examples
    assert rows.loc[rows["with_icl"], "correct"].sum() == 30  # 75% of 40
    assert rows["parsed"].isna().any()
