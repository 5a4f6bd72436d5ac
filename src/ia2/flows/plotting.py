"""`ia2 plot` and `ia2 plot-all`: every plot of what was measured, as PNG and PDF, at the published paths.

A folder is of a training set, an evaluation set, and where how many demonstrations came from; a name begins with the
base model. A name ends in `+filter=values` for each filter that left something out, so that what has a plain name shows
all there is. What was not measured is not drawn, and told.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from matplotlib import rc_context

from ia2 import store
from ia2.config import PlotAllConfig, PlotConfig, PlotType, RecordFilter, path_part
from ia2.errors import UserError
from ia2.flows.places import OF_LINES, Found, places, tail, updates
from ia2.plots.analysis_drawings import overlap_drawings
from ia2.plots.drawing import MARKS, METADATA, STYLE
from ia2.plots.drawings import DRAWERS, metric_drawings
from ia2.plots.material import Drawing, Material, Place
from ia2.results.quantities import STANDARD, UNCERTAINTY, metrics_of
from ia2.results.read import Stored, fail_for, read
from ia2.results.runs import TrainedRun
from ia2.results.select import select
from ia2.results.where import fields_of, passes

TYPES = tuple(kind for kind in get_args(PlotType) if kind != "all")
SAVED: dict[Any, Any] = {"savefig.dpi": 200, "pdf.fonttype": 42}
"""Sharp enough for print, and letters that stay letters."""

ANALYSES = {"similarity", "overlap"}
"""Types of plots that need no evaluation."""

Wanted = Sequence[tuple[str, bool]]
"""Types of plots, each in standard mode or in that of uncertainty."""


def plot(config: PlotConfig) -> list[Path]:
    """Make the plots that are asked for, and return the paths of their files. UserError where nothing is drawn."""
    if "all" in config.plot_types:
        return _plot(config, _all_of(config.uncertainty_mode))
    return _plot(config, [(kind, config.uncertainty_mode) for kind in dict.fromkeys(config.plot_types)])


def plot_all(config: PlotAllConfig) -> list[Path]:
    """Make the plots of every type, in standard mode, in that of uncertainty, or in both; returns their paths."""
    both = config.include_standard == config.include_uncertainty
    modes = (False, True) if both else (config.include_uncertainty,)
    return _plot(config, list(dict.fromkeys(one for mode in modes for one in _all_of(mode))))


def _all_of(uncertainty_mode: bool) -> Wanted:
    """Every type that has something of its own in a mode; the others are the same in both."""
    own = UNCERTAINTY if uncertainty_mode else STANDARD
    of_a_mode = STANDARD.keys() | UNCERTAINTY.keys()
    return [(kind, uncertainty_mode and kind in of_a_mode) for kind in TYPES if kind in own or kind not in of_a_mode]


def _plot(config: RecordFilter, wanted: Wanted) -> list[Path]:
    root = store.resolve_root(config)
    kinds = dict(wanted)
    stored = read(root, ANALYSES & kinds.keys(), may_be_none=kinds.keys() <= ANALYSES)
    paths: list[Path] = []
    for folder, stem, drawing in _drawings(stored, config, wanted):
        if drawing.figure is None:
            print(f"not drawn: {folder.relative_to(root)}/{stem}: {drawing.reason}")
            continue
        paths += _save(folder, stem, drawing)
        print(f"wrote {folder.relative_to(root)}/{stem}.png and .pdf")
    if not paths:
        raise UserError(f"nothing is drawn: nothing of what was asked for was measured below {root}")
    fail_for(stored.problems)
    return paths


def _save(folder: Path, stem: str, drawing: Drawing) -> list[Path]:
    """Write a figure in both forms, the same bytes every time."""
    assert drawing.figure is not None
    paths = [folder / f"{stem}.{form}" for form in ("png", "pdf")]
    for path in paths:
        with store.replacing(path, MARKS[path.suffix]) as temporary, rc_context(STYLE | SAVED):
            drawing.figure.savefig(temporary, format=path.suffix[1:], metadata=METADATA[path.suffix])
    return paths


def _drawings(stored: Stored, config: RecordFilter, wanted: Wanted) -> Iterator[tuple[Path, str, Drawing]]:
    """Folder, name and drawing of everything that is wanted."""
    folder = stored.root / "plots" / "unified"
    for place, found in places(stored, config).items():
        asked = store.safe_filename(f"{place.evaluated}_{place.icl_source}_{place.icl_max_demos}")
        inner = folder / path_part(place.trained) / asked
        material = _material(place, found, config, stored.runs)
        of_records = tail(config, [fields_of(record) for record in found.records])
        of_similarities = tail(config, [fields_of(one) for one in found.similarities])
        for kind, uncertainty_mode in wanted:
            end = of_similarities if kind == "similarity" else of_records
            for drawing in _drawn(material, kind, uncertainty_mode):
                yield inner, _stem(place.model_id, drawing, end), drawing
    if "overlap" in dict(wanted):
        yield from _of_updates(stored, config, folder)


def _material(place: Place, found: Found, config: RecordFilter, runs: tuple[TrainedRun, ...]) -> Material:
    """The part of a place that the filters leave."""
    records = [one for one in found.records if passes(fields_of(one), config, OF_LINES)]
    similarities = tuple(one for one in found.similarities if passes(fields_of(one), config, OF_LINES))
    return Material(place, select(records, runs, config.hp_selection), runs, similarities)


def _drawn(material: Material, kind: str, uncertainty_mode: bool) -> Iterator[Drawing]:
    """The drawings of one type at a place; none for the overlap, which is of no place."""
    if kind not in ANALYSES and not material.sizes:
        yield Drawing(kind, reason="no record of this place passes the filters")
    elif metrics := metrics_of(kind, uncertainty_mode):
        yield from metric_drawings(material, metrics)
    elif kind in DRAWERS:
        yield from DRAWERS[kind](material)


def _of_updates(stored: Stored, config: RecordFilter, folder: Path) -> Iterator[tuple[Path, str, Drawing]]:
    """Overlaps depend on no evaluation: they lie in the folder of the dataset trained on."""
    found = updates(stored, config)
    if not found:
        yield folder, "subspace_overlap", Drawing("", reason="no pair of LoRA runs was compared; `ia2 subspace` does")
    for (trained, model_id), pairs in found.items():
        fields = {one.path: [fields_of(one.config_a), fields_of(one.config_b)] for one in pairs}
        kept = [one for one in pairs if all(passes(each, config, OF_LINES) for each in fields[one.path])]
        end = tail(config, [each for of_pair in fields.values() for each in of_pair])
        for drawing in overlap_drawings(kept, f"{model_id} trained on {trained}"):
            yield folder / path_part(trained), _stem(model_id, drawing, end), drawing


def _stem(model_id: str, drawing: Drawing, end: str) -> str:
    return store.safe_filename(f"{store.short_model_name(model_id)}_{drawing.name}{end}")
