import json
import math

import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings, training

from ia2.errors import UserError
from ia2.results.costs import training_seconds
from ia2.results.frame import MEASURED, tidy
from ia2.results.records import examine_records
from ia2.results.runs import read_runs
from ia2.store import file_digest, read_object, write_object


def tidy_of(store: MadeUpStore) -> pd.DataFrame:
    records = examine_records(store.root).found
    return tidy(records, training_seconds(records, read_runs(store.root, records)))


def test_one_row_per_record_and_metric_with_every_field_a_column(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    store.adapter(config("tok"), 70.0, 0.5)
    frame = tidy_of(store)
    base, tok = frame[frame["method"] == "base"], frame[frame["method"] == "tok"]
    # 7 metrics for each of two passes, floor and seconds for each, majority class and memory
    assert len(base) == 2 * 7 + 2 * 2 + 2
    assert len(tok) == 7 + 2 + 2
    assert frame[["record", "metric"]].duplicated().sum() == 0
    assert set(settings()) | set(config("tok").relevant_fields()) - {"torch_dtype"} <= set(frame.columns)
    values = tok.set_index("metric")["value"]
    assert values["without_icl_accuracy"] == 70.0
    assert values["without_icl_ece_floor"] == 0.11
    assert values["majority_class_accuracy"] == 2.5


def test_a_metric_that_was_not_measured_is_absent(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    frame = tidy_of(store)
    assert not frame["metric"].str.startswith("with_icl").any()
    assert frame["value"].notna().all()


def test_fields_of_training_and_evaluation_are_kept_apart(store: MadeUpStore) -> None:
    store.adapter(config("tok", stop="eos"), 70.0, 0.5)
    row = tidy_of(store).iloc[0]
    assert (row["stop"], row["train_stop"]) == ("separator", "eos")
    assert row["train_seconds"] == 25.0
    assert "lora_r" not in MEASURED
    assert row["lora_r"] == 8


def test_fields_that_mean_nothing_to_a_method_are_no_columns(store: MadeUpStore) -> None:
    store.adapter(config("act"), 70.0, 0.5)
    assert "label_type" not in tidy_of(store)


def test_integers_stay_integers_beside_records_that_lack_them(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    store.adapter(config("tok"), 70.0, 0.5)
    frame = tidy_of(store)
    assert pd.api.types.is_integer_dtype(frame["lora_r"])
    assert frame.loc[frame["method"] == "base", "lora_r"].isna().all()


def twins(store: MadeUpStore, order: tuple[bool, ...]) -> None:
    """A base record of both passes, and one of the pass without demonstrations with its uncertainty."""
    for uncertain in order:
        asked = settings(uncertainty_analysis=uncertain)
        if uncertain:
            metrics = {"without_icl_accuracy": 10.0, "without_icl_entropy": 1.5}
            content = store.content("base", None, 0, metrics) | {"eval": asked}
            store.write(content | {"peak_memory_bytes": None}, "base", "")
        else:
            store.base((10.0, 75.0), eval=asked)


@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_what_was_measured_with_and_without_uncertainty_counts_once(store: MadeUpStore, order: tuple) -> None:
    twins(store, order)
    frame = tidy_of(store).set_index("metric")
    assert frame.index.is_unique
    taken = frame["uncertainty_analysis"]
    assert taken["without_icl_accuracy"]
    assert taken["without_icl_entropy"]
    assert not taken["with_icl_accuracy"], "a pass that only the other record has is kept"
    assert not taken["without_icl_nll"]
    assert not taken["peak_memory_bytes"]


@pytest.mark.parametrize("uncertain", [False, True])
def test_the_same_measurement_twice_is_an_error_that_names_both_files(store: MadeUpStore, uncertain: bool) -> None:
    asked = settings(uncertainty_analysis=uncertain)
    first = store.adapter(config("tok"), 70.0, 0.5, eval=asked)
    store.adapter(config("tok", 1), 70.0, 0.5, eval=asked | {"run_idx": 1})
    again = store.adapter(config("tok"), 70.0, 0.6, eval=asked)
    with pytest.raises(UserError) as caught:
        tidy_of(store)
    assert str(caught.value) == f"{first} and {again} record the same run and settings: delete one"


def test_each_dev_loss_is_a_column_of_its_own(store: MadeUpStore) -> None:
    store.adapter(config("act"), 70.0, 0.5, train={**training(0.5), "dev_losses": {"act": 0.5}})
    store.adapter(config("tok"), 70.0, 0.5)
    frame = tidy_of(store).drop_duplicates("record").set_index("method")
    assert frame["dev_loss_act"]["act"] == 0.5
    assert pd.isna(frame["dev_loss_act"]["tok"])
    assert {"dev_losses", "seconds"}.isdisjoint(frame.columns)
    assert "dev_loss_act" in MEASURED


def test_what_came_out_stands_behind_what_was_asked(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    store.adapter(config("tok"), 70.0, 0.5)
    columns = list(tidy_of(store).columns)
    assert columns[:3] == ["record", "kind", "method"]
    assert columns[-2:] == ["metric", "value"]
    assert columns.index("lora_r") < columns.index("labels_train")


def test_a_field_added_later_becomes_a_column(store: MadeUpStore) -> None:
    store.base((0.0, 75.0), eval=settings(control="wrong_labels"))
    assert set(tidy_of(store)["control"]) == {"wrong_labels"}


def test_no_records_give_an_empty_frame(store: MadeUpStore) -> None:
    results = examine_records(store.root)
    assert results.found == results.problems == ()
    assert tidy(results.found, {}).empty


@pytest.mark.parametrize("length", [0, 1, 40, 400])
def test_a_truncated_record_is_a_problem_and_counts_nowhere(store: MadeUpStore, length: int) -> None:
    store.base((0.0, 75.0))
    path = store.base((0.0, 50.0), run_idx=1)
    path.write_bytes(path.read_bytes()[:length])
    results = examine_records(store.root)
    assert [record.settings.run_idx for record in results.found] == [0]
    assert [problem.path for problem in results.problems] == [path]
    assert "not a whole record" in results.problems[0].reason


def test_a_record_without_whole_rows_is_a_problem(store: MadeUpStore) -> None:
    gone, cut = store.base((0.0, 75.0)), store.base((0.0, 75.0), run_idx=1)
    gone.with_suffix(".parquet").unlink()
    rows = cut.with_suffix(".parquet")
    rows.write_bytes(rows.read_bytes()[:-20])
    results = examine_records(store.root)
    assert not results.found
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
    results = examine_records(store.root)
    assert not results.found
    assert field in results.problems[0].reason


def test_a_run_that_no_version_knows_is_a_problem(store: MadeUpStore) -> None:
    path = store.adapter(config("tok"), 70.0, 0.5)
    content = json.loads(path.read_text())
    content["run"]["training_method"] = "telepathy"
    path.write_text(json.dumps(content))
    assert "telepathy" in examine_records(store.root).problems[0].reason


def test_a_newer_schema_is_an_error(store: MadeUpStore) -> None:
    store.base((0.0, 75.0), schema=3)
    with pytest.raises(UserError, match="schema 3"):
        examine_records(store.root)


def test_names_with_a_dot_are_leftovers_and_not_read(store: MadeUpStore) -> None:
    path = store.base((0.0, 75.0))
    path.with_name(".half.json").write_text("{")
    results = examine_records(store.root)
    assert len(results.found) == 1
    assert not results.problems


@pytest.mark.parametrize("accuracy", [0.0, 90.0, 250.0, -50.0, math.nan])
@pytest.mark.parametrize("schema", [1, 2])
def test_an_edited_accuracy_is_a_problem(store: MadeUpStore, schema: int, accuracy: float) -> None:
    path = store.base((50.0, 75.0))
    content = json.loads(path.read_text(encoding="utf-8")) | {"schema": schema}
    if schema == 2:
        write_object(path, content | {"examples_sha256": file_digest(path.with_suffix(".parquet"))})
        content = read_object(path, has_digest=True)
    assert len(examine_records(store.root).found) == 1
    content["metrics"]["without_icl_accuracy"] = accuracy
    path.write_text(json.dumps(content), encoding="utf-8")
    assert [problem.path for problem in examine_records(store.root).problems] == [path]


@pytest.mark.parametrize("name", ["brier", "parse_rate", "nll", "ece_equal_count"])
def test_a_metric_beyond_its_range_is_a_problem(store: MadeUpStore, name: str) -> None:
    path = store.base((50.0, 75.0))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metrics"][f"with_icl_{name}"] = -3.0
    path.write_text(json.dumps(content), encoding="utf-8")
    (problem,) = examine_records(store.root).problems
    assert f"with_icl_{name}=-3.0" in problem.reason


@pytest.mark.parametrize("lost", ["sha256", "examples_sha256"])
def test_a_record_of_schema_2_has_digests(store: MadeUpStore, lost: str) -> None:
    path = store.base((50.0, 75.0))
    digest = file_digest(path.with_suffix(".parquet"))
    content = json.loads(path.read_text(encoding="utf-8")) | {"schema": 2, "examples_sha256": digest}
    write_object(path, content)
    content = read_object(path)
    del content[lost]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert [problem.path for problem in examine_records(store.root).problems] == [path]
