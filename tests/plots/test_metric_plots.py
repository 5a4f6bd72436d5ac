"""Plots of metrics, read from the artists: lines against N, costs, adapters side by side."""

import math

import numpy as np
import pytest
from layouts import legend_of
from made_up_points import MANY, frame, grid, point
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer

from ia2.methods import ADAPTERS, METHODS
from ia2.plots.adapters import adapters_compared
from ia2.plots.captions import adapters_caption, cost_caption, lines_caption
from ia2.plots.cost import cost_against_accuracy
from ia2.plots.drawing import look_of
from ia2.plots.lines import metric_against_n
from ia2.results.label import ADAPTER_LOOKS, STYLES
from ia2.results.quantities import QUANTITIES

ACCURACY, ECE, NLL = (QUANTITIES[name] for name in ("accuracy", "ece_equal_count", "nll"))


def lines_of(axes: Axes) -> list[ErrorbarContainer]:
    return [one for one in axes.containers if isinstance(one, ErrorbarContainer)]


def ends_of(line: ErrorbarContainer) -> list[list[float]]:
    """The ends of the whiskers that are drawn, from left to right."""
    segments = line.lines[2][0].get_segments()
    return [[float(end) for end in segment[:, 1]] for segment in segments if segment.size]


def test_a_line_stands_at_its_means_with_its_intervals() -> None:
    points = frame([point("tok", 4, 30.0), point("tok", 8, 50.0), point("act", 4, 20.0), point("act", 8, 40.0)])
    figure = metric_against_n(points, ACCURACY, "made up", "of made-up numbers")
    (axes,) = figure.axes
    tok, act = lines_of(axes)
    assert list(tok[0].get_ydata()) == [30, 50]
    assert ends_of(tok) == [[20, 40], [40, 60]]
    assert list(act[0].get_ydata()) == [20, 40]
    assert [list(line[0].get_xdata()) for line in (tok, act)] == [[4, 8], [4, 8]], "nothing is moved to be seen"
    assert [to_hex(line[0].get_color()) for line in (tok, act)] == [STYLES[name].colour for name in ("tok", "act")]
    assert legend_of(figure) == ["tok (SFT)", "act (IA2)", "Majority class"]
    assert (axes.get_xscale(), [label.get_text() for label in axes.get_xticklabels()]) == ("log", ["4", "8"])
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("Accuracy (%)", "Training examples N")
    assert axes.get_ylim() == (-4, 104)
    assert axes.get_title(loc="left") == "made up"
    assert figure.get_supxlabel() == "of made-up numbers"


def test_a_caption_tells_of_circles_only_where_there_are_some() -> None:
    several = grid(("tok",), (4, 8))
    single = several.assign(n=1, values=[(mean,) for mean in several["mean"]])
    assert "small circles: single runs" in lines_caption(several, "capitals", "dev_loss")
    assert "(n = 2 runs; small circles" in adapters_caption(several[several["n"] > 1], "capitals", "dev_loss")
    assert "circles" not in lines_caption(single, "capitals", "dev_loss")
    assert "circles" not in cost_caption(several, "capitals", "dev_loss")
    assert not [line for line in adapters_compared(single, ACCURACY).axes[0].lines if line.get_marker() == "o"]


def test_what_was_not_measured_is_a_gap_and_not_0() -> None:
    points = frame([point("tok", 2, 30.0), point("tok", 8, 50.0), point("act", 4, 20.0)])
    tok, act = lines_of(metric_against_n(points, ACCURACY).axes[0])
    assert np.asarray(tok[0].get_ydata()) == pytest.approx([30, math.nan, 50], nan_ok=True)
    assert np.asarray(act[0].get_ydata()) == pytest.approx([math.nan, 20, math.nan], nan_ok=True)


