"""`ia2 predict`: answers to new texts from a trained adapter. Everything but the base model is in its folder.

Texts come from a flag, a file or the keyboard. A row without any text is refused, and with it the file: an answer to
nothing would look like any other. A row that is longer than the model's context gets no answer, and the reason beside
it.
"""

import csv
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ia2 import store
from ia2.config import ModelConfig, PredictConfig
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import NO_LABEL, given_labels, label_answers
from ia2.evaluation.scoring import ENDED, ScoreRecorder, score_labels
from ia2.models.adapters import saved_adapter
from ia2.models.generation import GenerationConfig, context_of, generate
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import ModelCache
from ia2.prompts.prompt import Prompt
from ia2.sources import FILE_TYPES, iterate_rows
from ia2.tasks.parsers import parse, same
from ia2.tasks.task_spec import Example, Row, TaskSpec
from ia2.training.trained_run import TrainedRun, read_trained_run


@dataclass(frozen=True)
class Prediction:
    """An answer to one text. `answer` is None where the response cannot be parsed, and a label where it is one.

    confidence: for a closed set of labels, the probability of the answered label among all labels, None where the
    response is none of them; for free text, the probability of the first predicted token under the full softmax.
    reason: why a text was not answered at all; the confidence is then None too.
    """

    answer: str | None
    confidence: float | None
    response: str
    reason: str = ""


def predict_from(config: PredictConfig, models: ModelCache | None = None) -> list[Prediction]:
    """Answer `--text` or the rows of `--file`, print or write the answers, and return them.

    UserError, once the others have their answers, where rows were too long.
    """
    trained, models, out = read_trained_run(config.adapter), models or ModelCache(), config.out
    model = ModelConfig(model_id=config.model_id or trained.model_id, **config.placement())
    model = model.model_copy(update={"torch_dtype": trained.dtype})
    if config.repl:
        return list(_answers_as_typed(trained, model, models))
    with nullcontext() if out is None else store.file_lock(out, keep=False):
        if out is not None:
            _check_output(out, config.overwrite)
        rows: Sequence[Row]
        if config.text is not None:
            rows = [_text_row(config.text, trained.spec)]
        else:
            assert config.file is not None
            rows = _read_input(config.file, trained.spec)
        predictions = predict(trained, rows, model, models)
        if out is not None:
            _write(out, rows, predictions, trained.spec)
        else:
            for prediction in predictions:
                print(_shown(prediction))
    unanswered = [(number, one.reason) for number, one in enumerate(predictions, start=1) if one.reason]
    if unanswered:
        numbers = ", ".join(str(number) for number, _ in unanswered[:10]) + (", ..." if len(unanswered) > 10 else "")
        raise UserError(
            f"{len(unanswered)} of {len(predictions)} rows are not answered: row {numbers}; of the first, "
            f"{unanswered[0][1]}: shorten it"
        )
    return predictions


def _answers_as_typed(trained: TrainedRun, model: ModelConfig, models: ModelCache) -> Iterator[Prediction]:
    """Answer one line after another until the input ends; the base model stays loaded."""
    field = only_field(trained.spec)
    if sys.stdin.isatty():
        print(f"{field}, one a line; Ctrl-D ends", file=sys.stderr)
    for line in map(str.strip, sys.stdin):
        if line:
            (prediction,) = predict(trained, [_text_row(line, trained.spec)], model, models)
            print(_shown(prediction), flush=True)
            yield prediction


def only_field(spec: TaskSpec) -> str:
    """The one column of a task; UserError where it needs several."""
    if len(spec.fields) != 1:
        raise UserError(f"task {spec.name} needs the columns {', '.join(spec.fields)}: give them with --file")
    return spec.fields[0]


def _text_row(text: str, spec: TaskSpec) -> Row:
    """One text as a row; UserError where it is blank, or the task needs more than one column."""
    field = only_field(spec)
    if not text.strip():
        raise UserError(f"the text is empty: give the {field} to answer with --text")
    return {field: text}


def _shown(prediction: Prediction) -> str:
    if prediction.reason:
        return f"(not answered: {prediction.reason})"
    answer = prediction.answer if prediction.answer is not None else "(unreadable)"
    return f"{answer}\t" + ("-" if prediction.confidence is None else f"{prediction.confidence:.3f}")


