import io

import numpy as np
import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings
from matplotlib.colors import to_hex

from ia2.page.svg import inline_svg
from ia2.plots import accuracy_bars, dev_loss_curves, join_bins, reliability_diagram
from ia2.plots.series import dev_loss_series, reliability_series
from ia2.results.frame import summarise
from ia2.results.label import STYLES
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
    assert axes.get_ylabel() == "Accuracy (%)"
    assert axes.get_ylim()[0] == 0


def test_a_single_run_has_its_interval_and_an_unmeasured_majority_no_line(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5, majority_class_accuracy=None)
    records = examine_records(store.root).found
    figure = accuracy_bars(summarise(select(records, read_runs(store.root, records))))
    (axes,) = figure.axes
    assert len(axes.patches) == 1
    (ends,) = [container[2][0].get_segments()[0][:, 1] for container in axes.containers if len(container) == 3]
    assert ends[0] < 70 < ends[1]
    assert not [line for line in axes.lines if line.get_linestyle() == ":"]
    assert not figure.legends


def test_many_bars_stand_below_each_other(shown: tuple) -> None:
    rows = pd.concat([shown[0]] * 5, ignore_index=True)  # 25 models
    figure = accuracy_bars(rows)
    assert [len(axes.patches) for axes in figure.axes] == [7, 7, 7, 4]
    assert [bar.get_height() for axes in figure.axes for bar in axes.patches] == pytest.approx([0, 75, 75, 65, 85] * 5)
    assert figure.get_figwidth() < 8
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_the_majority_line_is_told_of_above_the_bars_and_once(shown: tuple) -> None:
    figure = accuracy_bars(pd.concat([shown[0]] * 2))
    assert [[text.get_text() for text in legend.get_texts()] for legend in figure.legends] == [["Majority class"]]
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [2.5]


def test_the_caption_is_drawn_only_when_asked_for(shown: tuple) -> None:
    assert accuracy_bars(shown[0]).get_supxlabel() == ""
    assert "made-up caption" in accuracy_bars(shown[0], "made-up caption").get_supxlabel()
    lower = reliability_diagram(reliability_series(shown[0], shown[1]), "made-up caption").get_supxlabel()
    assert "Confidence" in lower
    assert "made-up caption" in lower


def test_reliability_panels_hold_the_bins_of_the_chosen_records(shown: tuple) -> None:
    summary, records, _ = shown
    series = reliability_series(summary, records)
    assert len(series) == 5 * 3 * 15
    figure = reliability_diagram(series)
    assert [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes] == list(summary["label"])
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


def test_runs_without_a_folder_have_no_curve(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5, eval=settings())
    records = examine_records(store.root).found
    runs = read_runs(store.root, records)
    assert dev_loss_series(summarise(select(records, runs)), records, runs).empty


@pytest.mark.parametrize("num_rows", [1, 2, 5])
def test_figures_can_be_saved(shown: tuple, num_rows: int) -> None:
    summary, records, runs = shown
    rows = summary.tail(num_rows)
    series = (reliability_series(rows, records), dev_loss_series(rows, records, runs))
    for figure in (accuracy_bars(rows, "x" * 300), reliability_diagram(series[0]), dev_loss_curves(series[1])):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        assert buffer.getvalue().startswith(b"\x89PNG")


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