def test_single_runs_are_circles_but_one_run_is_the_point_itself() -> None:
    points = frame([point("tok", 4, 30.0), point("tok", 8, 50.0, n=1, values=(50.0,), low=math.nan, high=math.nan)])
    (axes,) = metric_against_n(points, ACCURACY).axes
    (tok,) = lines_of(axes)
    (circles,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert list(circles.get_ydata()) == [26, 34]
    assert list(circles.get_xdata()) == [tok[0].get_xdata()[0]] * 2
    assert ends_of(tok) == [[20, 40]]


def test_the_base_model_is_a_level_without_demonstrations_and_a_line_with_them() -> None:
    points = grid(("tok",), (4, 8))
    figure = metric_against_n(points, ACCURACY)
    (axes,) = figure.axes
    level = next(line for line in axes.lines if to_hex(line.get_color()) == STYLES["base"].colour)
    assert list(level.get_ydata()) == [12, 12]
    assert list(level.get_xdata()) == [0, 1], "across the axes"
    teacher = lines_of(axes)[1]
    assert list(teacher[0].get_ydata()) == [50.5, 51]
    assert to_hex(teacher[0].get_color()) == STYLES["teacher"].colour
    assert {"Base, no demonstrations", "Base + demonstrations (teacher)"} < set(legend_of(figure))
    majority = next(line for line in axes.lines if list(line.get_ydata()) == [2, 2])
    assert majority.get_linestyle() != "-"


def test_without_a_majority_or_a_floor_there_is_no_reference() -> None:
    points = frame([point("tok", 4, 0.3, majority=math.nan, low=0.2, high=0.4, values=(0.3,))])
    assert legend_of(metric_against_n(points, ECE)) == ["tok (SFT)"]
    with_floor = points.assign(floor=[0.1])
    assert legend_of(metric_against_n(with_floor, ECE)) == ["tok (SFT)", "Of calibrated models (floor)"]


def test_intervals_end_where_the_metric_does_and_an_open_axis_holds_all_of_them() -> None:
    points = frame([point("tok", 4, 0.1, low=-0.4, high=0.6, values=(0.05, 0.15), majority=math.nan)])
    (axes,) = metric_against_n(points, ECE).axes
    assert ends_of(lines_of(axes)[0]) == [[0, 0.6]]
    assert axes.get_ylim() == pytest.approx((-0.03, 0.63)), "a twentieth beyond what is drawn"
    many = frame([point("tok", 4, 11.0, low=10.0, high=12.5, values=(9.0, 13.0), majority=math.nan)])
    assert metric_against_n(many, NLL).axes[0].get_ylim() == pytest.approx((-0.65, 13.65))


def test_models_of_one_method_differ_in_shade_and_edge() -> None:
    names = ["tok (SFT) [T 1]", "tok (SFT) [T 8]"]
    points = frame([point("tok", 4, 30.0 + k, name=name, variation=k) for k, name in enumerate(names)])
    figure = metric_against_n(points, ACCURACY)
    assert legend_of(figure)[:2] == names
    first, second = lines_of(figure.axes[0])
    assert to_hex(first[0].get_color()) != to_hex(second[0].get_color())
    assert to_hex(first[0].get_markeredgecolor()) != to_hex(second[0].get_markeredgecolor())


def test_many_methods_of_several_adapters_get_a_panel_for_each() -> None:
    points = grid(MANY, (4, 8))
    figure = metric_against_n(points, ACCURACY, "made up")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["LoRA", "(IA)3", "Prompt tuning", "Prefix tuning"]
    assert [len(lines_of(axes)) for axes in figure.axes] == [7, 7, 7, 7], "six variants and the teacher"
    of_ia3 = points[points["method"] == "ia3-act"]
    third = lines_of(figure.axes[1])[2]
    assert list(third[0].get_ydata()) == list(of_ia3["mean"])
    assert len(set(legend_of(figure))) == len(legend_of(figure)) == 9
    assert len({axes.get_ylim() for axes in figure.axes}) == len({axes.get_xlim() for axes in figure.axes}) == 1
    assert [axes.get_xlabel() != "" for axes in figure.axes] == [False, False, True, True]


def test_all_24_methods_look_different_without_colour() -> None:
    looks = [look_of(method, with_icl=False) for method in METHODS]
    assert len({(look.marker, look.line, look.fill) for look in looks}) == len(METHODS)
    assert len({look.hatch for look in ADAPTER_LOOKS.values()}) == len(ADAPTER_LOOKS)
    methods = ("act", "ia3-act", "prompt-act", "prefix-act")
    (axes,) = metric_against_n(frame([point(method, 4, 30.0) for method in methods]), ACCURACY).axes
    drawn = [(line[0].get_linestyle(), line[0].get_fillstyle()) for line in lines_of(axes)]
    assert drawn == [(ADAPTER_LOOKS[name].line, ADAPTER_LOOKS[name].fill) for name in ADAPTERS]


# Costs


def test_costs_are_seconds_and_megabytes_of_what_was_trained() -> None:
    points = frame(
        [
            point("tok", 4, 30.0, train_seconds=10.0),
            point("tok", 8, 50.0, train_seconds=20.0),
            point("act", 8, 40.0, train_seconds=math.nan),
            point("base", 8, 60.0, with_icl=True),
            point("base", 4, 55.0, with_icl=True),
        ]
    )
    figure = cost_against_accuracy(points, ACCURACY, "made up", "a caption")
    seconds, size = figure.axes
    assert (seconds.get_xlabel(), size.get_xlabel()) == ("Seconds to train", "Size of the adapter (MB)")
    assert seconds.get_xscale() == size.get_xscale() == "log"
    drawn = [(*line[0].get_xdata(), *line[0].get_ydata()) for line in lines_of(seconds)]
    assert drawn == [(10, 30), (20, 50)], "act's seconds are not known"
    smaller, greater = (line[0].get_markersize() for line in lines_of(seconds))
    assert smaller < greater
    places = [float(line[0].get_xdata()[0]) for line in lines_of(size)]
    assert places == pytest.approx([1.85] * 3), "equal sizes are drawn at one place"
    level = next(line for line in size.lines if to_hex(line.get_color()) == STYLES["teacher"].colour)
    assert list(level.get_ydata()) == [60, 60], "the teacher with the greatest N"
    assert legend_of(figure) == [*("Base + demonstrations (teacher)", "tok (SFT)", "act (IA2)", "N = 4", "N = 8")]


# Adapters


def test_every_cost_is_drawn_where_it_is_and_nearly_equal_ones_look_so() -> None:
    points = grid(("tok", "act", "a2t"), (4, 8))
    trained = points[points["method"] != "base"]
    seconds, size = cost_against_accuracy(points, ACCURACY).axes
    for axes, costs in ((seconds, trained["train_seconds"]), (size, trained["adapter_bytes"] / 1e6)):
        low, high = axes.get_xlim()
        assert high / low >= 10 - 1e-9
        places = [float(x) for line in lines_of(axes) for x in line.lines[0].get_xdata()]
        assert sorted(places) == pytest.approx(sorted(costs))
        assert low < min(places) <= max(places) < high


def test_a_control_looks_like_no_teacher() -> None:
    shown = [point("base", 8, 60.0, with_icl=True), point("base", 8, 20.0, with_icl=True, control="wrong_labels")]
    for figure in (metric_against_n(frame(shown), ACCURACY), cost_against_accuracy(frame(shown), ACCURACY)):
        names = legend_of(figure)
        assert "Base + demonstrations (teacher)" in names
        assert "Base + wrong labels (control)" in names
    teacher, control = lines_of(metric_against_n(frame(shown), ACCURACY).axes[0])
    assert (teacher[0].get_marker(), teacher[0].get_color()) != (control[0].get_marker(), control[0].get_color())


def test_adapters_stand_in_their_order_and_what_is_missing_is_a_dash() -> None:
    points = frame([point("tok", 8, 30.0), point("prefix-tok", 8, 0.0, values=(0.0, 0.0)), point("ia3-act", 8, 20.0)])
    figure = adapters_compared(points, ACCURACY, "made up", "a caption")
    (axes,) = figure.axes
    bars = [bar for one in axes.containers if isinstance(one, BarContainer) for bar in one]
    assert [bar.get_height() for bar in bars] == [30, 0, 20]
    places = [bar.get_x() + bar.get_width() / 2 for bar in bars]
    assert places == pytest.approx([-0.285, 0.285, 1 - 0.095])
    assert [bar.get_hatch() or "" for bar in bars] == [ADAPTER_LOOKS[name].hatch for name in ("lora", "prefix", "ia3")]
    dashes = sorted(text.xy[0] for text in axes.texts)
    assert dashes == pytest.approx([-0.095, 0.095, 1 - 0.285, 1.095, 1.285])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["tok", "act"]
    assert ends_of(lines_of(axes)[0]) == [[20, 40]]
    circles = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    assert circles == [[26, 34], [0, 0], [16, 24]]
    assert legend_of(figure) == ["Majority class", "LoRA", "(IA)3", "Prompt tuning", "Prefix tuning"]


def test_label_types_are_groups_of_their_own() -> None:
    points = frame([point("tok", 8, 30.0, details="T 1"), point("tok", 8, 60.0, details="T 8", variation=1)])
    (axes,) = adapters_compared(points, ACCURACY).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["tok\nT 1", "tok\nT 8"]
    assert [bar.get_height() for bar in axes.patches if hasattr(bar, "get_height")][:2] == [30, 60]