def predict(trained: TrainedRun, rows: Sequence[Row], model: ModelConfig, models: ModelCache) -> list[Prediction]:
    """Answer every row that the context holds; UserError where the base model is not the adapter's."""
    spec, chat_template = trained.spec, trained.config.chat_template
    queries = [Example(index, spec.question(row), "") for index, row in enumerate(rows)]
    if not queries:
        return []
    lm = models.load(model)
    trained.check_base(lm)
    tokenizer = lm.prompt_tokenizer(chat_template)
    prompts = [tokenizer.prompt(Prompt((), query).instructed(spec)) for query in queries]
    labels = [tokenizer.answer(label, ENDED, trained.stop) for label in label_answers(spec)]
    config = GenerationConfig(trained.num_generated_tokens, lm.stopper(trained.stop, chat_template))
    with saved_adapter(lm.model, trained.folder) as adapted:
        hooked = HookedModel(adapted)
        limit = context_of(hooked.base.config) or math.inf
        longest = max(config.num_generated_tokens, *map(len, labels), 0) + hooked.num_virtual_tokens
        short = [prompt for prompt in prompts if len(prompt) + longest <= limit]
        recorder = ScoreRecorder([0] * len(short), [label[0] for label in labels])
        texts = [tokenizer.text(ids) for ids in generate(hooked, short, config, recorder.record)]
        answers = [parse(text, spec) for text in texts]
        confidence: list[float | None] = recorder.answers.confidence.tolist()
        if labels and short:
            score_labels(hooked, short, labels, recorder.answers, config.token_budget)
            shares = zip(np.exp(recorder.answers.log_shares), given_labels(spec, answers), strict=True)
            confidence = [None if label == NO_LABEL else float(share[label]) for share, label in shares]
    answered = zip(texts, answers, confidence, strict=True)
    predictions = []
    for prompt in prompts:
        if (length := len(prompt) + longest) <= limit:
            text, parsed, sure = next(answered)
            predictions.append(Prediction(None if parsed is None else _as_written(text, parsed, spec), sure, text))
        else:
            reason = f"it takes {length} tokens with its answer, the context holds {limit}"
            predictions.append(Prediction(None, None, "", reason))
    return predictions


def _as_written(response: str, parsed: str, spec: TaskSpec) -> str:
    """The label, or the answer as the model wrote it: a parser may fold its case, or its lines, for comparison."""
    if spec.parser == "exact" and not spec.labels:
        return response.removeprefix(spec.answer_template.partition("{")[0]).rstrip()
    line = response.strip().split("\n")[0].strip()
    return next((text for text in (*spec.labels, line) if text.casefold() == parsed.casefold()), parsed)


# Files


def _read_input(file: Path, spec: TaskSpec) -> list[dict[str, str]]:
    """The rows of a file, as training takes them; UserError where a column is missing, or a row has no text at all."""
    rows = list(iterate_rows(file, spec.fields, others=True))
    for number, row in enumerate(rows, start=1):
        if not any(row[field].strip() for field in spec.fields):
            columns = ", ".join(map(repr, spec.fields))
            raise UserError(f"{file}, row {number}: no text in column {columns}; fill it or leave the row out")
    _output_columns(rows)
    return rows


def _output_columns(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """The columns of all rows, in the order in which they first come, and those of answer, confidence and reason:
    `predicted_answer` where the rows have an `answer`, and so on."""
    columns, added = list(dict.fromkeys(column for row in rows for column in row)), []
    for column in ("answer", "confidence", "reason"):
        free = [name for name in (column, f"predicted_{column}") if name not in columns]
        if not free:
            raise UserError(f"the rows have columns {column!r} and 'predicted_{column}' already; rename one of them")
        added.append(free[0])
    return columns, added


def _check_output(out: Path, overwrite: bool) -> None:
    """UserError where answers cannot be written there, found before they are made."""
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")
    if os.path.lexists(out) and not overwrite:
        raise UserError(f"--out {out} exists; give another name, or --overwrite to replace it")
    if out.suffix.lower().removeprefix(".") in set(FILE_TYPES) - {"csv", "tsv"}:
        raise UserError(f"--out {out}: answers are written as CSV, or as TSV where the name ends in .tsv")


def _write(out: Path, rows: Sequence[Row], predictions: Sequence[Prediction], spec: TaskSpec) -> None:
    """Write the rows with answer (empty where it cannot be parsed), confidence, and reason where one has any.

    As CSV, or TSV by the file's ending. The answers are counted that are those of the rows, where that can be judged.
    """
    columns, added = _output_columns(rows)
    added = added[: 3 if any(prediction.reason for prediction in predictions) else 2]
    with store.atomic_write(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        delimiter = "\t" if out.suffix.lower() == ".tsv" else ","
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow([*columns, *added])
        for row, prediction in zip(rows, predictions, strict=True):
            sure = "" if prediction.confidence is None else f"{prediction.confidence:.6f}"
            cells = [prediction.answer or "", sure, prediction.reason][: len(added)]
            writer.writerow([*(row.get(column, "") for column in columns), *cells])
    num_answered = sum(not prediction.reason for prediction in predictions)
    called = "" if added[0] == "answer" else f", in the column {added[0]}"
    sure = "of the label among all labels" if spec.labels else "of the first token"
    print(f"wrote {num_answered} answers to {out}{called}; confidence: the probability {sure}")
    verdicts = [
        same(parse(prediction.response, spec), gold, spec)
        for row, prediction in zip(rows, predictions, strict=True)
        if all(row.get(column) for column in spec.answer_fields) and (gold := parse(spec.answer(row), spec)) is not None
    ]
    right, judged = verdicts.count(True), len(verdicts) - verdicts.count(None)
    if judged:
        theirs = " and ".join(map(repr, spec.answer_fields))
        print(f"{right} of {judged} are those that column {theirs} holds; rows that were trained on count too")
