"""Answers to new texts from a trained adapter. Everything but the base model is in its folder.

A row whose query is incomplete is refused, and with it the file: an answer to nothing would look like any other.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ia2 import store
from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.icl.prompts import Episode
from ia2.icl.questions import given_labels, label_answers
from ia2.lm.adapters import saved_adapter
from ia2.lm.answering import ENDED
from ia2.lm.decoding import Decoding, decode
from ia2.lm.forward import reading
from ia2.lm.label_scores import score_labels
from ia2.lm.scoring import FirstTokenScores
from ia2.lm.shelf import Models
from ia2.sources import FILE_TYPES, read_rows
from ia2.tasks.answers import parse
from ia2.tasks.base import Example, Row, TaskSpec
from ia2.training.trained import Trained


@dataclass(frozen=True)
class Prediction:
    """An answer to one text. `answer` is None where the response cannot be read as one, a label where it says one.

    confidence: for a closed set of labels, the probability of the answered label among all labels, None where the
    response is none of them; for free text, the probability of the first predicted token under the full softmax.
    """

    answer: str | None
    confidence: float | None
    response: str


def only_field(spec: TaskSpec) -> str:
    """The one column of a task; UserError where it needs several."""
    if len(spec.fields) != 1:
        raise UserError(f"task {spec.name} needs the columns {', '.join(spec.fields)}: give them with --file")
    return spec.fields[0]


def row_of(text: str, spec: TaskSpec) -> Row:
    """One text as a row; UserError where it is blank, or the task needs more than one column."""
    field = only_field(spec)
    if not text.strip():
        raise UserError(f"the text is empty: give the {field} to answer with --text")
    return {field: text}


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
    labels = [encoder.answer(label, ENDED, trained.stop) for label in label_answers(trained.spec)]
    scores = FirstTokenScores(gold=[0] * len(prompts), labels=[label[0] for label in labels])
    how = Decoding(trained.num_generated_tokens, lm.stopper(trained.stop, trained.config.chat_template))
    with saved_adapter(lm.model, trained.folder) as adapted, reading(adapted) as reader:
        texts = [encoder.text(ids) for ids in decode(reader, prompts, how, scores)]
        answers = [parse(text, trained.spec) for text in texts]
        confidence: Sequence[float | None] = scores.confidence.tolist()
        if labels:
            by_label = score_labels(reader, prompts, labels, scores, how.token_budget)
            confidence = by_label.confidence(given_labels(trained.spec, answers))
    return [
        Prediction(None if parsed is None else _as_written(text, parsed, trained.spec), sure, text)
        for text, parsed, sure in zip(texts, answers, confidence, strict=True)
    ]


def _as_written(response: str, parsed: str, spec: TaskSpec) -> str:
    """The label, or the answer as the model wrote it: a parser may fold its case for comparison."""
    line = response.strip().split("\n")[0].strip()
    return next((text for text in (*spec.labels, line) if text.casefold() == parsed.casefold()), parsed)


# Files


def read_input(file: Path, spec: TaskSpec) -> list[dict[str, str]]:
    """The rows of a file; UserError where a query lacks a text, or a column would be overwritten."""
    rows = read_rows(file)
    columns = _columns(rows)
    for column in ("answer", "confidence"):
        if column in columns:
            raise UserError(f"{file} has a column {column!r} already; rename it, since the predictions are called so")
    for field in spec.fields:
        if field not in columns:
            raise UserError(f"{file}: no column {field!r}; it has {', '.join(columns)}{_meant(field, columns)}")
        for number, row in enumerate(rows, start=1):
            if not row.get(field, "").strip():
                raise UserError(f"{file}, row {number}: no text in column {field!r}; fill it or leave the row out")
    return rows


def _columns(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows, in the order in which they first come."""
    return list(dict.fromkeys(column for row in rows for column in row))


def _meant(field: str, columns: Sequence[str]) -> str:
    folded = {column.casefold(): column for column in columns}
    near = get_close_matches(field.casefold(), folded, n=1)
    return f"; rename {folded[near[0]]!r} if it is meant" if near else ""


def check_output(out: Path) -> None:
    """UserError where answers cannot be written there, found before they are made."""
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")
    if out.suffix.lower().removeprefix(".") in set(FILE_TYPES) - {"csv", "tsv"}:
        raise UserError(f"--out {out}: answers are written as CSV, or as TSV where the name ends in .tsv")


def write_predictions(out: Path, rows: Sequence[Row], predictions: Sequence[Prediction]) -> None:
    """The rows with `answer` (empty where unreadable) and `confidence` added, as CSV, or TSV by its ending."""
    delimiter = "\t" if out.suffix.lower() == ".tsv" else ","
    columns = _columns(rows)
    with store.writing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow([*columns, "answer", "confidence"])
        for row, prediction in zip(rows, predictions, strict=True):
            cells = [row.get(column, "") for column in columns]
            sure = "" if prediction.confidence is None else f"{prediction.confidence:.6f}"
            writer.writerow([*cells, prediction.answer or "", sure])
