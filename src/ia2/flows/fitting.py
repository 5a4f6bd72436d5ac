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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from ia2 import store
from ia2.config import DeviceConfig, FitConfig, ModelConfig
from ia2.errors import UserError
from ia2.flows.comparison import Comparison, Shown, choices, compare, planned_runs, show
from ia2.icl.splits import Draw
from ia2.lm.shelf import Models
from ia2.report.advice import advice_text
from ia2.report.summary import rows_of
from ia2.stages.create import create
from ia2.stages.predict import Prediction, predict, row_of
from ia2.stages.prepare import prepare
from ia2.tasks import task
from ia2.tasks.base import Row
from ia2.tasks.guessing import guess_task
from ia2.tasks.pool import Pool, load_pool
from ia2.tasks.task_file_text import task_file_text
from ia2.tasks.task_files import TASK_FILE_TYPES
from ia2.training.trained import Trained, read_trained

log = logging.getLogger(__name__)

ADAPTER = "adapter"
"""The folder, below the root, of the run that is kept."""
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

    def predict(self, rows: Sequence[str | Row]) -> list[Prediction]:
        """Answer each text, or each row where a query takes several columns."""
        trained = read_trained(self.folder)
        asked = [row_of(row, trained.spec) if isinstance(row, str) else row for row in rows]
        fields = {"model_id": trained.model_id, "torch_dtype": trained.dtype, **self.where.placement()}
        return predict(trained, asked, ModelConfig.model_validate(fields), self.models)


def fit(
    examples: Path | str | Sequence[tuple[str, str]] | Sequence[Row],
    model: str = "smollm2-135m",
    root: Path | str | None = None,
    **settings: Any,
) -> Adapter:
    """Teach `model` labelled examples and return the adapter.

    `examples` are a file, pairs of text and label, or rows with the columns that `text_columns` and `label_column` name
    (guessed if not). `settings` are the fields of `FitConfig`. UserError for what cannot be learned from.
    """
    if isinstance(examples, str | Path):
        file, folder = Path(examples), None if root is None else Path(root)
    else:
        folder = Path("ia2-fit" if root is None else root)
        file = _write_examples(examples, folder / "examples.jsonl", settings.get("overwrite", False))
    return fit_from(FitConfig(file=file, model_id=model, root=folder, **settings))


def _write_examples(examples: Sequence[Any], path: Path, overwrite: bool) -> Path:
    rows = [one if isinstance(one, Mapping) else _paired(one) for one in examples]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return _write_anew(path, text, overwrite, "overwrite=True replaces it")


def _write_anew(path: Path, text: str, overwrite: bool, remedy: str) -> Path:
    """Write a file of the root; UserError where another is in its place and not to be overwritten."""
    if path.exists() and path.read_bytes() != text.encode() and not overwrite:
        raise UserError(f"{path} says something else than these rows and settings: {remedy}")
    with store.writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _paired(example: Any) -> Row:  # noqa: ANN401 - whatever a person gives
    if not isinstance(example, tuple | list) or len(example) != 2:
        raise UserError(f"example {example!r} is neither a pair of text and label nor a row with its columns")
    return {"text": example[0], "label": example[1]}


def fit_from(config: FitConfig, models: Models | None = None) -> Adapter:
    """`ia2 fit`: guess, split, train, evaluate, show, and keep one adapter."""
    root = config.root or Path(os.environ.get("IA2_ROOT", f"{config.file.stem}-ia2"))
    models = models or Models()
    described = config.file.suffix.lower() in TASK_FILE_TYPES[:1]
    text = None if described else _guessed(config, root)
    with store.locked(root / ADAPTER, keep=False):
        dataset = _prepared(config, root, text)
        comparison = _comparison(config, root, dataset)
        compare(comparison, models)
        kept = _keep(comparison)
        shown = show(root)
    _tell(shown, kept, dataset)
    return Adapter(kept.folder, shown.page, config, models)


def _prepared(config: FitConfig, root: Path, text: str | None) -> str:
    """Describe the rows, by a task file of this text or their own, split and write them; returns the dataset's name."""
    file = config.file
    if text is not None:
        file = root / f"{file.stem}.toml"
        _write_anew(file, text, config.overwrite, f"`ia2 fit {file}` goes by it, --overwrite replaces it")
    dataset = task(str(file)).name
    _check_kept(root, dataset, config.overwrite)
    if config.overwrite:
        _discard_runs(root, dataset)
    prepare(root, str(file), num_train_samples=2000, num_val_samples=500, overwrite=config.overwrite)
    return dataset


def _guessed(config: FitConfig, root: Path) -> str:
    """The task file that the rows seem to need; what was guessed is said."""
    guess = guess_task(config.file, config.text_columns, config.label_column, folder=root)
    for sentence in guess.sentences:
        print(sentence, file=sys.stderr)
    return task_file_text(guess.task_file, guess.sentences)


def _check_kept(root: Path, dataset: str, overwrite: bool) -> None:
    """UserError where the adapter that is there is not ours, or of other rows and not to be overwritten."""
    folder = root / ADAPTER
    store.check_replaceable(folder)
    if store.is_run(folder) and not overwrite and (other := read_trained(folder).config.dataset) != dataset:
        raise UserError(
            f"{folder} was fitted to {other}, not {dataset}; give another --root, or --overwrite to replace it"
        )


def _discard_runs(root: Path, dataset: str) -> None:
    for folder in store.run_folders(root):
        if folder.parent.name == dataset:
            with store.locked(folder):
                store.check_replaceable(folder)
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
    runs = [run.folder for run in planned_runs(comparison) if any(choice.accepts(run.config) for choice in chosen)]
    best, folder = min(filter(None, runs), key=_dev_loss), comparison.root / ADAPTER
    store.check_replaceable(folder)
    with store.writing(folder) as temporary:
        shutil.copytree(best, temporary)
    return read_trained(folder)


def _dev_loss(run: Path) -> float:
    return float(store.read_object(run / "final_loss_statistics.json")["best_dev_loss"])


def _tell(shown: Shown, kept: Trained, dataset: str) -> None:
    """What the held-out rows say, and how to go on."""
    print(advice_text(shown.advice))
    rows = [row for row in rows_of(shown.summary) if row.trained_dataset == dataset and not row.with_icl]
    accuracy = {row.method: row.accuracy for row in rows}
    best, ours = max(accuracy, key=accuracy.__getitem__), kept.config.training_method
    run = f"{ours} of {kept.model_id}, N = {kept.config.num_train_examples}, lr {kept.config.lr:g}"
    print(f"Kept: {run}, of the lower dev loss of {' and '.join(COMPARABLE)}.")
    if accuracy[best] > accuracy[ours]:
        print(f"On the held-out rows {best} did better, {accuracy[best]:.1f}% against {accuracy[ours]:.1f}%.")
    print(
        f"The adapter: {kept.folder.resolve()}\n"
        f"Answer new rows: ia2 predict --adapter {kept.folder} --file new.csv --out out.csv"
    )
