"""`ia2 plot` and `ia2 plot-all`: every plot of what was measured, as PNG and PDF, at the published paths.

A folder is of a training set, an evaluation set, and where how many demonstrations came from; a name begins with the
base model. A name ends in `+filter=values` for each filter that left something out, so that what has a plain name shows
all there is. What was not measured is not drawn, and told.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from matplotlib import rc_context

from ia2 import store
from ia2.config import PlotAllConfig, PlotConfig, PlotSelection, PlotType, TrainConfig
from ia2.errors import UserError
from ia2.flows.records import accepted, fail_for, fields_of, fields_of_run, passes, passing, readable_records
from ia2.report.analysis_drawings import overlap_drawings
from ia2.report.drawings import DRAWERS, metric_drawings
from ia2.report.material import Drawing, Material, Place
from ia2.report.overlaps import Overlaps, examine_overlaps
from ia2.report.plots.drawing import STYLE
from ia2.report.points import Measurements
from ia2.report.quantities import STANDARD, UNCERTAINTY, metrics_of
from ia2.report.results import Record
from ia2.report.runs import TrainedRun, read_runs
from ia2.report.selection import select
from ia2.report.similarities import Similarity, read_similarities

PLACES = ("eval_datasets", "icl_source_datasets", "icl_max_demos", "model_id")
"""Filters that choose among folders and base models, and leave nothing out of one."""
LINES = ("model_types", "num_examples", "label_types", "num_generated_tokens", "num_generated_tokens_eval")
"""Filters that choose what a plot shows."""
TYPES = tuple(kind for kind in get_args(PlotType) if kind != "all")
SAVED: dict[Any, Any] = {"savefig.dpi": 200, "pdf.fonttype": 42}
"""Sharp enough for print, and letters that stay letters."""

Wanted = Sequence[tuple[str, bool]]
"""Types of plots, each in standard mode or in that of uncertainty."""


def plot(config: PlotConfig) -> list[Path]:
    """Make the plots that are asked for, and return the paths of their files. UserError where nothing is drawn."""
    if "all" in config.plot_types:
        return _plot(config, _all_of(config.uncertainty_mode))
    return _plot(config, [(kind, config.uncertainty_mode) for kind in dict.fromkeys(config.plot_types)])


def plot_all(config: PlotAllConfig) -> list[Path]:
    """The same for every type, in standard mode, in that of uncertainty, or in both."""
    both = config.include_standard == config.include_uncertainty
    modes = (False, True) if both else (config.include_uncertainty,)
    return _plot(config, list(dict.fromkeys(one for mode in modes for one in _all_of(mode))))


def _all_of(uncertainty_mode: bool) -> Wanted:
    """Every type that has something of its own in a mode; the others are the same in both."""
    own = UNCERTAINTY if uncertainty_mode else STANDARD
    of_a_mode = STANDARD.keys() | UNCERTAINTY.keys()
    return [(kind, uncertainty_mode and kind in of_a_mode) for kind in TYPES if kind in own or kind not in of_a_mode]


@dataclass(frozen=True)
class _Store:
    """What stands below the root, as far as plots are about it."""

    root: Path
    config: PlotSelection
    records: tuple[Record, ...]

    @cached_property
    def runs(self) -> tuple[TrainedRun, ...]:
        return read_runs(self.root, self.records)

    @cached_property
    def similarities(self) -> tuple[Similarity, ...]:
        return read_similarities(self.root)

    @cached_property
    def overlaps(self) -> Overlaps:
        return examine_overlaps(self.root)


def _plot(config: PlotSelection, wanted: Wanted) -> list[Path]:
    root = store.root_of(config)
    records, problems = readable_records(root)
    there = _Store(root, config, tuple(records))
    paths: list[Path] = []
    for folder, stem, drawing in _drawings(there, wanted):
        if drawing.figure is None:
            print(f"not drawn: {folder.relative_to(root)}/{stem}: {drawing.reason}")
            continue
        paths += _save(folder, stem, drawing)
        print(f"wrote {folder.relative_to(root)}/{stem}.png and .pdf")
    if not paths:
        raise UserError(f"nothing is drawn: nothing of what was asked for was measured below {root}")
    fail_for(problems)
    return paths


def _save(folder: Path, stem: str, drawing: Drawing) -> list[Path]:
    """Write a figure in both forms, the same bytes every time."""
    assert drawing.figure is not None
    paths = [folder / f"{stem}.{form}" for form in ("png", "pdf")]
    for path in paths:
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
        with store.writing(path) as temporary, rc_context(STYLE | SAVED):
            drawing.figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    return paths


def _drawings(there: _Store, wanted: Wanted) -> Iterator[tuple[Path, str, Drawing]]:
    """Folder, name and drawing of everything that is wanted."""
    folder, places = there.root / "plots" / "unified", _places(there)
    for place, records in places.items():
        inner = folder / place.trained / f"{place.evaluated}_{place.icl_source}_{place.icl_max_demos}"
        tail = _tail(there.config, [fields_of(record) for record in records])
        for drawing in _at(there, place, records, wanted):
            yield inner, f"{store.short_model_name(place.model_id)}_{drawing.name}{tail}", drawing
    if "overlap" in dict(wanted):
        for trained, model_id in dict.fromkeys((place.trained, place.model_id) for place in places):
            overlaps, tail = _overlaps(there, trained, model_id)
            for drawing in overlap_drawings(overlaps, f"{model_id} trained on {trained}"):
                yield folder / trained, f"{store.short_model_name(model_id)}_{drawing.name}{tail}", drawing


def _at(there: _Store, place: Place, records: Sequence[Record], wanted: Wanted) -> Iterator[Drawing]:
    """Every drawing of a place."""
    shown = [record for record in records if passes(fields_of(record), there.config, LINES)]
    if not shown:
        yield Drawing("plots", reason="no record of this place passes the filters")
        return
    measurements = Measurements(select(shown, there.runs, there.config.hp_selection), there.runs)
    similarities = [one for one in there.similarities if _is_of(one, place)] if "similarity" in dict(wanted) else []
    compared = tuple(one for one in similarities if passes(_fields_of_similarity(one), there.config, LINES))
    material = Material(place, measurements, compared)
    for kind, uncertainty_mode in wanted:
        if metrics := metrics_of(kind, uncertainty_mode):
            yield from metric_drawings(material, metrics)
        elif kind in DRAWERS:
            yield from DRAWERS[kind](material)


def _places(there: _Store) -> dict[Place, list[Record]]:
    """The records of each place: of what was trained there, and of the base model on the same evaluation.

    A base model that nothing was trained of there is a place by itself, of the dataset its demonstrations come from.
    """
    passing(there.records, there.config, LINES)
    records = passing(there.records, there.config, PLACES)
    places: dict[Place, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.kind):  # adapters before bases
        place = _place(record)
        same = [one for one in places if replace(one, trained=place.trained) == place]
        for one in same if record.kind == "base" and same else [place]:
            places.setdefault(one, []).append(record)
    trained = accepted(there.config, "trained_datasets")
    kept = {place: found for place, found in places.items() if not trained or place.trained in trained}
    if not kept:
        found = ", ".join(sorted({place.trained for place in places}))
        raise UserError(f"no record passes --trained_datasets {' '.join(trained)}; there are {found}")
    _check_names(kept)
    return kept


def _place(record: Record) -> Place:
    settings = record.settings
    return Place(
        trained=record.trained_dataset,
        evaluated=settings.eval_dataset,
        icl_source=settings.icl_source_dataset,
        icl_max_demos=settings.icl_max_demos,
        model_id=settings.model_id,
    )


def _check_names(places: Iterable[Place]) -> None:
    """UserError where the plots of two base models would have one name."""
    seen: dict[Place, str] = {}
    for place in places:
        other = seen.setdefault(replace(place, model_id=store.short_model_name(place.model_id)), place.model_id)
        if other != place.model_id:
            raise UserError(f"the plots of {other} and {place.model_id} have one name: choose with --model_id")


def _tail(config: PlotSelection, fields: Sequence[Mapping[str, Any]]) -> str:
    """`+filter=values` for each filter that leaves something of a place out, and for another selection rule."""
    left_out = [name for name in LINES if not all(passes(one, config, (name,)) for one in fields)]
    told: dict[str, Any] = {name: ",".join(map(str, accepted(config, name))) for name in left_out}
    rule = {} if config.hp_selection == "dev_loss" else {"hp_selection": config.hp_selection}
    return store.name_tail(told | rule)


# What analyses are about


def _is_of(one: Similarity, place: Place) -> bool:
    trained = place.trained if one.run else one.trained_dataset  # the base model's controls are of every training set
    asked = (one.eval_dataset, one.icl_source_dataset, one.icl_max_demos, one.model_id)
    return one.trained_dataset == trained and asked == (
        place.evaluated,
        place.icl_source,
        place.icl_max_demos,
        place.model_id,
    )


def _fields_of_similarity(one: Similarity) -> dict[str, Any]:
    return {
        "model_types": one.method if one.run else "base",
        "num_examples": one.num_train_examples,
        "num_generated_tokens_eval": one.num_generated_tokens_eval,
        **fields_of_run(one.run),
    }


def _overlaps(there: _Store, trained: str, model_id: str) -> tuple[Overlaps, str]:
    """The overlaps of runs of one base model on one dataset that pass the filters, and the end of their names."""
    mine = [one for one in there.overlaps.found if (one.config_a.dataset, one.config_a.model_id) == (trained, model_id)]
    fields = {one.path: [_fields_of_trained(config) for config in (one.config_a, one.config_b)] for one in mine}
    kept = [one for one in mine if all(passes(each, there.config, LINES) for each in fields[one.path])]
    tail = _tail(there.config, [each for pair in fields.values() for each in pair])
    return replace(there.overlaps, found=tuple(kept)), tail


def _fields_of_trained(config: TrainConfig) -> dict[str, Any]:
    return {"model_types": config.training_method, "num_examples": config.num_labels, **fields_of_run(config)}
