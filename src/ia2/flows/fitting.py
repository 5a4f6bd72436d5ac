"""`ia2 fit`: from a file of labelled rows to an adapter that answers new ones, and a page that says how well.

What is not given is guessed and said. The rows that measure are held out first and never seen again; of the rest, N
teach and half as many develop: they choose the learning rate, and the adapter that is kept. That is `tok` or `a2t`,
whose dev losses are the same cross-entropy of the same rows. Choosing by the held-out rows would spoil what they
measure, so where another method did better there, that is said instead.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from ia2 import store
from ia2.config import DeviceConfig, FitConfig, ModelConfig
from ia2.errors import UserError
from ia2.flows.comparison import Comparison, Shown, choices, compare, show
from ia2.icl.splits import Draw
from ia2.lm.shelf import Models
from ia2.report.advice import advice_text
from ia2.report.summary import rows_of
from ia2.sources import text_of_cell
from ia2.stages.create import create
from ia2.stages.predict import Prediction, only_field, predict
from ia2.stages.prepare import prepare
from ia2.tasks import task
from ia2.tasks.base import Row, TaskSpec
from ia2.tasks.guessing import guess_task
from ia2.tasks.pool import Pool, load_pool
from ia2.tasks.task_file_text import task_file_text
from ia2.tasks.task_files import TASK_FILE_TYPES
from ia2.training.trained import Trained, read_trained

log = logging.getLogger(__name__)

MOST_TRAIN_EXAMPLES = 32
BATCH_SIZE = 4
"""The default of training: dev loss is measured once an epoch, which on a CPU takes half the time of every 2 steps."""
COMPARABLE = ("tok", "a2t")
"""Methods whose dev loss is the cross-entropy of the dev rows' own answers."""
MOST_DEMONSTRATION_CHARACTERS = 6000
"""About 1,500 tokens: what a small model reads well, and a CPU in a second or two."""


@dataclass(frozen=True)
class Adapter:
    """A fitted adapter, ready to answer; `folder` is a plain PEFT folder, `page` says how well it does."""

    folder: Path
    page: Path
    where: DeviceConfig = field(default_factory=DeviceConfig)
    models: Models = field(default_factory=Models, repr=False)

    def predict(self, rows: str | Mapping[str, Any] | Iterable[Any] | pd.DataFrame) -> list[Prediction]:
        """Answer one text or row, or each of several: texts or rows in a list, column, frame, array or generator.

        UserError where they are something else, or a text is empty or missing.
        """
        trained = read_trained(self.folder)
        asked = [_query(item, number, trained.spec) for number, item in enumerate(_items(rows), start=1)]
        fields = {"model_id": trained.model_id, "torch_dtype": trained.dtype, **self.where.placement()}
        return predict(trained, asked, ModelConfig.model_validate(fields), self.models)


def fit(
    examples: Path | str | Iterable[tuple[str, str]] | Iterable[Row] | Mapping[str, Any] | pd.DataFrame,
    model: str = "smollm2-135m",
    root: Path | str | None = None,
    **settings: Any,
) -> Adapter:
    """Teach `model` labelled examples and return the adapter.

    `examples` are a file, pairs of text and label, or rows with the columns that `text_columns` and `label_column` name
    (guessed if not), in a list, frame, dict of columns, array or generator. `settings` are the fields of `FitConfig`.
    UserError for what cannot be learned from.
    """
    if isinstance(examples, str | Path):
        file, folder = Path(examples), None if root is None else Path(root)
    else:
        folder = Path("ia2-fit" if root is None else root)
        file = _write_examples(examples, folder / "examples.jsonl")
    return fit_from(FitConfig(file=file, model_id=model, root=folder, **settings))


def _items(given: Any) -> list[Any]:  # noqa: ANN401 - whatever a notebook holds
    """The texts, pairs or rows (dicts) in `given`; one text or row is a list of one. UserError for what has none."""
    columns = isinstance(given, Mapping) and any(isinstance(v, list | np.ndarray | pd.Series) for v in given.values())
    if columns:
        try:
            given = pd.DataFrame(dict(given))
        except ValueError as error:
            raise UserError(f"a dict of columns needs lists of one length ({error})") from None
    if isinstance(given, pd.DataFrame):
        return given.to_dict("records")
    if isinstance(given, np.ndarray | pd.Series):
        given = given.tolist()
    if isinstance(given, str | Mapping):
        return [given]
    if isinstance(given, bytes | bytearray | Path) or not isinstance(given, Iterable):
        raise UserError(
            f"{str(given)[:100]!r} ({type(given).__name__}) holds no rows: give a text, a dict of columns and "
            "texts, or several of them in a list or a data frame"
        )
    return list(given)


def _query(item: Any, number: int, spec: TaskSpec) -> Row:  # noqa: ANN401 - as above
    """The columns of a query in a text or a row; UserError names the row where one has no text."""
    if not isinstance(item, Mapping):
        item = {only_field(spec): item}
    texts = {
        field: text_of_cell(_plain(item[field]), f"row {number}, column {field!r}")
        for field in spec.fields
        if field in item
    }
    if empty := [field for field, text in texts.items() if not text.strip()]:
        raise UserError(f"row {number}: the text in column {empty[0]!r} is empty; fill it or leave the row out")
    return texts


def _plain(value: Any) -> Any:  # noqa: ANN401 - as above
    """A number or text of numpy or pandas as one of Python."""
    missing = value is pd.NA or value is pd.NaT
    return None if missing else value.item() if isinstance(value, np.generic) else value


def _write_examples(examples: Any, path: Path) -> Path:  # noqa: ANN401 - as above
    rows = [_example(item) for item in _items(examples)]
    if not rows:
        raise UserError("there are no examples to learn from; give pairs of text and label, or rows")
    with store.writing(path) as temporary:
        lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        temporary.write_text("".join(lines), encoding="utf-8")
    return path


