import json
import math
from pathlib import Path

import pytest
from made_up import MadeUpStore, bins, config, rewrite, settings, training

from ia2.commands.card import measured_part
from ia2.page.answers import query_sets
from ia2.page.sections import html_table
from ia2.plots.series import reliability_series
from ia2.results.frame import aggregate, rows_of, summarise
from ia2.results.label import STYLES, in_order
from ia2.results.records import examine_records
from ia2.results.text import MISSING, number, selection_rule
from ia2.tables import COLUMNS, grids, text_table


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_the_rows_of_a_full_store_by_hand(full_store: MadeUpStore) -> None:
    rows = full_store.rows()
    assert [row.label for row in rows] == [STYLES[key].label for key in ("base", "teacher", "tok", "act", "a2t")]
    assert [row.accuracy for row in rows] == pytest.approx([0.0, 75.0, 75.0, 65.0, 85.0])
    assert [row.accuracy_sd for row in rows] == pytest.approx([0.0, 2.5, 5.0, 5.0, 5.0])
    assert {row.n for row in rows} == {3}
    assert [(row.labels_train, row.labels_dev) for row in rows] == [(0, 0), (8, 0), (8, 4), (8, 0), (8, 4)]
    assert math.isnan(rows[0].lr)
    assert rows[2].lr == 1e-3
    assert {row.details for row in rows} == {""}


def test_the_terminal_table_by_hand(full_store: MadeUpStore) -> None:
    lines = text_table(full_store.summary()).splitlines()
    assert lines[0] == "capitals"
    assert cells(lines[1]) == [
        *("Model", "Accuracy %", "95%", "− tok", "p", "n", "ECE", "NLL", "Labels", "lr", "Seconds")
    ]
    base, a2t = cells(lines[3]), cells(lines[7])
    assert base == [
        *("Base, no demonstrations", "0.0 ± 0.0", "0.0 to 8.8", MISSING, MISSING, "3", "0.200", "2.00", "0 + 0"),
        *(MISSING, MISSING),
    ]
    assert a2t[:2] + a2t[5:] == ["a2t (IA2 → SFT)", "85.0 ± 5.0", "3", "0.200", "1.15", "8 + 4", "0.001", "50"]
    assert a2t[3] == "+10.0 (8 + 4)"
    # of 40 examples tok answers 28, 32, 30 and a2t 32, 34, 36 of the first: 8 differ, all in one direction, and the
    # runs' differences of 10, 5 and 15 points add their own chance
    assert 2 / 2**8 < float(a2t[4]) < 0.05
    assert len({len(line) for line in lines[1:8]}) == 1


def closed_record(store: MadeUpStore, **of_labels: float) -> Path:
    """A record of `tok` whose first tokens are all sure and right, as where labels begin with the same one."""
    first = {"accuracy": 50.0, "nll": 0.01, "ece_equal_count": 0.02, "label_accuracy": 55.0, **of_labels}
    metrics = {f"without_icl_{name}": value for name, value in first.items()}
    bins_of_labels = {"label_reliability": {"without_icl": bins(0.5, 3)}, "label_ece_floor": {"without_icl": 0.07}}
    return store.adapter(
        config("tok"), 50.0, 0.5, metrics=metrics, **(bins_of_labels if "label_nll" in of_labels else {})
    )


def test_of_a_closed_set_of_labels_the_numbers_of_whole_labels_are_shown(store: MadeUpStore) -> None:
    path = closed_record(store, label_nll=1.5, label_ece_equal_count=0.44)
    rewrite(path, label_confidence=0.25, gold_label_log_prob=-1.5)
    (record,) = examine_records(store.root).found
    selection = store.selection()
    (row,) = rows_of(summarise(selection))
    assert (row.ece, row.nll, row.ece_floor) == (0.44, 1.5, 0.07)
    (grid,) = grids(aggregate(selection), ("accuracy", "ece_equal_count"), "dev_loss")
    assert list(grid.cells["mean"]) == [50.0, 0.44]
    card = measured_part([record])
    assert "0.440 (0.070)" in card
    assert "1.500 [1.500, 1.500]" in card
    assert list(reliability_series(summarise(selection), [record])["confidence"]) == [
        one["confidence"] for one in bins(0.5, 3)
    ]
    (queries,) = query_sets({"": store.summary()}, {str(record.path): record})
    assert {answer.confidence for answer in queries.answers_to(0)} == {0.25}


def test_an_older_record_of_a_closed_set_shows_none_rather_than_those_of_first_tokens(store: MadeUpStore) -> None:
    closed_record(store, label_ece_equal_count=0.44)
    (record,) = examine_records(store.root).found
    summary = store.summary()
    assert summary[["nll", "ece_floor"]].isna().all(axis=None)
    assert list(summary["ece"]) == [0.44]
    assert reliability_series(summary, [record]).empty
    assert "0.010" not in measured_part([record])
    (queries,) = query_sets({"": summary}, {str(record.path): record})
    assert {answer.confidence for answer in queries.answers_to(0)} == {None}


