"""Answers to new texts from a trained adapter. Everything but the base model is in its folder."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ia2 import store
from ia2.config import ModelConfig, StopRule
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


@dataclass(frozen=True)
class Prediction:
    """An answer to one text. `answer` is None where the response cannot be read as one.

    confidence: probability of the first predicted token under the full softmax.
    """

    answer: str | None
    confidence: float
    response: str


@dataclass(frozen=True)
class Predictor:
    """What a run's folder says of how to predict with it."""

    folder: Path
    spec: TaskSpec
    num_generated_tokens: int
    stop: StopRule
    base: Mapping[str, str]


def read_predictor(folder: Path) -> Predictor:
    """The predictor in a run's folder; UserError where it is not one."""
    if not (folder / "adapter_config.json").exists():
        raise UserError(f"{folder} is no trained adapter: it holds no adapter_config.json")
    description = store.read_json(folder / "config.json")
    try:
        return Predictor(
            folder=folder,
            spec=TaskSpec.model_validate(description["task"]),
            num_generated_tokens=int(description["config"]["num_generated_tokens"]),
            stop="eos" if description["config"].get("stop") == "eos" else "separator",
            base=description["base"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'} does not describe a run ({error})") from None


def row_of(text: str, spec: TaskSpec) -> Row:
    """One text as a row; UserError where the task needs more than one column."""
    if len(spec.fields) != 1:
        raise UserError(f"task {spec.name} needs the columns {', '.join(spec.fields)}: give them with --file")
    return {spec.fields[0]: text}


def predict(predictor: Predictor, rows: Sequence[Row], model: ModelConfig, models: Models) -> list[Prediction]:
    """Answer every row; UserError where the base model is not the one the adapter was trained on."""
    questions = [predictor.spec.question(row) for row in rows]
    if not questions:
        return []
    lm = models.load(model)
    if lm.revision != predictor.base["revision"]:
        raise UserError(
            f"{predictor.folder} was trained on {predictor.base['model_id']!r}; what --model_id={model.model_id!r} "
            "names has other weights"
        )
    prompts = [lm.encoder.prompt(Episode((), Example(index, text, ""))) for index, text in enumerate(questions)]
    scores = FirstTokenScores(gold=[0] * len(prompts))
    how = Decoding(predictor.num_generated_tokens, lm.stopper(predictor.stop))
    with saved_adapter(lm.model, predictor.folder) as adapted, reading(adapted) as reader:
        responses = decode(reader, prompts, how, scores)
    return [
        _prediction(lm.encoder, ids, predictor.spec, float(confidence))
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
