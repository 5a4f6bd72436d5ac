"""Every plot of the measurements at one place, each under the name of its files, or the reason for its absence.

A place is a training set, an evaluation set, and the source and number of demonstrations, on one base model. A type of
plot is a function of the measurements at one place; a new one is an entry in `DRAWERS`.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.evaluation.calibration import CONDITIONS
from ia2.methods import parse_method
from ia2.plots import captions
from ia2.plots.bars import adapters_compared
from ia2.plots.drawing import trained_points
from ia2.plots.lines import MOST_LINES, cost_against_accuracy, metric_against_n
from ia2.plots.overlap import Kind, overlap_bars, overlap_boxes, overlap_violins
from ia2.plots.runs import dev_loss_curves, dev_loss_series, reliability_diagram, reliability_series
from ia2.plots.similarity import similarity_against_performance, similarity_by_layer, similarity_heat_maps
from ia2.results.analyses import compared, heat_map_series, layer_series, overlap_series, performance_pairs
from ia2.results.frame import aggregate, in_condition, points, summarise
from ia2.results.quantities import QUANTITIES, UNCERTAINTY
from ia2.results.runs import TrainedRun
from ia2.results.select import Selection
from ia2.results.text import between, of_runs

IN_WORDS = {False: "without demonstrations", True: "with demonstrations"}
COMPARED_IN = ("accuracy", "ece_equal_count")
"""Metrics that adapters are compared in."""


@dataclass(frozen=True)
class Place:
    """The subject of the plots of one folder and base model."""

    trained: str
    evaluated: str
    icl_source: str
    icl_max_demos: int
    model_id: str

    @property
    def short(self) -> str:
        """The datasets alone, for above the axes."""
        return self.evaluated if self.trained == self.evaluated else f"{self.trained} → {self.evaluated}"

    @property
    def title(self) -> str:
        """The model and both datasets, for a caption."""
        star = "" if self.trained == self.evaluated else f", evaluated on {self.evaluated}"
        return f"{self.model_id} trained on {self.trained}{star}"


@dataclass(frozen=True)
class Material:
    """The measurements at a place: records that are shown, all runs, and similarities."""

    place: Place
    selection: Selection
    runs: tuple[TrainedRun, ...]
    similarities: tuple[Similarity, ...] = ()

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The aggregate of the records."""
        return aggregate(self.selection)

    def by_size(self) -> dict[int, Selection]:
        """The records at each N that was evaluated."""
        records = self.selection.records
        sizes = sorted({record.settings.num_train_examples for record in records})
        at = {num: tuple(one for one in records if one.settings.num_train_examples == num) for num in sizes}
        return {num: replace(self.selection, records=at[num]) for num in sizes}


@dataclass(frozen=True)
class Drawing:
    """A figure under its name, which is without model and ending; or the reason for its absence."""

    name: str
    figure: Figure | None = None
    reason: str = ""


def metric_drawings(material: Material, metrics: tuple[str, ...]) -> Iterator[Drawing]:
    """Each metric against N, in each condition."""
    for metric in metrics:
        found = points(material.scores, metric)
        if found.empty:
            yield Drawing(metric, reason=_not_measured(metric))
            continue
        for with_icl, when in CONDITIONS.items():
            name, words = f"{metric}_{when}", IN_WORDS[with_icl]
            if not (found["with_icl"] == with_icl).any():
                yield Drawing(name, reason=_not_measured_in(with_icl))
                continue
            shown = in_condition(found, with_icl)
            rule = material.selection.hp_selection
            caption = captions.lines_caption(shown, f"{material.place.title}, {words}", rule)
            title = f"{material.place.short}, {words}"
            yield Drawing(name, metric_against_n(shown, QUANTITIES[metric], title, caption))


def _not_measured(metric: str) -> str:
    if metric.startswith("label_"):
        return "not measured; tasks with labels have it"
    if metric == "auroc":
        return "not measured (`ia2 evaluate --uncertainty_analysis` does), or all answers are right, or all wrong"
    of_uncertainty = any(metric in names for names in UNCERTAINTY.values())
    return "not measured; `ia2 evaluate --uncertainty_analysis` does" if of_uncertainty else "not measured"


def _not_measured_in(with_icl: bool) -> str:
    hint = "; `ia2 evaluate --eval_with_icl` does" if with_icl else ""
    return f"not measured {IN_WORDS[with_icl]}{hint}"


def reliability_drawings(material: Material) -> Iterator[Drawing]:
    """Reliability diagrams at each N, in each condition."""
    for num, selection in material.by_size().items():
        summary = summarise(selection)
        for with_icl, when in CONDITIONS.items():
            name, rows = f"reliability_N{num}_{when}", summary[summary["with_icl"] == with_icl]
            series = reliability_series(rows, selection.records)
            if series.empty:
                yield Drawing(name, reason=_not_measured_in(with_icl))
                continue
            title = f"{material.place.title}, N = {num}, {IN_WORDS[with_icl]}"
            caption = f"{title}.\n{captions.reliability_caption(rows)}"
            yield Drawing(name, reliability_diagram(series, caption, 2 if series["panel"].nunique() <= 4 else 3))


def dev_loss_drawings(material: Material) -> Iterator[Drawing]:
    """Dev-loss curves at each N."""
    for num, selection in material.by_size().items():
        summary = summarise(selection).drop_duplicates("records")
        series = dev_loss_series(summary, selection.records, material.runs)
        if series.empty:
            yield Drawing(f"dev_loss_N{num}", reason="no record is of a run folder with a dev loss")
            continue
        title = f"{material.place.model_id} trained on {material.place.trained}, N = {num}"
        caption = f"{title}.\n{captions.dev_loss_caption(summary[summary['rule'] != ''])}"
        columns = 2 if len(series[["panel", "phase"]].drop_duplicates()) <= 4 else 3
        yield Drawing(f"dev_loss_N{num}", dev_loss_curves(series, caption, columns))


