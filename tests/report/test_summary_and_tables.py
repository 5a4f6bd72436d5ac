import math

import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings

from ia2.errors import UserError
from ia2.report.captions import accuracy_caption
from ia2.report.findings import findings
from ia2.report.results import read_results
from ia2.report.runs import read_runs
from ia2.report.selection import select
from ia2.report.styles import STYLES, style_of
from ia2.report.summary import groups, rows_of, summarise
from ia2.report.tables import COLUMNS, MISSING, html_table, number, text_table


def summary_of(store: MadeUpStore) -> pd.DataFrame:
    records = read_results(store.root).records
    return summarise(select(records, read_runs(store.root, records)))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def sentences(store: MadeUpStore) -> str:
    return " ".join(finding.text for group in groups(summary_of(store)) for finding in findings(group))


def test_the_rows_of_a_full_store_by_hand(full_store: MadeUpStore) -> None:
    rows = rows_of(summary_of(full_store))
    assert [row.label for row in rows] == [STYLES[key].label for key in ("base", "teacher", "tok", "act", "a2t")]
    assert [row.accuracy for row in rows] == pytest.approx([0.0, 75.0, 75.0, 65.0, 85.0])
    assert [row.accuracy_sd for row in rows] == pytest.approx([0.0, 2.5, 5.0, 5.0, 5.0])
    assert {row.n for row in rows} == {3}
    assert [(row.labels_train, row.labels_dev) for row in rows] == [(0, 0), (8, 0), (8, 4), (8, 4), (8, 4)]
    assert math.isnan(rows[0].lr)
    assert rows[2].lr == 1e-3
    assert {row.details for row in rows} == {""}


def test_the_terminal_table_by_hand(full_store: MadeUpStore) -> None:
    lines = text_table(summary_of(full_store)).splitlines()
    assert lines[0] == "capitals"
    assert cells(lines[1]) == ["Model", "Accuracy %", "n", "ECE", "NLL", "Labels", "lr", "Seconds"]
    assert cells(lines[3]) == ["Base, no demonstrations", "0.0 ± 0.0", "3", "0.200", "2.00", "0 + 0", MISSING, MISSING]
    assert cells(lines[7]) == ["a2t (IA2 → SFT)", "85.0 ± 5.0", "3", "0.200", "1.15", "8 + 4", "0.001", "25"]
    assert len({len(line) for line in lines[1:8]}) == 1


def test_missing_stays_missing_and_is_never_zero(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5, metrics={"without_icl_accuracy": 70.0}, ece_floor={})
    summary = summary_of(store)
    assert summary[["ece", "nll", "anywhere", "ece_floor", "accuracy_sd"]].isna().all(axis=None)
    assert cells(text_table(summary).splitlines()[3]) == [
        "tok (SFT)", "70.0", "1", MISSING, MISSING, "8 + 4", "0.001", "25",
    ]  # fmt: skip
    assert html_table(summary).count('class="missing"') == 4
    assert number(math.nan, ".1f") == MISSING
    assert number(0.0, ".1f") == "0.0"


def test_an_empty_store_is_said_to_be_empty(store: MadeUpStore) -> None:
    assert text_table(summary_of(store)) == "No evaluation records."


def test_out_of_distribution_follows_and_is_starred(store: MadeUpStore) -> None:
    for dataset in ("aaa", "capitals"):
        store.adapter(config("tok"), 70.0, 0.5, eval=settings(eval_dataset=dataset))
        store.base((0.0, 70.0), eval=settings(eval_dataset=dataset))
    titles = [group.title for group in groups(summary_of(store))]
    assert titles == ["capitals", "aaa* (trained on capitals)"]
    assert [len(group.rows) for group in groups(summary_of(store))] == [3, 3]
    assert "*: out of distribution" in text_table(summary_of(store))


def test_datasets_whose_names_begin_alike_are_apart(store: MadeUpStore) -> None:
    for trained in ("gsm8k", "gsm8ks"):
        store.adapter(config("tok", dataset=trained), 70.0, 0.5, eval=settings(eval_dataset=trained))
    assert [group.title for group in groups(summary_of(store))] == ["gsm8k", "gsm8ks"]


def test_models_of_one_name_are_told_apart_by_what_differs(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    store.adapter(config("tok", lora_r=16, num_train_examples=4), 60.0, 0.5, eval=settings(num_train_examples=4))
    names = {row.name for row in rows_of(summary_of(store))}
    assert names == {"tok (SFT) [N 8, lora_r 8]", "tok (SFT) [N 4, lora_r 16]"}


def test_html_is_escaped(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    frame = summary_of(store).assign(label="<b>tok</b>")
    assert "&lt;b&gt;tok" in html_table(frame)
    assert "<b>" not in html_table(frame)
    assert all(column.heading in html_table(frame) for column in COLUMNS)


def test_the_caption_says_n_interval_and_rule(full_store: MadeUpStore) -> None:
    caption = accuracy_caption(summary_of(full_store))
    assert "n = 3 runs" in caption
    assert "±1 sd over runs (ddof 1)" in caption
    assert "of lowest mean dev loss over 3 runs among 0.0003, 0.001" in caption


def test_a_good_teacher_is_called_good_enough(full_store: MadeUpStore) -> None:
    text = sentences(full_store)
    assert "75.0% right, and 0.0% without them. The teacher is good enough" in text
    assert "weak" not in text


@pytest.mark.parametrize(
    ("accuracies", "majority", "reason"),
    [
        ((0.0, 40.0), 2.5, "fewer than 50%"),
        ((0.0, 57.0), 52.0, "most frequent answer would get 52.0%"),
        ((70.0, 75.0), 2.5, "+5.0 points only"),
    ],
)
def test_a_weak_teacher_is_called_weak(
    store: MadeUpStore, accuracies: tuple[float, float], majority: float, reason: str
) -> None:
    store.base(accuracies, majority_class_accuracy=majority)
    text = sentences(store)
    assert reason in text
    assert "IA2 copies a weak teacher" in text


def test_a_teacher_that_was_not_measured_is_not_judged(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    text = sentences(store)
    assert "was not measured" in text
    assert "good enough" not in text


def test_the_part_of_a_gain_that_is_format_by_hand(full_store: MadeUpStore) -> None:
    # the base model says the answer anywhere in 12.5% and parses right in 0%; act gains 65 points: 12.5 and 52.5
    assert "act (IA2) answers 65.0% right without demonstrations: +65.0 points, of which up to 12.5 " in sentences(
        full_store
    )
    assert "+65.0 points, of which up to 12.5 may be format and at least 52.5 are more." in sentences(full_store)


def test_format_is_never_more_than_the_gain(store: MadeUpStore) -> None:
    store.base((10.0, 75.0))
    store.adapter(config("tok"), 15.0, 0.5)
    assert "+5.0 points, of which up to 5.0 may be format and at least 0.0 are more" in sentences(store)


def test_methods_have_distinct_looks_and_a_stable_order() -> None:
    assert len({style.colour for style in STYLES.values()}) == len({s.marker for s in STYLES.values()}) == len(STYLES)
    methods = ["base", "tok", "tokl", "act", "tna", "a2t", "t2a", "ia3-tok", "prefix-act"]
    places = [style_of(method, with_icl).order for method in methods for with_icl in (False, True)]
    assert places == sorted(set(places))
    assert style_of("ia3-act").label == "(IA)3 act (IA2)"
    with pytest.raises(UserError, match="unknown method"):
        style_of("telepathy")
