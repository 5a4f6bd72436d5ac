"""`ia2 plot` and `ia2 plot-all`: every plot of the measurements, as PNG and PDF, at the published paths.

A folder is of a training set, an evaluation set, and the source and number of demonstrations; a name begins with the
base model. Some filters choose among these places. Others choose among the models of a place, and a name ends in
`+filter=values` for each of them that left something out, so that a plain name shows everything. A quantity that was
not measured is not drawn, and the reason is printed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from matplotlib import rc_context

from ia2 import store
from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.config import PlotAllConfig, PlotConfig, PlotType, RecordFilter, path_part
from ia2.errors import UserError
from ia2.plots.drawing import MARKS, METADATA, STYLE
from ia2.plots.drawings import DRAWERS, Drawing, Material, Place, metric_drawings, overlap_drawings
from ia2.results.quantities import STANDARD, UNCERTAINTY, metrics_of
from ia2.results.read import Stored, fail_for, read
from ia2.results.records import Record, Settings
from ia2.results.select import select
from ia2.results.where import accepted, fields_of, passes, where

TYPES = tuple(kind for kind in get_args(PlotType) if kind != "all")
SAVED: dict[Any, Any] = {"savefig.dpi": 200, "pdf.fonttype": 42}
"""Sharp enough for print, and letters that stay letters."""
ANALYSES = {"similarity", "overlap"}
"""Types of plots that need no evaluation."""
OF_PLACES = ("eval_datasets", "icl_source_datasets", "model_id")
"""Filters that choose among places, but for the training set, since the base model is beside all of them, and the
number of demonstrations, of which all numbers from N on are one."""
OF_LINES = ("model_types", "num_examples", "label_types", "num_generated_tokens", "num_generated_tokens_eval")
"""Filters that choose among the models of a place."""

Wanted = Sequence[tuple[str, bool]]
"""Types of plots, each in standard mode or in that of uncertainty."""


def plot(config: PlotConfig) -> list[Path]:
    """Make the requested plots, and return the paths of their files. UserError where nothing is drawn."""
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
        name = f"{folder.relative_to(root)}/{stem}"
        if drawing.figure is None:
            print(f"not drawn: {name}: {drawing.reason}")
            continue
        for suffix in (".png", ".pdf"):
            path = folder / f"{stem}{suffix}"
            with store.replacing(path, MARKS[suffix]) as temporary, rc_context(STYLE | SAVED):
                drawing.figure.savefig(temporary, format=suffix[1:], metadata=METADATA[suffix])
            paths.append(path)
        print(f"wrote {name}.png and .pdf")
    if not paths:
        raise UserError(f"nothing is drawn: nothing of what was asked for was measured below {root}")
    fail_for(stored.problems)
    return paths


def _drawings(stored: Stored, config: RecordFilter, wanted: Wanted) -> Iterator[tuple[Path, str, Drawing]]:
    """Folder, name and drawing of everything that is wanted."""
    unified = stored.root / "plots" / "unified"
    for place, found in _places(stored, config).items():
        evaluation = store.safe_filename(f"{place.evaluated}_{place.icl_source}_{place.icl_max_demos}")
        left = [one for one in found if passes(fields_of(one), config, OF_LINES)]
        selection = select([one for one in left if isinstance(one, Record)], stored.runs, config.hp_selection)
        similarities = tuple(one for one in left if isinstance(one, Similarity))
        material = Material(place, selection, stored.runs, similarities)
        for kind, uncertainty_mode in wanted:
            of_type = Similarity if kind == "similarity" else Record
            end = _name_end(config, [fields_of(one) for one in found if isinstance(one, of_type)])
            for drawing in _drawn(material, kind, uncertainty_mode):
                yield unified / path_part(place.trained) / evaluation, _stem(place.model_id, drawing, end), drawing
    if "overlap" in dict(wanted):
        yield from _overlaps(stored, config, unified)


def _drawn(material: Material, kind: str, uncertainty_mode: bool) -> Iterator[Drawing]:
    """The drawings of one type at a place; none for the overlap, which is of no place."""
    if kind not in ANALYSES and not material.selection.records:
        yield Drawing(kind, reason="no record of this place passes the filters")
    elif metrics := metrics_of(kind, uncertainty_mode):
        yield from metric_drawings(material, metrics)
    elif kind in DRAWERS:
        yield from DRAWERS[kind](material)


def _overlaps(stored: Stored, config: RecordFilter, unified: Path) -> Iterator[tuple[Path, str, Drawing]]:
    """Overlaps depend on no evaluation: their folder is that of the training set."""
    models, datasets = accepted(config, "model_id"), accepted(config, "trained_datasets")
    found: dict[tuple[str, str], list[Overlap]] = {}
    for one in stored.overlaps:
        trained, model_id = one.config_a.dataset, one.config_a.model_id
        if (not models or model_id in models) and (not datasets or trained in datasets):
            found.setdefault((trained, model_id), []).append(one)
    if not found:
        yield unified, "subspace_overlap", Drawing("", reason="no pair of LoRA runs was compared; `ia2 subspace` does")
    for (trained, model_id), pairs in found.items():
        fields = [(fields_of(one.config_a), fields_of(one.config_b)) for one in pairs]
        kept = [
            one for one, both in zip(pairs, fields, strict=True) if all(passes(each, config, OF_LINES) for each in both)
        ]
        end = _name_end(config, [each for both in fields for each in both])
        for drawing in overlap_drawings(kept, f"{model_id} trained on {trained}"):
            yield unified / path_part(trained), _stem(model_id, drawing, end), drawing


def _stem(model_id: str, drawing: Drawing, end: str) -> str:
    return store.safe_filename(f"{store.short_model_name(model_id)}_{drawing.name}{end}")


def _name_end(config: RecordFilter, fields: Sequence[Mapping[str, Any]]) -> str:
    """`+filter=values` for each filter that leaves something out, and for another selection rule."""
    left_out = [name for name in OF_LINES if not all(passes(one, config, (name,)) for one in fields)]
    values: dict[str, Any] = {name: ",".join(map(str, accepted(config, name))) for name in left_out}
    rule = {} if config.hp_selection == "dev_loss" else {"hp_selection": config.hp_selection}
    return store.name_tail(values | rule)


# Places


def _places(stored: Stored, config: RecordFilter) -> dict[Place, list[Record | Similarity]]:
    """Every place that the filters leave, with its measurements, whether the filters of lines leave these or not.

    UserError where they leave no record of any. The base model is at each place of the same settings at which a model
    was trained; without such a one it is a place by itself, of the dataset of its demonstrations.
    """
    if stored.records:
        where(stored.records, config, (*OF_LINES, *OF_PLACES))
    kinds: tuple[Sequence[Record | Similarity], ...] = (stored.records, stored.similarities)
    known = sorted({_settings(one).icl_max_demos for ones in kinds for one in ones})
    numbers = accepted(config, "icl_max_demos") or tuple(known)
    found: dict[Place, list[Record | Similarity]] = {}
    for ones in kinds:
        for one in sorted(ones, key=lambda one: one.run is None):  # trained models first, the base model beside them
            for own in _own_places(one, numbers) if passes(fields_of(one), config, OF_PLACES) else ():
                beside = [place for place in found if replace(place, trained=own.trained) == own] if not one.run else []
                for place in beside or [own]:
                    found.setdefault(place, []).append(one)
    if stored.records and not found:
        values = " ".join(map(str, numbers))
        raise UserError(f"no record passes --icl_max_demos {values}; there are {', '.join(map(str, known))}")
    datasets = accepted(config, "trained_datasets")
    kept = {place: ones for place, ones in found.items() if not datasets or place.trained in datasets}
    if stored.records and not kept:
        trained = sorted({place.trained for place in found})
        raise UserError(f"no record passes --trained_datasets {' '.join(datasets)}; there are {', '.join(trained)}")
    _check_names(kept)
    return kept


def _settings(one: Record | Similarity) -> Settings | Similarity:
    return one.settings if isinstance(one, Record) else one


def _own_places(one: Record | Similarity, numbers: Sequence[int]) -> list[Place]:
    """The place of each maximal number of demonstrations for which the model would have seen as many as it did."""
    settings = _settings(one)
    most = settings.num_train_examples if settings.icl_pool == "train" else None
    shown = [number if most is None else min(number, most) for number in (settings.icl_max_demos, *numbers)]
    return [
        Place(one.trained_dataset, settings.eval_dataset, settings.icl_source_dataset, number, settings.model_id)
        for number, num_shown in zip(numbers, shown[1:], strict=True)
        if num_shown == shown[0]
    ]


def _check_names(found: Iterable[Place]) -> None:
    """UserError where the plots of two base models would have one name."""
    seen: dict[Place, str] = {}
    for place in found:
        other = seen.setdefault(replace(place, model_id=store.short_model_name(place.model_id)), place.model_id)
        if other != place.model_id:
            raise UserError(f"the plots of {other} and {place.model_id} have one name: choose with --model_id")
