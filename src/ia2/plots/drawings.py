"""Every plot of what records of one place measured, each under the name of its files, or the reason why there is none.

A type of plot is a function of what was measured there; a new one is an entry in `DRAWERS`.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from ia2.methods import parse_method
from ia2.plots import (
    adapters_compared,
    captions,
    cost_against_accuracy,
    dev_loss_curves,
    metric_against_n,
    reliability_diagram,
)
from ia2.plots.analysis_drawings import similarity_drawings
from ia2.plots.lines import MOST_LINES
from ia2.plots.material import Drawing, Material
from ia2.plots.series import dev_loss_series, reliability_series
from ia2.results.frame import in_condition, points, summarise
from ia2.results.quantities import QUANTITIES, UNCERTAINTY
from ia2.results.records import PASSES

IN_WORDS = {False: "without demonstrations", True: "with demonstrations"}
COMPARED_IN = ("accuracy", "ece_equal_count")
"""What adapters are compared in."""


def metric_drawings(material: Material, metrics: tuple[str, ...]) -> Iterator[Drawing]:
    """Each metric against N, in each pass."""
    for metric in metrics:
        found = points(material.scores, metric)
        if found.empty:
            yield Drawing(metric, reason=_not_measured(metric))
            continue
        for with_icl, when in PASSES.items():
            name = f"{metric}_{when}"
            if not (found["with_icl"] == with_icl).any():
                yield Drawing(name, reason=_pass_not_measured(with_icl))
                continue
            title = f"{material.place.title}, {IN_WORDS[with_icl]}"
            shown = in_condition(found, with_icl)
            caption = captions.lines_caption(shown, title, material.rule)
            yield Drawing(name, metric_against_n(shown, QUANTITIES[metric], _short(material, with_icl), caption))


def _not_measured(metric: str) -> str:
    if metric.startswith("label_"):
        return "not measured; tasks with labels have it"
    if metric == "auroc":
        return "not measured (`ia2 evaluate --uncertainty_analysis` does), or all answers are right, or all wrong"
    of_uncertainty = any(metric in names for names in UNCERTAINTY.values())
    return "not measured; `ia2 evaluate --uncertainty_analysis` does" if of_uncertainty else "not measured"


def _pass_not_measured(with_icl: bool) -> str:
    hint = "; `ia2 evaluate --eval_with_icl` does" if with_icl else ""
    return f"not measured {IN_WORDS[with_icl]}{hint}"


def _short(material: Material, with_icl: bool) -> str:
    return f"{material.place.short}, {IN_WORDS[with_icl]}"


def reliability_drawings(material: Material) -> Iterator[Drawing]:
    """Reliability diagrams at each N, in each pass."""
    for num in material.sizes:
        selection = material.of_size(num)
        summary = summarise(selection)
        for with_icl, when in PASSES.items():
            name, rows = f"reliability_N{num}_{when}", summary[summary["with_icl"] == with_icl]
            series = reliability_series(rows, selection.records)
            if series.empty:
                yield Drawing(name, reason=_pass_not_measured(with_icl))
                continue
            caption = f"{material.place.title}, N = {num}, {IN_WORDS[with_icl]}. {captions.reliability_caption(rows)}"
            yield Drawing(name, reliability_diagram(series, caption, _columns(series["panel"].nunique())))


def dev_loss_drawings(material: Material) -> Iterator[Drawing]:
    """Dev-loss curves at each N."""
    for num in material.sizes:
        selection = material.of_size(num)
        summary = summarise(selection).drop_duplicates("records")
        series = dev_loss_series(summary, selection.records, material.runs)
        if series.empty:
            reason = "no run folder with a dev loss stands behind the records"
            yield Drawing(f"dev_loss_N{num}", reason=reason)
            continue
        trained = summary[summary["rule"] != ""]
        caption = f"{material.place.model_id} trained on {material.place.trained}, N = {num}. "
        columns = _columns(len(series[["panel", "phase"]].drop_duplicates()))
        yield Drawing(
            f"dev_loss_N{num}", dev_loss_curves(series, caption + captions.dev_loss_caption(trained), columns)
        )


def _columns(num_panels: int) -> int:
    return 2 if num_panels <= 4 else 3


def cost_drawings(material: Material) -> Iterator[Drawing]:
    """Accuracy against seconds and bytes, in each pass."""
    found = points(material.scores, "accuracy")
    for with_icl, when in PASSES.items():
        name, shown = f"cost_{when}", in_condition(found, with_icl)
        trained = shown[shown["method"] != "base"]
        if trained.empty:
            yield Drawing(name, reason=f"no trained run was evaluated {IN_WORDS[with_icl]}")
            continue
        title = f"{material.place.title}, {IN_WORDS[with_icl]}"
        if trained["name"].nunique() > MOST_LINES:
            greatest = trained["num_train_examples"].max()
            shown, title = shown[shown["num_train_examples"] == greatest], f"{title}, N = {greatest} (the greatest)"
        caption = captions.cost_caption(shown, title, material.rule)
        figure = cost_against_accuracy(shown, QUANTITIES["accuracy"], _short(material, with_icl), caption)
        yield Drawing(name, figure)


def adapter_drawings(material: Material) -> Iterator[Drawing]:
    """The adapters side by side, at each N that several were measured at, in each pass."""
    accuracies = points(material.scores, "accuracy")
    sizes = [num for num in material.sizes if len(_adapters(accuracies[accuracies["num_train_examples"] == num])) > 1]
    if not sizes:
        there = ", ".join(sorted(_adapters(accuracies))) or "none"
        yield Drawing("adapters", reason=f"two adapters at one N are needed to compare; evaluated: {there}")
    for num, metric in itertools.product(sizes, COMPARED_IN):
        found = points(material.scores, metric)
        for with_icl in PASSES:
            shown = in_condition(found[found["num_train_examples"] == num], with_icl)
            yield _adapters_at(material, shown, (metric, num), with_icl)


def _adapters(points: pd.DataFrame) -> set[str]:
    return {parse_method(method).adapter for method in points["method"] if method != "base"}


def _adapters_at(material: Material, shown: pd.DataFrame, of: tuple[str, int], with_icl: bool) -> Drawing:
    metric, num = of
    name = f"adapters_{metric}_N{num}_{PASSES[with_icl]}"
    if len(_adapters(shown)) < 2:
        return Drawing(name, reason=f"fewer than two adapters were evaluated {IN_WORDS[with_icl]}")
    caption = captions.adapters_caption(
        shown, f"{material.place.title}, N = {num}, {IN_WORDS[with_icl]}", material.rule
    )
    title = f"{_short(material, with_icl)}, N = {num}"
    return Drawing(name, adapters_compared(shown, QUANTITIES[metric], title, caption))


DRAWERS: Mapping[str, Callable[[Material], Iterator[Drawing]]] = {
    "reliability": reliability_drawings,
    "curves": dev_loss_drawings,
    "cost": cost_drawings,
    "adapters": adapter_drawings,
    "similarity": similarity_drawings,
}
"""The types of plots of a place that are no plots of a metric against N."""
