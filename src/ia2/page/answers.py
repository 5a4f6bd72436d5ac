"""Answers of the models, query by query: read from the records' rows, and laid out for the page's script.

At most 200 queries of an evaluation set, and of all sets together as many as a small page holds: the first query of
every set, then the second, until the bytes are used up. Where that would leave a few only, one run of each model is
shown instead of all. Nothing is picked by what is in it. What is left out is in the parquet files, which are named.
Texts are long and often the same, so the script is given each once, in a table; queries and answers are places in it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from ia2.page.templates import json_for_script
from ia2.results.frame import Row, rows_of
from ia2.results.quantities import shown_as
from ia2.results.records import Record
from ia2.store.measurements import read_rows

MOST_QUERIES = 200
ENOUGH_QUERIES = 50
"""Where fewer would be shown of all runs, one run of each model is shown."""
MOST_BYTES = 5_000_000
"""Of all texts and answers together, as JSON."""
MOST_CHARACTERS = 4_000
"""A longer text is cut, and says so."""
BYTES_OF_AN_ANSWER = 20
"""Its places in the table of texts, whether it is right, and its confidence."""
ANSWER_COLUMNS = ["idx", "with_icl", "response", "parsed", "correct"]


@dataclass(frozen=True)
class Query:
    """A query and its gold answer; `idx` is its place in the dataset."""

    idx: int
    question: str
    gold: str


@dataclass(frozen=True)
class Answer:
    """One model's response to a query; `parsed` is None where no answer was found in it."""

    response: str
    parsed: str | None
    correct: bool
    confidence: float | None


@dataclass(frozen=True)
class AnsweredRun:
    """The answers of one run, in the order of the set's queries, None where it was not asked; `file` holds them all."""

    run_idx: int
    file: Path
    answers: tuple[Answer | None, ...]


@dataclass(frozen=True)
class AnsweringModel:
    """A model of the summary, and its runs."""

    name: str
    runs: tuple[AnsweredRun, ...]


@dataclass(frozen=True)
class QuerySet:
    """The queries of an evaluation set that are shown, of `num_queries` that there are, and who answered them.

    `has_all_runs` is whether `models` have all their runs, or each the first one only.
    """

    title: str
    num_queries: int
    has_all_runs: bool
    queries: tuple[Query, ...]
    models: tuple[AnsweringModel, ...]

    def first(self, num: int) -> "QuerySet":
        """The same with the first so many queries."""
        models = tuple(
            replace(model, runs=tuple(replace(run, answers=run.answers[:num]) for run in model.runs))
            for model in self.models
        )
        return replace(self, queries=self.queries[:num], models=models)

    def answers_to(self, place: int) -> Iterator[Answer]:
        """Every answer to one of the queries."""
        answers = (run.answers[place] for model in self.models for run in model.runs)
        return (answer for answer in answers if answer is not None)


class Texts:
    """A table that holds each text once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str | None) -> int | None:
        """Where a text stands in the table."""
        return None if text is None else self._places.setdefault(text, len(self._places))

    @property
    def texts(self) -> list[str]:
        return list(self._places)


def browser_data(sets: Iterable[QuerySet], root: Path) -> dict[str, Any]:
    """What the page's script reads: `texts`, and `sets` whose queries and answers are columns of places in them."""
    texts = Texts()
    told = [
        {
            "title": one.title,
            "num_queries": one.num_queries,
            "has_all_runs": one.has_all_runs,
            "idx": [query.idx for query in one.queries],
            "question": [texts.place(query.question) for query in one.queries],
            "gold": [texts.place(query.gold.strip()) for query in one.queries],
            "models": [_model_data(model, texts, root) for model in one.models],
        }
        for one in sets
    ]
    return {"texts": texts.texts, "sets": told}


def _model_data(model: AnsweringModel, texts: Texts, root: Path) -> dict[str, Any]:
    return {"name": model.name, "runs": [_run_data(run, texts, root) for run in model.runs]}


def _run_data(run: AnsweredRun, texts: Texts, root: Path) -> dict[str, Any]:
    answers = run.answers
    return {
        "run": run.run_idx,
        "file": run.file.relative_to(root).as_posix(),
        "response": [None if a is None else texts.place(a.response) for a in answers],
        "parsed": [None if a is None else texts.place(a.parsed) for a in answers],
        "correct": [None if a is None else int(a.correct) for a in answers],
        "confidence": [None if a is None or a.confidence is None else round(a.confidence, 2) for a in answers],
    }


# Reading


@dataclass(frozen=True)
class Plan:
    """How much is read: so many queries of each set, and of each model all its runs or the first."""

    num_queries: int
    has_all_runs: bool

    def paths(self, row: Row) -> tuple[str, ...]:
        """Those of the records of a model that are shown."""
        return tuple(row.records if self.has_all_runs else row.records[:1])


def query_sets(
    groups: Mapping[str, pd.DataFrame], records: Mapping[str, Record], most_bytes: int = MOST_BYTES
) -> list[QuerySet]:
    """The query set of each group, all of them together within `most_bytes`; `records` by their paths."""
    plan = _plan([row for rows in groups.values() for row in rows_of(rows)], records, most_bytes)
    sets = [_query_set(title, rows_of(rows), records, plan) for title, rows in groups.items()]
    num = _num_within(sets, most_bytes)
    return [one.first(num) for one in sets]


