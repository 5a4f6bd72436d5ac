"""`ia2 predict`: one text to the terminal, a file to a file, or line by line as typed."""

import sys
from collections.abc import Iterator

from ia2.config import ModelConfig, PredictConfig
from ia2.lm.shelf import Models
from ia2.stages.predict import (
    Prediction,
    check_output,
    only_field,
    predict,
    read_input,
    row_of,
    write_predictions,
)
from ia2.training.trained import Trained, read_trained


def predict_from(config: PredictConfig, models: Models | None = None) -> list[Prediction]:
    """Answer `--text` or the rows of `--file`, print or write the answers, and return them."""
    trained = read_trained(config.adapter)
    model = ModelConfig(model_id=config.model_id or trained.model_id, **config.placement())
    model = model.model_copy(update={"torch_dtype": trained.dtype})
    if config.out is not None:
        check_output(config.out)
    if config.repl:
        return list(_answers_as_typed(trained, model, models or Models()))
    if config.text is not None:
        rows = [dict(row_of(config.text, trained.spec))]
    else:
        assert config.file is not None
        rows = read_input(config.file, trained.spec)
    predictions = predict(trained, rows, model, models or Models())
    if config.out is not None:
        write_predictions(config.out, rows, predictions)
        sure = "of the label among all labels" if trained.spec.labels else "of the first token"
        print(f"wrote {len(predictions)} answers to {config.out}; confidence: the probability {sure}")
    else:
        for prediction in predictions:
            print(_shown(prediction))
    return predictions


def _shown(prediction: Prediction) -> str:
    answer = prediction.answer if prediction.answer is not None else "(unreadable)"
    return f"{answer}\t" + ("-" if prediction.confidence is None else f"{prediction.confidence:.3f}")


def _answers_as_typed(trained: Trained, model: ModelConfig, models: Models) -> Iterator[Prediction]:
    """Answer one line after another until the input ends; the base model stays loaded."""
    field = only_field(trained.spec)
    if sys.stdin.isatty():
        print(f"{field}, one a line; Ctrl-D ends", file=sys.stderr)
    for line in map(str.strip, sys.stdin):
        if line:
            (prediction,) = predict(trained, [row_of(line, trained.spec)], model, models)
            print(_shown(prediction), flush=True)
            yield prediction
