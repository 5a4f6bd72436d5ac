import numpy as np
import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings

from ia2.methods import METHODS
from ia2.plots.overview import LONGEST_NAME, overview
from ia2.results.label import INK, STYLES, style_of


@pytest.fixture
def three_sets(store: MadeUpStore) -> pd.DataFrame:
    """Trained on capitals; tok was measured on two sets of three."""
    for dataset, accuracy in (("capitals", 70.0), ("past_tense", 40.0), ("x" * 40, None)):
        asked = settings(eval_dataset=dataset)
        store.base((10.0, 75.0), eval=asked)
        if accuracy is not None:
            store.adapter(config("tok"), accuracy, 0.5, eval=asked)
    return store.summary()


def test_a_mark_for_every_mean_and_a_gap_for_what_was_not_measured(three_sets: pd.DataFrame) -> None:
    (axes,) = overview(three_sets, "accuracy", "Accuracy (%)", 100).axes
    marks = {line.get_label(): line for line in axes.lines}
    assert list(marks) == [STYLES[key].label for key in ("base", "teacher", "tok")]
    tok, base = marks[STYLES["tok"].label], marks[STYLES["base"].label]
    assert list(tok.get_xdata()) == [70.0, 40.0]
    assert list(np.round(tok.get_ydata())) == [0, 1]
    assert list(base.get_xdata()) == [10.0] * 3
    assert [tok.get_marker(), tok.get_color()] == [STYLES["tok"].marker, STYLES["tok"].colour]
    assert axes.get_xlim() == (0, 100)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first set stands on top
    assert axes.get_xlabel() == "Accuracy (%)"


def test_sets_are_named_in_one_line_with_what_was_trained_on_where_that_is_another(three_sets: pd.DataFrame) -> None:
    (axes,) = overview(three_sets, "ece", "ECE").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["capitals", "past_tense* (capitals)", "x" * (LONGEST_NAME - 1) + "…"]
    assert axes.get_xlim()[0] == 0


def test_equal_values_of_two_models_do_not_hide_each_other(three_sets: pd.DataFrame) -> None:
    (axes,) = overview(three_sets, "ece", "ECE").axes
    first = [line.get_ydata()[0] for line in axes.lines]
    assert len(set(first)) == len(first)


def test_all_models_differ_in_place_and_without_colour_in_look() -> None:
    kinds = [("base", False), ("base", True), *((method, with_icl) for method in METHODS for with_icl in (False, True))]
    rows = [
        {
            "method": method,
            "with_icl": with_icl,
            "label": style.label,
            "order": style.order,
            "accuracy": 50.0,
            "control": "",
            **{"title": "capitals", "trained_dataset": "capitals", "eval_dataset": "capitals"},
            "out_of_distribution": False,
        }
        for method, with_icl in kinds
        for style in [style_of(method, with_icl)]
    ]
    (axes,) = overview(pd.DataFrame(rows), "accuracy", "Accuracy (%)", 100).axes
    assert len({float(line.get_ydata()[0]) for line in axes.lines}) == 50
    looks = {(line.get_marker(), line.get_fillstyle(), line.get_markeredgecolor() == INK) for line in axes.lines}
    assert len(looks) == 50
