"""`ia2 predict`: one text to the terminal, a file to a file, or line by line as typed."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ia2 import store
from ia2.commands.predict import (
    Prediction,
    check_output,
    num_agreeing,
    only_field,
    predict,
    read_input,
    text_row,
    write_predictions,
)
from ia2.config import ModelConfig, PredictConfig
from ia2.errors import UserError
from ia2.models.loading import ModelCache
from ia2.training.trained_run import TrainedRun, read_trained_run


def predict_from(config: PredictConfig, models: ModelCache | None = None) -> list[Prediction]:
    """Answer `--text` or the rows of `--file`, print or write the answers, and return them."""
    trained = read_trained_run(config.adapter)
    model = ModelConfig(model_id=config.model_id or trained.model_id, **config.placement())
    model = model.model_copy(update={"torch_dtype": trained.dtype})
    if config.repl:
        return list(_answers_as_typed(trained, model, models or ModelCache()))
    if config.out is not None:
        with store.file_lock(config.out, keep=False):
            return _write(config, config.out, trained, model, models or ModelCache())
    rows = [dict(text_row(config.text, trained.spec))] if config.text is not None else _rows(config, trained)
    predictions = predict(trained, rows, model, models or ModelCache())
    for prediction in predictions:
        print(_shown(prediction))
    _check_all_answered(predictions)
    return predictions


def _rows(config: PredictConfig, trained: TrainedRun) -> list[dict[str, str]]:
    assert config.file is not None
    return read_input(config.file, trained.spec)


def _write(
    config: PredictConfig, out: Path, trained: TrainedRun, model: ModelConfig, models: ModelCache
) -> list[Prediction]:
    check_output(out, config.overwrite)
    rows = _rows(config, trained)
    predictions = predict(trained, rows, model, models)
    added = write_predictions(out, rows, predictions)
    num_answered = sum(not prediction.reason for prediction in predictions)
    called = "" if added[0] == "answer" else f", in the column {added[0]}"
    sure = "of the label among all labels" if trained.spec.labels else "of the first token"
    print(f"wrote {num_answered} answers to {out}{called}; confidence: the probability {sure}")
    right, judged = num_agreeing(rows, predictions, trained.spec)
    if judged:
        theirs = " and ".join(map(repr, trained.spec.answer_fields))
        print(f"{right} of {judged} are those that column {theirs} holds; rows that were trained on count too")
    _check_all_answered(predictions)
    return predictions


def _check_all_answered(predictions: Sequence[Prediction]) -> None:
    """UserError names the rows that were too long; it comes last, since the others have their answers."""
    unanswered = [(number, one.reason) for number, one in enumerate(predictions, start=1) if one.reason]
    if unanswered:
        numbers = ", ".join(str(number) for number, _ in unanswered[:10]) + (", ..." if len(unanswered) > 10 else "")
        raise UserError(
            f"{len(unanswered)} of {len(predictions)} rows are not answered: row {numbers}; of the first, "
            f"{unanswered[0][1]}: shorten it"
        )


def _shown(prediction: Prediction) -> str:
    if prediction.reason:
        return f"(not answered: {prediction.reason})"
    answer = prediction.answer if prediction.answer is not None else "(unreadable)"
    return f"{answer}\t" + ("-" if prediction.confidence is None else f"{prediction.confidence:.3f}")


def _answers_as_typed(trained: TrainedRun, model: ModelConfig, models: ModelCache) -> Iterator[Prediction]:
    """Answer one line after another until the input ends; the base model stays loaded."""
    field = only_field(trained.spec)
    if sys.stdin.isatty():
        print(f"{field}, one a line; Ctrl-D ends", file=sys.stderr)
    for line in map(str.strip, sys.stdin):
        if line:
            (prediction,) = predict(trained, [text_row(line, trained.spec)], model, models)
            print(_shown(prediction), flush=True)
            yield prediction