def test_missing_stays_missing_and_is_never_zero(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5, metrics={"without_icl_accuracy": 70.0}, ece_floor={})
    summary = store.summary()
    assert summary[["ece", "nll", "anywhere", "ece_floor", "accuracy_sd"]].isna().all(axis=None)
    assert cells(text_table(summary).splitlines()[3]) == [
        "tok (SFT)", "70.0", "55.0 to 82.5", MISSING, MISSING, "1", MISSING, MISSING, "8 + 4", "0.001", "25",
    ]  # fmt: skip
    assert html_table(summary).count('class="missing"') == 6
    assert number(math.nan, ".1f") == MISSING
    assert number(0.0, ".1f") == "0.0"


def test_an_empty_store_is_said_to_be_empty(store: MadeUpStore) -> None:
    assert text_table(store.summary()) == "No evaluation records."


def test_out_of_distribution_follows_and_is_starred(store: MadeUpStore) -> None:
    for dataset in ("aaa", "capitals"):
        store.adapter(config("tok"), 70.0, 0.5, eval=settings(eval_dataset=dataset))
        store.base((0.0, 70.0), eval=settings(eval_dataset=dataset))
    titles = [row.title for row in store.rows()]
    assert titles == ["capitals"] * 3 + ["aaa* (trained on capitals)"] * 3


def test_datasets_whose_names_begin_alike_are_apart(store: MadeUpStore) -> None:
    for trained in ("gsm8k", "gsm8ks"):
        store.adapter(config("tok", dataset=trained), 70.0, 0.5, eval=settings(eval_dataset=trained))
    assert [row.title for row in store.rows()] == ["gsm8k", "gsm8ks"]


def test_models_of_one_name_are_told_apart_by_what_differs(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    store.adapter(config("tok", lora_r=16, num_train_examples=4), 60.0, 0.5, eval=settings(num_train_examples=4))
    names = {row.name for row in store.rows()}
    assert names == {"tok (SFT) [N 8, lora_r 8]", "tok (SFT) [N 4, lora_r 16]"}


def test_html_is_escaped(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    frame = store.summary().assign(label="<b>tok</b>")
    assert "&lt;b&gt;tok" in html_table(frame)
    assert "<b>" not in html_table(frame)
    assert all((column.heading in html_table(frame)) != column.as_published for column in COLUMNS)


def test_models_that_differ_in_a_number_stand_in_its_order(store: MadeUpStore) -> None:
    for num in (16, 2, 8):
        store.adapter(config("tok", num_train_examples=num), 60.0, 0.5, eval=settings(num_train_examples=num))
    assert list(store.summary()["details"]) == ["N 2", "N 8", "N 16"]
    texts = ["no number", "lr 0.001, N 8", "lr 1e-05, N 16", "lr 1e-05, N 2", ""]
    assert sorted(texts, key=in_order) == ["", "lr 1e-05, N 2", "lr 1e-05, N 16", "lr 0.001, N 8", "no number"]


def test_the_choice_of_tna_names_its_weight(store: MadeUpStore) -> None:
    for weight, tok in ((0.1, 0.5), (0.5, 0.4)):
        settled = config("tna", label_type="icl_outputs", ce_loss_weight=weight)
        store.adapter(settled, 60.0, 0.3, train={**training(0.3), "dev_losses": {"act": 1.0, "tok": tok}})
    summary = store.summary()
    rule = "0.001 with ce_loss_weight 0.5, of lowest mean dev cross-entropy on the teacher's tokens over 1 run"
    assert rule in selection_rule(summary)
    assert list(summary["details"]) == [""]


def test_as_published_the_papers_own_measures_stand_beside_ours(store: MadeUpStore) -> None:
    for run_idx, accuracy in enumerate((60.0, 70.0)):
        path = store.adapter(config("tok", run_idx), accuracy, 0.5, eval=settings(run_idx=run_idx))
        content = json.loads(path.read_text())
        content["metrics"]["without_icl_ece_published"] = 0.25
        path.write_text(json.dumps(content))
    ours, published = (text_table(store.summary(rule)) for rule in ("dev_loss", "performance"))
    # deviations -5 and 5: sqrt(50 / 1) = 7.07, sqrt(50 / 2) = 5
    assert cells(published.splitlines()[3])[1] == "65.0 ± 7.1 (5.0)"
    assert cells(ours.splitlines()[3])[1] == "65.0 ± 7.1"
    assert "0.250" in published
    assert "0.250" not in ours
