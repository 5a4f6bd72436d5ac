"""Plots of similarities and overlaps, read from the artists."""

import math

import numpy as np
import pandas as pd
import pytest
from layouts import legend_of
from made_up_analyses import heat_maps, layers, overlaps, pairs
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from scipy import stats

from ia2.plots.overlap import SIDES, overlap_bars, overlap_boxes, overlap_violins
from ia2.plots.similarity import similarity_against_performance, similarity_by_layer, similarity_heat_maps
from ia2.results.label import STYLES

FEW = ("tok", "act", "a2t")


# Similarity


def test_heat_maps_hold_the_cosines_in_one_scale_and_grey_where_there_is_none() -> None:
    series = heat_maps(FEW, num_layers=3, num_tokens=4)
    figure = similarity_heat_maps(series, "a caption")
    *panels, bar = figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["tok (SFT)", "act (IA2)", "a2t (IA2 → SFT)"]
    images = [axes.images[0] for axes in panels]
    cells = series.set_index(["name", "layer", "token"])["cosine"]
    act = np.asarray(images[1].get_array())
    assert act.shape == (3, 4)
    assert act[2, 3] == pytest.approx(cells["act (IA2)", 2, 3])
    tok = images[0].get_array()
    assert tok.mask.tolist() == [[False, False, False, True]] * 3, "its last token was not measured"
    assert {image.get_clim() for image in images} == {(series["cosine"].min(), series["cosine"].max())}
    assert images[0].origin == "lower"
    assert [axes.get_xlabel() for axes in panels] == ["Token of the response"] * 3
    assert [axes.get_ylabel() for axes in panels] == ["Layer", "", ""]
    assert bar.get_ylabel() == "Cosine"


