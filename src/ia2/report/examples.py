"""Example answers: the first queries of an evaluation set and what every model said, right or wrong.

The first ones are shown, not chosen ones, so that the examples are no advertisement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ia2.report.results import Record, load_examples
from ia2.report.summary import Group, rows_of

NUM_EXAMPLES = 3


@dataclass(frozen=True)
class Answer:
    """One model's response to a query; `parsed` is None where no answer was found in it."""

    model: str
    run_idx: int
    response: str
    parsed: str | None
    correct: bool
    confidence: float | None


@dataclass(frozen=True)
class Query:
    """A query, its gold answer, and the answers of all models of a group."""

    question: str
    gold: str
    answers: tuple[Answer, ...]


def example_answers(group: Group, records: Sequence[Record]) -> list[Query]:
    """The first three queries of the evaluation set, and how the first run of each model of the group answered them."""
    from_path = {str(record.path): record for record in records}
    queries: dict[int, Query] = {}
    for row in rows_of(group.rows):
        record = from_path[row.records[0]]
        rows = load_examples(record)
        for example in rows[rows["with_icl"] == row.with_icl].head(NUM_EXAMPLES).to_dict("records"):
            query = queries.get(example["idx"], Query(example["question"], example["gold"], ()))
            answer = _answer(row.name, record.settings.run_idx, example)
            queries[example["idx"]] = replace(query, answers=(*query.answers, answer))
    return [queries[idx] for idx in sorted(queries)]


def _answer(model: str, run_idx: int, example: dict[Any, Any]) -> Answer:
    parsed = None if pd.isna(example["parsed"]) else example["parsed"]
    confidence = None if pd.isna(example["confidence"]) else example["confidence"]
    return Answer(model, run_idx, example["response"], parsed, bool(example["correct"]), confidence)
