import numpy as np
import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings
from matplotlib.colors import to_hex

from ia2.methods import METHODS
from ia2.page.svg import inline_svg
from ia2.plots.bars import LONGEST_NAME, accuracy_bars, overview
from ia2.plots.runs import dev_loss_curves, dev_loss_series, join_bins, reliability_diagram, reliability_series
from ia2.results.frame import summarise
from ia2.results.label import INK, STYLES, style_of
from ia2.results.records import examine_records
from ia2.results.runs import read_runs
from ia2.results.select import select


@pytest.fixture
def shown(full_store: MadeUpStore) -> tuple:
    records = examine_records(full_store.root).found
    runs = read_runs(full_store.root, records)
    selection = select(records, runs)
    return summarise(selection), selection.records, runs


def test_bars_whiskers_and_dots_show_the_summary(shown: tuple) -> None:
    (axes,) = accuracy_bars(shown[0]).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0, 75, 75, 65, 85])
    expected = [STYLES[key].colour for key in ("base", "teacher", "tok", "act", "a2t")]
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == expected
    dots = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
    assert [list(values) for values in dots[1:]] == [[72.5, 77.5, 75], [70, 80, 75], [60, 65, 70], [80, 85, 90]]
    whiskers = [container[2][0].get_segments()[0][:, 1] for container in axes.containers if len(container) == 3]
    intervals = shown[0][["low", "high"]].to_numpy()
    assert np.array(whiskers) == pytest.approx(intervals), "those of the table"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["base", "base\n+ demos", "tok", "act", "a2t"]
    assert axes.get_ylim()[0] == 0


def test_many_bars_stand_below_each_other(shown: tuple) -> None:
    rows = pd.concat([shown[0]] * 5, ignore_index=True)  # 25 models
    figure = accuracy_bars(rows)
    assert [len(axes.patches) for axes in figure.axes] == [7, 7, 7, 4]
    assert [bar.get_height() for axes in figure.axes for bar in axes.patches] == pytest.approx([0, 75, 75, 65, 85] * 5)
    assert figure.get_figwidth() < 8
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_reliability_panels_hold_the_bins_of_the_chosen_records(shown: tuple) -> None:
    summary, records, _ = shown
    series = reliability_series(summary, records)
    assert len(series) == 5 * 3 * 15
    figure = reliability_diagram(series)
    for axes, (_, bins) in zip(figure.axes, series.groupby("panel", sort=False), strict=True):
        drawn = np.asarray(axes.collections[0].get_offsets())
        assert drawn == pytest.approx(bins[["confidence", "accuracy"]].to_numpy())


def test_joined_bins_are_means_over_the_examples_in_them() -> None:
    bins = pd.DataFrame({"confidence": [0.8, 0.2, 0.6, 0.4], "accuracy": [1.0, 0.0, 0.5, 0.5], "count": [1, 1, 2, 4]})
    joined = join_bins(bins, 2)
    # in order of confidence the counts 1 4 | 2 1: (.2 + 4 * .4) / 5 = .36 and (2 * .6 + .8) / 3; accuracies 2/5, 2/3
    assert joined["confidence"].tolist() == pytest.approx([0.36, 2 / 3])
    assert joined["accuracy"].tolist() == pytest.approx([0.4, 2 / 3])
    assert joined["count"].tolist() == [5, 3]


def test_dev_loss_panels_are_one_per_model_and_phase_of_the_chosen_rate(shown: tuple) -> None:
    series = dev_loss_series(*shown)
    figure = dev_loss_curves(series)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split(": ")[1] for title in titles] == ["tok phase", "act phase", "act phase", "tok phase"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3, 3]
    first = figure.axes[0].lines[0]
    assert list(first.get_xdata()) == list(range(2, 42, 2))
    # run 0 of lr 0.001 has best dev loss 0.5; the made-up history starts at 0.5 (1 + 3 exp(-1/3))
    assert first.get_ydata()[0] == pytest.approx(0.5 * (1 + 3 * np.exp(-1 / 3)))
    assert first.get_markevery() == [int(np.argmin(first.get_ydata()))]


def test_a_run_has_one_kind_of_line_in_all_panels_and_five_runs_differ() -> None:
    lines = [("tok", run) for run in (1, 3, 4)] + [("act", run) for run in range(5)]
    of_all = {"colour": "#e69f00", "phase": "tok"}
    rows = [of_all | {"panel": p, "run_idx": run, "step": s, "dev_loss": 1.0} for p, run in lines for s in (2, 4)]
    figure = dev_loss_curves(pd.DataFrame(rows))
    drawn = [{line.get_label(): line._dash_pattern for line in axes.lines} for axes in figure.axes]
    assert list(drawn[0]) == ["run 1", "run 3", "run 4"]
    assert all(drawn[1][run] == dashes for run, dashes in drawn[0].items())
    assert len({str(dashes) for dashes in drawn[1].values()}) == 5
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"run {run}" for run in range(5)]
    handles = [str(line._dash_pattern) for line in legend.get_lines()]
    assert len(set(handles)) == 5


def test_losses_of_very_different_size_get_a_logarithmic_axis() -> None:
    base = {"panel": "tok", "colour": "#e69f00", "phase": "tok", "run_idx": 0}
    curves = pd.DataFrame([base | {"step": step, "dev_loss": 10.0**-step} for step in range(4)])
    assert dev_loss_curves(curves).axes[0].get_yscale() == "log"
    assert dev_loss_curves(curves.head(2)).axes[0].get_yscale() == "linear"


def test_inline_svg_is_repeatable_scales_and_takes_the_colours_of_the_page(shown: tuple) -> None:
    text = inline_svg(accuracy_bars(shown[0]), "bars")
    assert text == inline_svg(accuracy_bars(shown[0]), "bars")
    assert text.startswith("<svg")
    assert "currentColor" in text
    assert "var(--line)" in text
    assert ' height="' not in text.split(">")[0]
    assert "<metadata>" not in text
    assert "Accuracy (%)</text>" in text


def test_a_script_that_the_drawing_font_lacks_is_left_to_the_browser(shown: tuple) -> None:
    """Warnings are errors here."""
    figure = accuracy_bars(shown[0])
    figure.suptitle("日本 עברית")
    assert "日本 עברית" in inline_svg(figure, "bars")


# All evaluation sets


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


def test_sets_are_named_in_one_line_with_what_was_trained_on_where_that_is_another(three_sets: pd.DataFrame) -> None:
    (axes,) = overview(three_sets, "ece", "ECE").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["capitals", "past_tense* (capitals)", "x" * (LONGEST_NAME - 1) + "…"]
    assert axes.get_xlim()[0] == 0


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