def test_lines_of_similarity_by_layer_have_their_bands() -> None:
    series = layers(("act", "base"), num_layers=4)
    figure = similarity_by_layer(series, "made up")
    (axes,) = figure.axes
    act, base = axes.lines
    assert list(act.get_xdata()) == [0, 1, 2, 3]
    assert list(act.get_ydata()) == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert to_hex(base.get_color()) == STYLES["base"].colour
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((0.25, 0.65))
    assert legend_of(figure) == ["act (IA2)", "Base, no demonstrations"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Layer", "Cosine with the teacher")


def test_a_mark_for_each_run_and_the_correlation_within_an_evaluation_set() -> None:
    series = pairs(FEW, ("capitals", "sst2"))
    figure = similarity_against_performance(series)
    accuracy, ece, other, _ = figure.axes
    of_tok = series[(series["dataset"] == "capitals") & (series["method"] == "tok")]
    assert list(accuracy.lines[0].get_xdata()) == list(of_tok["similarity"])
    assert list(accuracy.lines[0].get_ydata()) == list(of_tok["accuracy"])
    assert list(ece.lines[0].get_ydata()) == list(of_tok["ece_equal_count"])
    for axes, dataset in ((accuracy, "capitals"), (other, "sst2")):
        mine = series[series["dataset"] == dataset]
        r = stats.pearsonr(mine["similarity"], mine["accuracy"]).statistic
        assert axes.get_title(loc="left") == f"{dataset}: r = {r:.2f}, n = 15"
    assert ece.get_title(loc="left") == "capitals: r = -1.00, n = 15"
    assert (accuracy.get_ylabel(), ece.get_ylabel()) == ("Accuracy (%)", "First-token ECE (15 bins)")
    assert legend_of(figure) == ["tok (SFT)", "act (IA2)", "a2t (IA2 → SFT)"]


def test_ellipses_are_those_of_the_covariance_and_need_three_runs() -> None:
    points = [(0.5, 80.0), (0.6, 98.0), (0.7, 80.0)]
    style = {"dataset": "made up", "name": "act (IA2)", "method": "act", "with_icl": False, "variation": 0}
    frame = pd.DataFrame(
        [style | {"similarity": x, "accuracy": y, "ece_equal_count": math.nan if x > 0.65 else 0.1} for x, y in points]
    )
    accuracy, ece = similarity_against_performance(frame).axes
    drawn = [patch for patch in accuracy.patches if isinstance(patch, Ellipse)]
    assert len(drawn) == 3
    # variances 0.01 and 108, no covariance; squared radius -2 ln(1 - p), which is chi-square's quantile
    for patch, share in zip(drawn, (0.5, 0.8, 0.95), strict=True):
        radius = math.sqrt(stats.chi2(2).ppf(share))
        assert patch.center == pytest.approx((0.6, 86))
        assert sorted((patch.width, patch.height)) == pytest.approx([0.2 * radius, 2 * radius * math.sqrt(108)])
    assert accuracy.get_ylim()[1] <= 104, "an ellipse goes on, accuracy does not"
    assert not ece.patches, "of two runs with a calibration error"
    assert ece.get_title(loc="left") == "made up: n = 2"


# Overlap


def bars_of(axes: Axes) -> list[float]:
    return [bar.get_width() for one in axes.containers if isinstance(one, BarContainer) for bar in one]


def chances_of(axes: Axes) -> list[float]:
    """Where the dotted lines stand, from top to bottom."""
    lines = [one for one in axes.collections if isinstance(one, LineCollection) and one.get_linestyle()[0][1]]
    return [float(one.get_segments()[0][0, 0]) for one in lines]


def names_of(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_bars_are_means_with_chance_and_the_control_beside_them() -> None:
    series = overlaps(FEW, num_runs=3)
    figure = overlap_bars(series, caption="a caption")
    left, right = figure.axes
    assert names_of(figure) == ["tok – act", "tok – a2t", "act – a2t", "tok – tok", "act – act", "a2t – a2t"]
    means = series.groupby("name", sort=False)[["left_overlap", "right_overlap"]].mean()
    assert bars_of(left) == pytest.approx(list(means["left_overlap"]))
    assert bars_of(right) == pytest.approx(list(means["right_overlap"]))
    assert chances_of(left) == pytest.approx([(8 / 576 + 2 * 8 / 192) / 3] * 6)
    assert chances_of(right) == pytest.approx([8 / 576] * 6)
    # three pairs of runs of two methods, one of the control, which has no whisker
    whiskers = [one for one in left.containers if isinstance(one, ErrorbarContainer)]
    assert len(whiskers) == 3
    runs = series[series["name"] == "tok – act"].groupby("run_a")["left_overlap"].mean()
    interval = stats.t.interval(0.95, 2, runs.mean(), stats.sem(runs))
    assert whiskers[0].lines[2][0].get_segments()[0][:, 0] == pytest.approx(np.clip(interval, 0, 1))
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(SIDES.values())
    assert left.get_xlabel() == "Subspace overlap"
    assert legend_of(figure) == ["Two methods, same run", "Same method, other run (control)", "Chance"]


def test_the_energy_weighted_overlap_has_a_chance_of_its_own() -> None:
    series = overlaps(FEW)
    left, right = overlap_bars(series, "energy_overlap").axes
    assert bars_of(left)[0] == pytest.approx(series[series["name"] == "tok – act"]["left_energy_overlap"].mean())
    assert chances_of(left)[0] == pytest.approx(1.1 * (8 / 576 + 2 * 8 / 192) / 3)
    assert chances_of(right)[0] == pytest.approx(0.02)
    assert left.get_xlabel() == "Energy-weighted overlap"


def test_violins_reach_from_the_least_to_the_greatest_and_mark_the_median() -> None:
    series = overlaps(FEW)
    (left, _) = overlap_violins(series).axes
    of_pair = series[series["name"] == "tok – act"]["left_overlap"]
    body = left.collections[0].get_paths()[0].vertices
    assert (body[:, 0].min(), body[:, 0].max()) == pytest.approx((of_pair.min(), of_pair.max()))
    median = left.collections[1].get_segments()[0]
    assert median[0, 0] == pytest.approx(of_pair.median())


def test_panels_side_by_side_have_few_short_ticks() -> None:
    """`1.00` of one panel would touch `0.00` of the next."""
    series = overlaps(FEW)
    figure = overlap_violins(series.assign(left_overlap=np.linspace(0.01, 0.98, len(series))))
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()][1:-1] == ["0", "0.4", "0.8"]


def test_a_violin_of_equal_values_is_a_mark() -> None:
    series = overlaps(FEW).assign(left_overlap=0.2)
    (left, right) = overlap_violins(series).axes
    assert [float(line.get_xdata()[0]) for line in left.lines] == [0.2] * 6
    assert not right.lines


def test_boxes_are_of_each_projection_with_its_own_chance() -> None:
    series = overlaps(FEW)
    figure = overlap_boxes(series)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"{name}_proj, {side}" for side in ("left", "right") for name in ("k", "q", "v")]
    keys, queries = figure.axes[:2]
    assert chances_of(keys)[0] == pytest.approx(8 / 192)
    assert chances_of(queries)[0] == pytest.approx(8 / 576)
    mine = series[(series["name"] == "tok – act") & (series["projection"] == "k_proj")]["left_overlap"]
    corners = keys.patches[0].get_path().vertices[:, 0]
    assert (corners.min(), corners.max()) == pytest.approx(tuple(np.quantile(mine, [0.25, 0.75])))


def test_a_pair_without_a_projection_has_no_bar_there() -> None:
    series = overlaps(FEW)
    series = series[(series["name"] != "tok – act") | (series["projection"] != "k_proj")]
    figure = overlap_boxes(series)
    assert len(names_of(figure)) == 6
    assert [len(axes.patches) for axes in figure.axes] == [5, 6, 6, 5, 6, 6]
