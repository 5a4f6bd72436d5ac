"""Answers to new texts from a trained adapter. Everything but the base model is in its folder."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ia2 import store
from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.icl.encoding import Encoder
from ia2.icl.prompts import Episode
from ia2.lm.adapters import saved_adapter
from ia2.lm.decoding import Decoding, decode
from ia2.lm.forward import reading
from ia2.lm.scoring import FirstTokenScores
from ia2.lm.shelf import Models
from ia2.sources import read_rows
from ia2.tasks.answers import parse
from ia2.tasks.base import Example, Row, TaskSpec
from ia2.training.trained import Trained


@dataclass(frozen=True)
class Prediction:
    """An answer to one text. `answer` is None where the response cannot be read as one.

    confidence: probability of the first predicted token under the full softmax.
    """

    answer: str | None
    confidence: float
    response: str


def row_of(text: str, spec: TaskSpec) -> Row:
    """One text as a row; UserError where the task needs more than one column."""
    if len(spec.fields) != 1:
        raise UserError(f"task {spec.name} needs the columns {', '.join(spec.fields)}: give them with --file")
    return {spec.fields[0]: text}


def predict(trained: Trained, rows: Sequence[Row], model: ModelConfig, models: Models) -> list[Prediction]:
    """Answer every row; UserError where the base model is not the one the adapter was trained on."""
    questions = [trained.spec.question(row) for row in rows]
    if not questions:
        return []
    lm = models.load(model)
    trained.check_base(lm)
    encoder = lm.encoder(trained.config.chat_template)
    asked = [Episode((), Example(index, text, "")).instructed(trained.spec) for index, text in enumerate(questions)]
    prompts = [encoder.prompt(episode) for episode in asked]
    scores = FirstTokenScores(gold=[0] * len(prompts))
    how = Decoding(trained.num_generated_tokens, lm.stopper(trained.stop))
    with saved_adapter(lm.model, trained.folder) as adapted, reading(adapted) as reader:
        responses = decode(reader, prompts, how, scores)
    return [
        _prediction(encoder, ids, trained.spec, float(confidence))
        for ids, confidence in zip(responses, scores.confidence, strict=True)
    ]


def _prediction(encoder: Encoder, ids: Sequence[int], spec: TaskSpec, confidence: float) -> Prediction:
    response = encoder.text(ids)
    parsed = parse(response, spec)
    shown = None if parsed is None else _as_written(response, parsed)
    return Prediction(shown, confidence, response)


def _as_written(response: str, parsed: str) -> str:
    """The answer as the model wrote it: a parser may fold its case for comparison."""
    line = response.strip().split("\n")[0].strip()
    return line if line.casefold() == parsed.casefold() else parsed


def read_input(file: Path, spec: TaskSpec) -> list[dict[str, str]]:
    """The rows of a file; UserError where it lacks a column the task needs or has one that would be overwritten."""
    rows = read_rows(file)
    for column in spec.fields:
        if rows and column not in rows[0]:
            raise UserError(f"{file}: no column {column!r}; it has {', '.join(rows[0])}")
    for column in ("answer", "confidence"):
        if rows and column in rows[0]:
            raise UserError(f"{file} has a column {column!r} already; rename it, since the predictions are called so")
    return rows


def write_predictions(out: Path, rows: Sequence[Row], predictions: Sequence[Prediction]) -> None:
    """The rows with `answer` (empty where unreadable) and `confidence` added, as CSV, or TSV by its ending."""
    delimiter = "\t" if out.suffix == ".tsv" else ","
    with store.writing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow([*rows[0], "answer", "confidence"])
        for row, prediction in zip(rows, predictions, strict=True):
            writer.writerow([*row.values(), prediction.answer or "", f"{prediction.confidence:.6f}"])
