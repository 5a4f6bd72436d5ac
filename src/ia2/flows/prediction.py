"""`ia2 predict`: one text to the terminal, or a file to a file."""

from ia2.config import ModelConfig, PredictConfig
from ia2.lm.shelf import Models
from ia2.stages.predict import Prediction, predict, read_input, read_predictor, row_of, write_predictions


def predict_from(config: PredictConfig, models: Models | None = None) -> list[Prediction]:
    """Answer `--text` or the rows of `--file`, print or write the answers, and return them."""
    predictor = read_predictor(config.adapter)
    model = ModelConfig(model_id=config.model_id or predictor.base["model_id"], device=config.device)
    model = model.model_copy(update={"torch_dtype": predictor.base["dtype"]})
    if config.text is not None:
        rows = [dict(row_of(config.text, predictor.spec))]
    else:
        assert config.file is not None
        rows = read_input(config.file, predictor.spec)
    predictions = predict(predictor, rows, model, models or Models())
    if config.out is not None:
        write_predictions(config.out, rows, predictions)
        print(f"wrote {len(predictions)} answers to {config.out}")
    else:
        for prediction in predictions:
            print(
                f"{prediction.answer if prediction.answer is not None else '(unreadable)'}\t{prediction.confidence:.3f}"
            )
    return predictions
