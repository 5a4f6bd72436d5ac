"""One filter for records, similarities and runs: whole fields are compared, never names of files.

Something to which a field means nothing, as a label type to `act`, passes whatever is requested of it. A filter that
leaves nothing is named, with the values before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ia2.config import Filter, TrainConfig
from ia2.errors import UserError
from ia2.methods import parse_method

if TYPE_CHECKING:
    from ia2.analysis.similarity import Similarity
    from ia2.results.records import Record

    Kind = TypeVar("Kind", Record, Similarity, TrainConfig)

FILTERS = (
    *("model_types", "trained_datasets", "eval_datasets", "icl_source_datasets", "icl_max_demos", "model_id"),
    *("num_examples", "label_types", "num_generated_tokens", "num_generated_tokens_eval"),
)
"""Filters of records, in the order in which they are applied."""


def fields_of(one: Record | Similarity | TrainConfig) -> dict[str, Any]:
    """The fields that filters compare, by the flag; without those that mean nothing to it."""
    run = one if isinstance(one, TrainConfig) else one.run
    fields: dict[str, Any] = {"model_types": run.training_method if run else "base"}
    if run:
        fields |= {"num_generated_tokens": run.num_generated_tokens}
        label_type = run.relevant_fields().get("label_type")
        fields |= {"label_types": label_type} if label_type else {}
    if isinstance(one, TrainConfig):
        return fields | {"trained_datasets": one.dataset, "model_id": one.model_id, "num_examples": one.num_labels}
    settings: Any = getattr(one, "settings", one)  # a similarity has its settings itself
    return fields | {
        "trained_datasets": one.trained_dataset,
        "eval_datasets": settings.eval_dataset,
        "icl_source_datasets": settings.icl_source_dataset,
        "icl_max_demos": settings.icl_max_demos,
        "model_id": settings.model_id,
        "num_examples": settings.num_train_examples,
        "num_generated_tokens_eval": settings.num_generated_tokens_eval,
        "num_eval_examples": settings.num_eval_examples,
        "run_indices": settings.run_idx,
    }


def accepted(config: Filter, name: str) -> tuple[Any, ...]:
    """The values that a filter accepts; none where it was not given."""
    given = getattr(config, name)
    return given if isinstance(given, tuple) else () if given is None else (given,)


def passes(fields: Mapping[str, Any], config: Filter, names: Sequence[str] = FILTERS) -> bool:
    """True where something with these fields passes the filters of these names."""
    given = ((accepted(config, name), name) for name in names if name in fields)
    return all(fields[name] in values for values, name in given if values)


def where(found: Sequence[Kind], config: Filter, names: Sequence[str] = FILTERS) -> list[Kind]:
    """The records, or what else, that pass these filters, one after the other. UserError where one leaves none."""
    for method in accepted(config, "model_types"):
        if method != "base":
            parse_method(method)
    left = list(found)
    for name in names:
        fields = [fields_of(one) for one in left]
        left = [one for one, its in zip(left, fields, strict=True) if passes(its, config, (name,))]
        if not left:
            known = sorted({str(its[name]) for its in fields if name in its})
            values = " ".join(map(str, accepted(config, name)))
            raise UserError(f"no record passes --{name} {values}; there are {', '.join(known)}")
    return left