def _example(item: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    if not isinstance(item, Mapping):
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise UserError(f"example {item!r} is neither a pair of text and label nor a row with its columns")
        item = {"text": item[0], "label": item[1]}
    row = {str(column): _plain(value) for column, value in item.items()}
    if held := [column for column, value in row.items() if isinstance(value, bytes | bytearray)]:
        raise UserError(f"column {held[0]!r} holds bytes: {str(row[held[0]])[:100]}; decode them to text")
    return row


def fit_from(config: FitConfig, models: Models | None = None) -> Adapter:
    """`ia2 fit`: guess, split, train, evaluate, show, and keep one adapter."""
    root = config.root or Path(os.environ.get("IA2_ROOT", f"{config.file.stem}-ia2"))
    models = models or Models()
    dataset = _prepared(config, root)
    comparison = _comparison(config, root, dataset)
    compare(comparison, models)
    shown = show(root)
    kept = _keep(comparison)
    _tell(shown, kept, dataset)
    return Adapter(kept.folder, shown.page, config, models)


def _prepared(config: FitConfig, root: Path) -> str:
    """Describe, split and write the rows; returns the dataset's name."""
    file = config.file if config.file.suffix.lower() in TASK_FILE_TYPES[:1] else _guessed(config, root)
    dataset = task(str(file)).name
    if config.overwrite:
        _discard_runs(root, dataset)
    prepare(root, str(file), num_train_samples=2000, num_val_samples=500, overwrite=config.overwrite)
    return dataset


def _guessed(config: FitConfig, root: Path) -> Path:
    """The task file that the rows seem to need, written into the root; what was guessed is said."""
    out = root / f"{config.file.stem}.toml"
    guess = guess_task(config.file, config.text_columns, config.label_column, folder=root)
    for sentence in guess.sentences:
        print(sentence, file=sys.stderr)
    text = task_file_text(guess.task_file, guess.sentences)
    if out.exists() and out.read_text(encoding="utf-8") != text and not config.overwrite:
        raise UserError(
            f"{out} says something else than these rows and flags: `ia2 fit {out}` goes by it, --overwrite replaces it"
        )
    with store.writing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return out


def _discard_runs(root: Path, dataset: str) -> None:
    for folder in store.run_folders(root):
        if read_trained(folder).config.dataset == dataset:
            store.remove(folder)


def _comparison(config: FitConfig, root: Path, dataset: str) -> Comparison:
    """Which rows teach, drawn in proportion of their labels, and the comparison on them."""
    pool = load_pool(root, dataset)
    num_train = config.num_train_examples or _num_train(pool)
    longest = max(1, MOST_DEMONSTRATION_CHARACTERS // _mean_length(pool))
    for run in range(config.num_runs):
        draw = Draw(num_train, run, max_icl_demos=min(longest, num_train), stratified=True)
        create(root, dataset, draw, config.overwrite)
    log.info(
        "%d rows teach, %d more choose the learning rate, %d measure; %d are left over",
        num_train,
        num_train // 2,
        len(pool.validation),
        len(pool.train) - num_train - num_train // 2,
    )
    return Comparison(
        root=root,
        dataset=dataset,
        model_id=config.model_id,
        num_train_examples=num_train,
        lrs=config.lrs,
        num_runs=config.num_runs,
        num_train_epochs=config.num_train_epochs,
        dev_eval_steps=-(-num_train // BATCH_SIZE),
        where=config,
    )


def _num_train(pool: Pool) -> int:
    """Two thirds of what there is, since half as many as N develop; not so many that a CPU takes an hour."""
    num_train = min(MOST_TRAIN_EXAMPLES, 2 * len(pool.train) // 3)
    if num_train < 2:
        raise UserError(
            f"{len(pool.train)} rows are left to learn from once {len(pool.validation)} are held out; at least 3 are "
            "needed: 2 that teach and 1 that chooses the learning rate"
        )
    return num_train


def _mean_length(pool: Pool) -> int:
    return max(1, round(mean(len(example.question + example.answer) for example in pool.train)))


def _keep(comparison: Comparison) -> Trained:
    """Copy the run of lowest dev loss to `adapter`, a name that stays, out of those whose dev losses compare."""
    chosen = [choice for method, choice in choices(comparison) if method in COMPARABLE]
    runs = [read_trained(folder) for folder in store.run_folders(comparison.root)]
    best = min((run for run in runs if any(choice.accepts(run.config) for choice in chosen)), key=_dev_loss)
    with store.writing(comparison.root / "adapter") as temporary:
        shutil.copytree(best.folder, temporary)
    return read_trained(comparison.root / "adapter")


def _dev_loss(run: Trained) -> float:
    return float(store.read_object(run.folder / "final_loss_statistics.json")["best_dev_loss"])


def _tell(shown: Shown, kept: Trained, dataset: str) -> None:
    """What the held-out rows say, and how to go on."""
    print(advice_text(shown.advice))
    rows = [row for row in rows_of(shown.summary) if row.trained_dataset == dataset and not row.with_icl]
    accuracy = {row.method: row.accuracy for row in rows}
    best, ours = max(accuracy, key=accuracy.__getitem__), kept.config.training_method
    print(f"Kept: {ours}, of the lower dev loss of {' and '.join(COMPARABLE)}.")
    if accuracy[best] > accuracy[ours]:
        print(f"On the held-out rows {best} did better, {accuracy[best]:.1f}% against {accuracy[ours]:.1f}%.")
    print(
        f"The adapter: {kept.folder.resolve()}\n"
        f"Answer new rows: ia2 predict --adapter {kept.folder} --file new.csv --out out.csv"
    )
