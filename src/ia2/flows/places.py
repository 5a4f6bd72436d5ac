"""What is plotted together: the places that the filters leave, with their records, similarities and overlaps.

Filters are of two kinds. Some choose among places, each of which has a folder or a base model of its own. Others choose
what of a place is shown, and stand in a file's name where they leave something out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ia2 import store
from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.config import RecordFilter, TrainConfig
from ia2.errors import UserError
from ia2.plots.material import Place
from ia2.results.read import Stored
from ia2.results.records import Record, Settings
from ia2.results.where import accepted, fields_of, passes, where

OF_PLACES = ("eval_datasets", "icl_source_datasets", "model_id")
"""Filters that choose among places, but for the dataset trained on, since a base model stands beside all of them, and
the number of demonstrations, of which all numbers from N on are one."""
OF_LINES = ("model_types", "num_examples", "label_types", "num_generated_tokens", "num_generated_tokens_eval")
"""Filters that choose what of a place is shown."""


@dataclass(frozen=True)
class Found:
    """What a place has, whether the filters of lines leave it or not."""

    records: list[Record] = field(default_factory=list)
    similarities: list[Similarity] = field(default_factory=list)


# Places


def places(stored: Stored, config: RecordFilter) -> dict[Place, Found]:
    """Every place that the filters leave. UserError where they leave no record of those there are.

    The base model stands at each place that asks the same of what was trained there; where nothing was, it is a place
    by itself, of the dataset its demonstrations come from.
    """
    if stored.records:
        where(stored.records, config, (*OF_LINES, *OF_PLACES))
    found: dict[Place, Found] = {}
    known = {one.settings.icl_max_demos for one in stored.records} | {one.icl_max_demos for one in stored.similarities}
    numbers = accepted(config, "icl_max_demos") or tuple(sorted(known))
    for record in sorted(stored.records, key=lambda record: record.run is None):
        if passes(fields_of(record), config, OF_PLACES):
            for place in _standing_at(_places_of(record.settings, record, numbers), record.run, found):
                found.setdefault(place, Found()).records.append(record)
    for one in sorted(stored.similarities, key=lambda one: one.run is None):
        if passes(fields_of(one), config, OF_PLACES):
            for place in _standing_at(_places_of(one, one, numbers), one.run, found):
                found.setdefault(place, Found()).similarities.append(one)
    if stored.records and not found:
        told = " ".join(map(str, numbers))
        raise UserError(f"no record passes --icl_max_demos {told}; there are {', '.join(map(str, sorted(known)))}")
    kept = _trained_on(config, found, lambda place: place.trained)
    if stored.records and not kept:
        asked, trained = accepted(config, "trained_datasets"), sorted({place.trained for place in found})
        raise UserError(f"no record passes --trained_datasets {' '.join(asked)}; there are {', '.join(trained)}")
    _check_names(kept)
    return kept


def _standing_at(places: Sequence[Place], run: TrainConfig | None, found: Iterable[Place]) -> list[Place]:
    """The places that a model stands at, of those known so far; its own where there is none for the base model."""
    if run is not None:
        return list(places)
    same = {place: [one for one in found if replace(one, trained=place.trained) == place] for place in places}
    return [one for place, known in same.items() for one in known or [place]]


def _trained_on(config: RecordFilter, found: Mapping[Any, Any], trained: Callable[[Any], str]) -> dict[Any, Any]:
    """What is of the training sets that are asked for."""
    asked = accepted(config, "trained_datasets")
    return {place: of_it for place, of_it in found.items() if not asked or trained(place) in asked}


def _places_of(asked: Settings | Similarity, one: Record | Similarity, numbers: Sequence[int]) -> list[Place]:
    """The place of each number of demonstrations that shows what was shown."""
    shown = (asked.icl_max_demos, *numbers)
    if asked.icl_pool == "train":
        shown = tuple(min(number, asked.num_train_examples) for number in shown)
    return [
        Place(one.trained_dataset, asked.eval_dataset, asked.icl_source_dataset, number, asked.model_id)
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


# Filters


def tail(config: RecordFilter, fields: Sequence[Mapping[str, Any]]) -> str:
    """`+filter=values` for each filter that leaves something out, and for another selection rule."""
    left_out = [name for name in OF_LINES if not all(passes(one, config, (name,)) for one in fields)]
    told: dict[str, Any] = {name: ",".join(map(str, accepted(config, name))) for name in left_out}
    rule = {} if config.hp_selection == "dev_loss" else {"hp_selection": config.hp_selection}
    return store.name_tail(told | rule)


def updates(stored: Stored, config: RecordFilter) -> dict[tuple[str, str], list[Overlap]]:
    """The pairs of runs whose updates were compared, by the dataset trained on and the base model."""
    asked = accepted(config, "model_id")
    found: dict[tuple[str, str], list[Overlap]] = {}
    for one in stored.overlaps:
        if not asked or one.config_a.model_id in asked:
            found.setdefault((one.config_a.dataset, one.config_a.model_id), []).append(one)
    return _trained_on(config, found, lambda of: str(of[0]))