def _plan(rows: Sequence[Row], from_path: Mapping[str, Record], most_bytes: int) -> Plan:
    """From the sizes that the files state, before any text is read: twice what fits by them, as texts can be alike."""
    size = {path: _mean_response(from_path[path]) for path in {path for row in rows for path in row.records}}
    of_all = sum(size[path] for row in rows for path in row.records)
    of_first = sum(size[row.records[0]] for row in rows)
    has_all_runs = of_all * ENOUGH_QUERIES <= most_bytes
    fitting = most_bytes / ((of_all if has_all_runs else of_first) or 1)
    return Plan(min(MOST_QUERIES, 2 * int(fitting) + 1), has_all_runs)


def _mean_response(record: Record) -> float:
    """Bytes that a response takes on average, as stored: one that comes again and again takes next to none."""
    file = pyarrow.parquet.read_metadata(record.rows)
    place = file.schema.names.index("response")
    groups = (file.row_group(number).column(place) for number in range(file.num_row_groups))
    num_bytes, num_rows = sum(column.total_uncompressed_size for column in groups), file.num_rows
    return float(num_bytes / max(num_rows, 1))


def _query_set(title: str, rows: Sequence[Row], from_path: Mapping[str, Record], plan: Plan) -> QuerySet:
    """The queries of lowest idx, of those that most runs were asked; of two with one idx the first is shown."""
    records = {path: from_path[path] for row in rows for path in plan.paths(row)}
    tables = {path: _read_answers(record) for path, record in records.items()}
    counts = Counter(chain.from_iterable(table["idx"].unique().to_pylist() for table in tables.values()))
    shown = sorted(sorted(counts, key=lambda idx: (-counts[idx], idx))[: plan.num_queries])
    models = []
    for row in rows:
        runs = [
            AnsweredRun(records[path].settings.run_idx, records[path].rows, _answers(tables[path], row.with_icl, shown))
            for path in plan.paths(row)
        ]
        models.append(AnsweringModel(row.name, tuple(runs)))
    queries = _queries(records.values(), shown)
    return QuerySet(title, len(counts), plan.has_all_runs, queries, tuple(models))


def _read_answers(record: Record) -> pyarrow.Table:
    """Its answers with the confidence that is shown, which an older record of a closed set of labels does not have."""
    sure = shown_as("confidence", record.metrics)
    table = read_rows(record.rows, [*ANSWER_COLUMNS, sure])
    if sure == "confidence":
        return table
    known = sure in table.column_names
    return table.append_column("confidence", table[sure] if known else pyarrow.nulls(len(table), pyarrow.float64()))


def _answers(table: pyarrow.Table, with_icl: bool, shown: Sequence[int]) -> tuple[Answer | None, ...]:
    """The answers of one pass to the queries that are shown."""
    wanted = table.filter((pyarrow.compute.field("with_icl") == with_icl) & pyarrow.compute.field("idx").isin(shown))
    columns = [wanted[name].to_pylist() for name in ("response", "parsed", "correct", "confidence")]
    answers = [
        Answer(shortened(response), None if parsed is None else shortened(parsed), correct, confidence)
        for response, parsed, correct, confidence in zip(*columns, strict=True)
    ]
    from_idx = dict(zip(wanted["idx"].to_pylist()[::-1], answers[::-1], strict=True))
    return tuple(from_idx.get(idx) for idx in shown)


def _queries(records: Iterable[Record], shown: Sequence[int]) -> tuple[Query, ...]:
    """The queries, each from the first record that has it."""
    found: dict[int, Query] = {}
    for record in records:
        if len(found) == len(shown):
            break
        table = read_rows(record.rows, ["idx", "question", "gold"])
        wanted = table.filter(pyarrow.compute.field("idx").isin(shown))
        for idx, *texts in zip(*(wanted[name].to_pylist() for name in ("idx", "question", "gold")), strict=True):
            found.setdefault(idx, Query(idx, *map(shortened, texts)))
    return tuple(found[idx] for idx in shown)


def shortened(text: str) -> str:
    """The text, or its beginning and how much more there is."""
    more = len(text) - MOST_CHARACTERS
    return text if more <= 0 else f"{text[:MOST_CHARACTERS]} […] ({more} more characters in the parquet file)"


def _num_within(sets: Sequence[QuerySet], most_bytes: int) -> int:
    """How many queries of each set there can be, so that all of them take at most so many bytes."""
    texts: set[str] = set()
    size = 0
    longest = max((len(one.queries) for one in sets), default=0)
    for place in range(longest):
        for one in sets:
            if place < len(one.queries):
                size += _size(one, place, texts)
        if size > most_bytes:
            return place
    return longest


def _size(one: QuerySet, place: int, texts: set[str]) -> int:
    """Bytes that a query and its answers add to those whose `texts` are there already."""
    query, answers = one.queries[place], list(one.answers_to(place))
    told = {query.question, query.gold, *(a.response for a in answers), *(a.parsed for a in answers if a.parsed)}
    new = told - texts
    texts |= new
    return BYTES_OF_AN_ANSWER * (1 + len(answers)) + sum(len(json_for_script(text).encode()) for text in new)
