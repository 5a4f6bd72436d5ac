"""Plots of the analyses of one place: similarity of activations, and overlap of the subspaces of updates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from ia2.analysis.subspace import Overlap
from ia2.plots import (
    captions,
    overlap_bars,
    overlap_boxes,
    overlap_violins,
    similarity_against_performance,
    similarity_by_layer,
    similarity_heat_maps,
)
from ia2.plots.material import Drawing, Material
from ia2.plots.overlap import Kind
from ia2.results.analyses import heat_map_series, layer_series, overlap_series, performance_pairs
from ia2.results.text import between, of_runs


def similarity_drawings(material: Material) -> Iterator[Drawing]:
    """Heat maps and lines of similarity at each N, and similarity against performance."""
    sizes = sorted({run.num_train_examples for model in material.compared for run in model.runs})
    if not sizes:
        yield Drawing("similarity", reason="no comparison with the teacher; `ia2 similarity` makes them")
        return
    for num in sizes:
        yield from _similarity_at(material, num)
    pairs = performance_pairs(material.compared, material.selection.records)
    if pairs.empty:
        yield Drawing("similarity_against_performance", reason="no run has both a similarity and a record")
        return
    caption = captions.performance_caption(pairs, material.place.title)
    yield Drawing("similarity_against_performance", similarity_against_performance(pairs, caption))


def _similarity_at(material: Material, num: int) -> Iterator[Drawing]:
    models = [
        replace(model, runs=runs)
        for model in material.compared
        if (runs := tuple(run for run in model.runs if run.num_train_examples == num))
    ]
    title = f"{material.place.title}, N = {num}"
    counts = of_runs([len(model.runs) for model in models])
    examples = between([run.num_examples for model in models for run in model.runs])
    heat_maps = similarity_heat_maps(heat_map_series(models), captions.heat_map_caption(title, counts, examples))
    yield Drawing(f"similarity_layers_and_tokens_N{num}", heat_maps)
    caption = captions.layers_caption(title, counts, examples)
    yield Drawing(
        f"similarity_layers_N{num}",
        similarity_by_layer(layer_series(models), f"{material.place.short}, N = {num}", caption),
    )


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
        for kind in KINDS:
            for shape, (draw, what) in OVERLAPS.items():
                caption = captions.overlap_caption(series, f"{title}, N = {num}", what)
                yield Drawing(f"subspace_{kind}_{shape}_N{num}", draw(series, kind, caption))
