"""Records that a command is about: its filters compare whole fields, never names of files.

A record to which a field means nothing, as a label type to `act`, passes every filter by it. A filter that leaves
nothing is named, with the values before it.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ia2.config import Filter, RecordFilter, TrainConfig
from ia2.errors import MachineError, UserError
from ia2.methods import parse_method
from ia2.report.results import Record, read_results, with_one_number
from ia2.store.measurements import Problem, tell

log = logging.getLogger(__name__)

FILTERS = (
    *("model_types", "trained_datasets", "eval_datasets", "icl_source_datasets", "icl_max_demos", "model_id"),
    *("num_examples", "label_types", "num_generated_tokens", "num_generated_tokens_eval"),
)
"""Filters of records, in the order in which they are applied."""


def readable_records(root: Path, may_be_none: bool = False) -> tuple[list[Record], tuple[Problem, ...]]:
    """The records below `root`, and those that cannot be read, each of which is reported.

    UserError where there is none, unless there may be.
    """
    results = read_results(root)
    tell(results.problems)
    if not results.records and not may_be_none:
        raise UserError(f"no evaluation record below {root / 'outputs' / 'evaluations'}; `ia2 evaluate` makes them")
    return list(with_one_number(results.records)), results.problems


def fail_for(problems: Sequence[Problem]) -> None:
    """MachineError where something could not be read; to be called when all else is done."""
    if num := len(problems):
        what = "record" if all(problem.path.suffix == ".json" for problem in problems) else "file or folder"
        raise MachineError(f"{num} {what}{'s' if num > 1 else ''} cannot be read: delete them and make them again")


def fields_of(record: Record) -> dict[str, Any]:
    """Values of a record that filters compare, by the flag; one that means nothing to it is absent."""
    settings = record.settings
    return {
        "model_types": record.method,
        "trained_datasets": record.trained_dataset,
        "eval_datasets": settings.eval_dataset,
        "icl_source_datasets": settings.icl_source_dataset,
        "icl_max_demos": settings.icl_max_demos,
        "model_id": settings.model_id,
        "num_examples": settings.num_train_examples,
        "num_generated_tokens_eval": settings.num_generated_tokens_eval,
        **fields_of_run(record.run),
    }


def fields_of_run(run: TrainConfig | None) -> dict[str, Any]:
    """Those values that only a trained model has."""
    if run is None:
        return {}
    label_type = run.relevant_fields().get("label_type")
    return {"num_generated_tokens": run.num_generated_tokens} | ({"label_types": label_type} if label_type else {})


def accepted(config: Filter, name: str) -> tuple[Any, ...]:
    """The values that a filter accepts; none where it was not given."""
    given = getattr(config, name)
    return given if isinstance(given, tuple) else () if given is None else (given,)


def passes(fields: Mapping[str, Any], config: Filter, names: Sequence[str] = FILTERS) -> bool:
    """True where something with these fields passes the filters of these names."""
    asked = ((accepted(config, name), name) for name in names if name in fields)
    return all(fields[name] in values for values, name in asked if values)


def passing(records: Sequence[Record], config: RecordFilter, names: Sequence[str] = FILTERS) -> list[Record]:
    """The records that pass these filters, one after the other. UserError where one leaves none."""
    for method in accepted(config, "model_types"):
        if method != "base":
            parse_method(method)
    left = list(records)
    for name in names:
        there = {str(fields_of(record)[name]) for record in left if name in fields_of(record)}
        left = [record for record in left if passes(fields_of(record), config, (name,))]
        if not left:
            asked = " ".join(map(str, accepted(config, name)))
            raise UserError(f"no record passes --{name} {asked}; there are {', '.join(sorted(there))}")
    return left