def cost_drawings(material: Material) -> Iterator[Drawing]:
    """Accuracy against seconds and bytes, in each condition; of many models only at the greatest N."""
    found = points(material.scores, "accuracy")
    for with_icl, when in CONDITIONS.items():
        words, shown = IN_WORDS[with_icl], in_condition(found, with_icl)
        trained = trained_points(shown)
        if trained.empty:
            yield Drawing(f"cost_{when}", reason=f"no trained run was evaluated {words}")
            continue
        title = f"{material.place.title}, {words}"
        if trained["name"].nunique() > MOST_LINES:
            greatest = trained["num_train_examples"].max()
            shown, title = shown[shown["num_train_examples"] == greatest], f"{title}, N = {greatest} (the greatest)"
        caption = captions.lines_caption(shown, title, material.selection.hp_selection, circles="")
        short = f"{material.place.short}, {words}"
        yield Drawing(f"cost_{when}", cost_against_accuracy(shown, QUANTITIES["accuracy"], short, caption))


def adapter_drawings(material: Material) -> Iterator[Drawing]:
    """The adapters side by side, at each N that several were measured at, in each condition."""
    accuracies = points(material.scores, "accuracy")
    at = {int(str(num)): _adapters(rows) for num, rows in accuracies.groupby("num_train_examples")}
    sizes = [num for num in at if len(at[num]) > 1]
    if not sizes:
        measured = ", ".join(sorted(_adapters(accuracies))) or "none"
        yield Drawing("adapters", reason=f"two adapters at one N are needed to compare; evaluated: {measured}")
    for num, metric in itertools.product(sizes, COMPARED_IN):
        found = points(material.scores, metric)
        for with_icl, when in CONDITIONS.items():
            name, words = f"adapters_{metric}_N{num}_{when}", f"{IN_WORDS[with_icl]}, N = {num}"
            shown = in_condition(found[found["num_train_examples"] == num], with_icl)
            if len(_adapters(shown)) < 2:
                yield Drawing(name, reason=f"fewer than two adapters were evaluated {IN_WORDS[with_icl]}")
                continue
            rule = material.selection.hp_selection
            caption = captions.lines_caption(shown, f"{material.place.title}, {words}", rule)
            title = f"{material.place.short}, {words}"
            yield Drawing(name, adapters_compared(shown, QUANTITIES[metric], title, caption))


def _adapters(points: pd.DataFrame) -> set[str]:
    return {parse_method(method).adapter for method in points["method"] if method != "base"}


def similarity_drawings(material: Material) -> Iterator[Drawing]:
    """Heat maps and lines of similarity at each N, and similarity against performance."""
    models, place = compared(material.similarities, material.runs), material.place
    sizes = sorted({run.num_train_examples for model in models for run in model.runs})
    if not sizes:
        yield Drawing("similarity", reason="no comparison with the teacher; `ia2 similarity` makes them")
        return
    for num in sizes:
        at_n = [
            replace(model, runs=runs)
            for model in models
            if (runs := tuple(run for run in model.runs if run.num_train_examples == num))
        ]
        counts = of_runs([len(model.runs) for model in at_n])
        of_it = f"{place.title}, N = {num}", counts, between([run.num_examples for one in at_n for run in one.runs])
        heat_maps = similarity_heat_maps(heat_map_series(at_n), captions.heat_map_caption(*of_it))
        yield Drawing(f"similarity_layers_and_tokens_N{num}", heat_maps)
        title = f"{place.short}, N = {num}"
        by_layer = similarity_by_layer(layer_series(at_n), title, captions.layers_caption(*of_it))
        yield Drawing(f"similarity_layers_N{num}", by_layer)
    pairs = performance_pairs(models, material.selection.records)
    if pairs.empty:
        yield Drawing("similarity_against_performance", reason="no run has both a similarity and a record")
        return
    figure = similarity_against_performance(pairs, captions.performance_caption(pairs, place.title))
    yield Drawing("similarity_against_performance", figure)


DRAWERS: Mapping[str, Callable[[Material], Iterator[Drawing]]] = {
    "reliability": reliability_drawings,
    "curves": dev_loss_drawings,
    "cost": cost_drawings,
    "adapters": adapter_drawings,
    "similarity": similarity_drawings,
}
"""The types of plots of a place that are no plots of a metric against N."""

OVERLAPS: Mapping[str, tuple[Callable[[pd.DataFrame, Kind, str], Figure], str]] = {
    "bars": (overlap_bars, captions.BARS),
    "violins": (overlap_violins, captions.VIOLINS),
    "boxes": (overlap_boxes, captions.BOXES),
}
KINDS: tuple[Kind, ...] = ("overlap", "energy_overlap")


def overlap_drawings(pairs: Sequence[Overlap], title: str) -> Iterator[Drawing]:
    """Every figure of the overlaps of one base model's runs on one dataset, at each N."""
    sizes = sorted({one.config_a.num_labels for one in pairs if one.num_rows})
    if not sizes:
        yield Drawing("subspace_overlap", reason="no pair of these methods has subspaces that could be compared")
    for num in sizes:
        series = overlap_series([one for one in pairs if one.config_a.num_labels == num])
        for kind, (shape, (draw, interval)) in itertools.product(KINDS, OVERLAPS.items()):
            caption = captions.overlap_caption(series, f"{title}, N = {num}", interval)
            yield Drawing(f"subspace_{kind}_{shape}_N{num}", draw(series, kind, caption))
