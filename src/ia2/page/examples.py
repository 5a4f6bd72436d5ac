"""What the models answered, query by query: the records of it, and what the page's script is given.

Texts are long and often the same, so the script is given each once, in a table; queries and answers are places in it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


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
