"""What is plotted together: the places that the filters leave, with their records, similarities and overlaps.

Filters are of two kinds. Some choose among places, each of which has a folder or a base model of its own. Others choose
what of a place is shown, and stand in a file's name where they leave something out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ia2 import store
from ia2.analysis.similarity import Similarity, examine_similarities
from ia2.analysis.subspace import Overlap, examine_overlaps
from ia2.commands.records import accepted, fields_of, fields_of_run, passes, passing
from ia2.config import RecordFilter, TrainConfig
from ia2.errors import UserError
from ia2.report.material import Place
from ia2.report.results import Record, Settings
from ia2.store.measurements import Examined, Problem, tell

OF_PLACES = ("eval_datasets", "icl_source_datasets", "model_id")
"""Filters that choose among places, but for the dataset trained on, since a base model stands beside all of them, and
the number of demonstrations, of which all numbers from N on are one."""
OF_LINES = ("model_types", "num_examples", "label_types", "num_generated_tokens", "num_generated_tokens_eval")
"""Filters that choose what of a place is shown."""


@dataclass(frozen=True)
class Stored:
    """What stands below the root; similarities and overlaps where they are wanted."""

    root: Path
    config: RecordFilter
    records: tuple[Record, ...]
    similarities: tuple[Similarity, ...] = ()
    overlaps: tuple[Overlap, ...] | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a place has, whether the filters of lines leave it or not."""

    records: list[Record] = field(default_factory=list)
    similarities: list[Similarity] = field(default_factory=list)


def read_stored(root: Path, config: RecordFilter, records: Iterable[Record], kinds: Iterable[str]) -> Stored:
    """The records, and what the wanted kinds of plots need of the analyses; a file that is not whole is told."""
    similarities = examine_similarities(root) if "similarity" in kinds else Examined[Similarity]()
    overlaps = examine_overlaps(root) if "overlap" in kinds else None
    problems = (*similarities.problems, *(overlaps.problems if overlaps else ()))
    tell(problems)
    return Stored(root, config, tuple(records), similarities.found, overlaps.found if overlaps else None, problems)


# Places


def places(there: Stored) -> dict[Place, Found]:
    """Every place that the filters leave. UserError where they leave no record of those there are.

    The base model stands at each place that asks the same of what was trained there; where nothing was, it is a place
    by itself, of the dataset its demonstrations come from.
    """
    if there.records:
        passing(there.records, there.config, (*OF_LINES, *OF_PLACES))
    found: dict[Place, Found] = {}
    known = {one.settings.icl_max_demos for one in there.records} | {one.icl_max_demos for one in there.similarities}
    numbers = accepted(there.config, "icl_max_demos") or tuple(sorted(known))
    for record in sorted(there.records, key=lambda record: record.run is None):
        if passes(fields_of(record), there.config, OF_PLACES):
            for place in _standing_at(_places_of(record.settings, record, numbers), record.run, found):
                found.setdefault(place, Found()).records.append(record)
    for one in sorted(there.similarities, key=lambda one: one.run is None):
        if passes(fields_of_similarity(one), there.config, OF_PLACES):
            for place in _standing_at(_places_of(one, one, numbers), one.run, found):
                found.setdefault(place, Found()).similarities.append(one)
    if there.records and not found:
        told = " ".join(map(str, numbers))
        raise UserError(f"no record passes --icl_max_demos {told}; there are {', '.join(map(str, sorted(known)))}")
    kept = _trained_on(there, found, lambda place: place.trained)
    if there.records and not kept:
        asked, trained = accepted(there.config, "trained_datasets"), sorted({place.trained for place in found})
        raise UserError(f"no record passes --trained_datasets {' '.join(asked)}; there are {', '.join(trained)}")
    _check_names(kept)
    return kept


def _standing_at(places: Sequence[Place], run: TrainConfig | None, found: Iterable[Place]) -> list[Place]:
    """The places that a model stands at, of those known so far; its own where there is none for the base model."""
    if run is not None:
        return list(places)
    same = {place: [one for one in found if replace(one, trained=place.trained) == place] for place in places}
    return [one for place, known in same.items() for one in known or [place]]


def _trained_on(there: Stored, found: Mapping[Any, Any], trained: Callable[[Any], str]) -> dict[Any, Any]:
    """What is of the training sets that are asked for."""
    asked = accepted(there.config, "trained_datasets")
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


def fields_of_similarity(one: Similarity) -> dict[str, Any]:
    """What filters compare of a similarity, as `fields_of` of a record."""
    return {
        "model_types": "base" if one.run is None else one.method,
        "eval_datasets": one.eval_dataset,
        "icl_source_datasets": one.icl_source_dataset,
        "icl_max_demos": one.icl_max_demos,
        "model_id": one.model_id,
        "num_examples": one.num_train_examples,
        "num_generated_tokens_eval": one.num_generated_tokens_eval,
        **fields_of_run(one.run),
    }


def fields_of_pair(one: Overlap) -> list[dict[str, Any]]:
    """The same of the two runs whose updates were compared."""
    return [
        {"model_types": config.training_method, "num_examples": config.num_labels, **fields_of_run(config)}
        for config in (one.config_a, one.config_b)
    ]


def tail(config: RecordFilter, fields: Sequence[Mapping[str, Any]]) -> str:
    """`+filter=values` for each filter that leaves something out, and for another selection rule."""
    left_out = [name for name in OF_LINES if not all(passes(one, config, (name,)) for one in fields)]
    told: dict[str, Any] = {name: ",".join(map(str, accepted(config, name))) for name in left_out}
    rule = {} if config.hp_selection == "dev_loss" else {"hp_selection": config.hp_selection}
    return store.name_tail(told | rule)


def updates(there: Stored) -> dict[tuple[str, str], list[Overlap]]:
    """The pairs of runs whose updates were compared, by the dataset trained on and the base model."""
    asked = accepted(there.config, "model_id")
    found: dict[tuple[str, str], list[Overlap]] = {}
    for one in there.overlaps or ():
        if not asked or one.config_a.model_id in asked:
            found.setdefault((one.config_a.dataset, one.config_a.model_id), []).append(one)
    return _trained_on(there, found, lambda of: str(of[0]))
