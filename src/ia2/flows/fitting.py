"""`ia2 fit`: from a file of labelled rows to an adapter that answers new ones, and a page that says how well.

What is not given is guessed and said. The rows that measure are held out first and never seen again; of the rest, N
teach and half as many develop: they choose the learning rate, and the adapter that is kept. That is `tok` or `a2t`,
whose dev losses are the same cross-entropy of the same rows. Choosing by the held-out rows would spoil what they
measure, so where another method did better there, that is said instead.
"""

import filecmp
import json
import logging
import math
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from ia2 import store
from ia2.commands.data_files import create, leave_out, prepare
from ia2.commands.predict import Prediction, only_field, predict
from ia2.config import DeviceConfig, FitConfig, ModelConfig
from ia2.errors import UserError
from ia2.flows.comparison import Comparison, Shown, choices, compare, planned_runs, show
from ia2.models.generation import context_of
from ia2.models.loading import LanguageModel, ModelCache
from ia2.prompts.prompt import Prompt, prompts_after_shared
from ia2.prompts.splits import SplitSpec, draw_split
from ia2.results.advice import advice_text
from ia2.sources import stem_and_type, text_of_cell
from ia2.tasks import TASK_FILE_TYPES, task
from ia2.tasks.guessing import Guess, guess_task
from ia2.tasks.own_rows import rows_that_ask
from ia2.tasks.pool import ExamplePool, load_pool
from ia2.tasks.task_file_text import task_file_text
from ia2.tasks.task_files import read_task_file
from ia2.tasks.task_spec import Row, TaskSpec
from ia2.training.trained_run import TrainedRun, read_trained_run

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


class Lengths:
    """How many tokens prompts take with their answers, and how many the model's context holds."""

    def __init__(self, lm: LanguageModel, spec: TaskSpec) -> None:
        self.limit = context_of(lm.model.config) or math.inf
        self._prompt_tokenizer, self._spec = lm.prompt_tokenizer(), spec

    def of(self, prompt: Prompt) -> int:
        num_tokens = self._spec.num_generated_tokens
        answer = self._prompt_tokenizer.answer(prompt.query.answer, num_tokens, "separator")
        return len(self._prompt_tokenizer.prompt(prompt.instructed(self._spec))) + max(num_tokens, len(answer))


@dataclass(frozen=True)
class Adapter:
    """A fitted adapter, ready to answer; `folder` is a plain PEFT folder, `page` says how well it does."""

    folder: Path
    page: Path
    where: DeviceConfig = field(default_factory=DeviceConfig)
    models: ModelCache = field(default_factory=ModelCache, repr=False)

    def predict(self, rows: str | Mapping[str, Any] | Iterable[Any] | pd.DataFrame) -> list[Prediction]:
        """Answer one text or row, or each of several: texts or rows in a list, column, frame, array or generator.

        UserError where they are something else, or a text is empty or missing.
        """
        trained = read_trained_run(self.folder)
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
        file = _write_examples(examples, folder / "examples.jsonl", settings.get("overwrite", False))
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


def _write_examples(examples: Any, path: Path, overwrite: bool) -> Path:  # noqa: ANN401 - as above
    rows = [_example(item) for item in _items(examples)]
    if not rows:
        raise UserError("there are no examples to learn from; give pairs of text and label, or rows")
    try:
        text = "".join(json.dumps(row, ensure_ascii=False, default=_date_text) + "\n" for row in rows)
        text.encode()
    except (TypeError, ValueError) as error:
        raise UserError(f"examples must be texts and numbers: {error}") from error
    return _write_anew(path, text, overwrite, "overwrite=True replaces it")


def _date_text(value: object) -> str:
    """What JSON has no type for and a notebook's columns hold; TypeError for anything else, of which no text is one."""
    if isinstance(value, date | time | Decimal):
        return str(value)
    raise TypeError(f"{str(value)[:100]!r} is {type(value).__name__}")


def _write_anew(path: Path, text: str, overwrite: bool, remedy: str) -> Path:
    """Write a file of the root; UserError where another is in its place and not to be overwritten."""
    if path.exists() and path.read_bytes() != text.encode() and not overwrite:
        raise UserError(f"{path} says something else than these rows and settings: {remedy}")
    with store.file_lock(path, keep=False), store.atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
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


def fit_from(config: FitConfig, models: ModelCache | None = None) -> Adapter:
    """`ia2 fit`: guess, split, train, evaluate, show, and keep one adapter."""
    root = store.resolve_root(config, Path(f"{stem_and_type(config.file)[0]}-ia2"))
    models = models or ModelCache()
    described = config.file.suffix.lower() in TASK_FILE_TYPES[:1]
    guess = None if described else _guessed(config, root)
    with store.file_lock(root / ADAPTER, keep=False):
        dataset, file = _prepared(config, root, guess)
        comparison = _comparison(config, root, dataset, file, models)
        compare(comparison, models)
        kept = _keep(comparison)  # before anything is shown: a terminal may fail
        shown = show(root, of=comparison, kept=kept.config.training_method)
    _tell(shown, kept)
    return Adapter(kept.folder, shown.page, config, models)


def _prepared(config: FitConfig, root: Path, guess: Guess | None) -> tuple[str, Path]:
    """Describe the rows, by a guessed task file or their own, and write them; returns the dataset and the task file."""
    file = config.file if guess is None else root / f"{stem_and_type(config.file)[0]}.toml"
    if guess is not None:
        with store.file_lock(file, keep=False):  # which sweeps what a killed fit left of it
            _write_task_file(file, guess, config.overwrite)
    dataset = task(str(file)).name
    _check_kept(root, dataset, config.overwrite)
    if config.overwrite:
        _discard_runs(root, dataset)
    prepare(root, str(file), num_train_samples=2000, num_val_samples=500, overwrite=config.overwrite)
    return dataset, file


def _write_task_file(file: Path, guess: Guess, overwrite: bool) -> None:
    """Write what was guessed; UserError where the file says something else: a person's remarks may be in it."""
    if overwrite or not file.exists():
        with store.atomic_write(file) as temporary:
            temporary.write_text(task_file_text(guess.task_file, guess.sentences), encoding="utf-8")
    elif read_task_file(file) != guess.task_file:
        raise UserError(
            f"{file} says something else than these rows and flags: `ia2 fit {shlex.quote(str(file))}` goes by it, "
            "--overwrite replaces it"
        )


def _guessed(config: FitConfig, root: Path) -> Guess:
    """The task file that the rows seem to need; what was guessed is said."""
    guess = guess_task(config.file, config.text_columns, config.label_column, folder=root)
    for sentence in guess.sentences:
        print(sentence, file=sys.stderr)
    return guess


def _check_kept(root: Path, dataset: str, overwrite: bool) -> None:
    """UserError where the adapter that is there is not ours, or of other rows and not to be overwritten."""
    folder = root / ADAPTER
    store.check_replaceable(folder)
    if store.is_run(folder) and not overwrite and (other := read_trained_run(folder).config.dataset) != dataset:
        raise UserError(
            f"{folder} was fitted to {other}, not {dataset}; give another --root, or --overwrite to replace it"
        )


def _discard_runs(root: Path, dataset: str) -> None:
    for folder in store.run_folders(root):
        if folder.parent.name == dataset:
            with store.file_lock(folder):
                store.check_replaceable(folder)
                store.remove(folder)


def _comparison(config: FitConfig, root: Path, dataset: str, file: Path, models: ModelCache) -> Comparison:
    """Which rows teach, drawn in proportion of their labels, and the comparison on them."""
    fields = {"model_id": config.model_id, **config.placement()}
    lengths = Lengths(models.load(ModelConfig.model_validate(fields)), task(str(file)).spec)
    pool = _short_enough(config, root, file, lengths, lengths.limit)
    if (drawn := _draws(config, pool, lengths)) is None:
        pool = _short_enough(config, root, file, lengths, lengths.limit / 2)
        drawn = _draws(config, pool, lengths)
        assert drawn is not None, "two rows of half the context each are no longer than it"
    num_train, num_demos = drawn[0].num_train_examples, drawn[0].max_icl_demos
    for draw in drawn:
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
        num_demonstrations=num_demos,
        num_runs=config.num_runs,
        num_train_epochs=config.num_train_epochs,
        dev_eval_steps=-(-num_train // BATCH_SIZE),
        where=config,
    )


def _short_enough(config: FitConfig, root: Path, file: Path, lengths: Lengths, most: float) -> ExamplePool:
    """The pool without rows of more than so many tokens: UserError names them, unless they are to be left out."""
    described = read_task_file(file)
    pool = load_pool(root, described.name)
    needed = {one.question: lengths.of(Prompt((), one)) for one in (*pool.train, *pool.validation)}
    too_long = {question: number for question, number in needed.items() if number > most}
    if not too_long:
        return pool
    found = rows_that_ask(described, file.parent, too_long)
    where, first = found[0]
    rows = f"{where}{f' and {len(found) - 1} more' if found[1:] else ''}"
    told = (
        f"{rows}: with its answer it takes {too_long[first]} tokens, and {most:g} are the most that leave a prompt in "
    )
    told += f"the context of {config.model_id}, which holds {lengths.limit:g}"
    if not config.skip_long_rows:
        raise UserError(f"{told}; shorten it, or leave such rows out with --skip_long_rows")
    if not config.overwrite and any((root / "data" / described.name / "train").glob("[!.]*.json")):
        raise UserError(f"{told}; {described.name} was split with such rows before: --overwrite starts anew")
    log.warning("%s: %d rows are left out", told, len(found))
    leave_out(root, described.name, too_long)
    return load_pool(root, described.name)


def _draws(config: FitConfig, pool: ExamplePool, lengths: Lengths) -> list[SplitSpec] | None:
    """A draw for each run, with as many demonstrations as every prompt has room for; None where one is too many."""
    num_train = config.num_train_examples or _num_train(pool)
    num_demos = min(num_train, max(1, MOST_DEMONSTRATION_CHARACTERS // _mean_length(pool)))
    while num_demos:
        draws = [SplitSpec(num_train, run, max_icl_demos=num_demos, stratified=True) for run in range(config.num_runs)]
        if all(lengths.of(one) <= lengths.limit for draw in draws for one in _prompts(pool, draw)):
            return draws
        log.info("the context of %s has no room for %d demonstrations", config.model_id, num_demos)
        num_demos //= 2
    return None


def _prompts(pool: ExamplePool, draw: SplitSpec) -> Iterator[Prompt]:
    """Every prompt with demonstrations that the comparison asks of a draw."""
    split = draw_split(pool.train, draw)
    yield from (*split.train, *split.dev)
    yield from prompts_after_shared(pool.validation, split.train_examples, draw.max_icl_demos or 0, draw.run_idx)


def _num_train(pool: ExamplePool) -> int:
    """Two thirds of what there is, since half as many as N develop; not so many that a CPU takes an hour."""
    num_train = min(MOST_TRAIN_EXAMPLES, 2 * len(pool.train) // 3)
    if num_train < 2:
        raise UserError(
            f"{len(pool.train)} rows are left to learn from once {len(pool.validation)} are held out; at least 3 are "
            "needed: 2 that teach and 1 that chooses the learning rate"
        )
    return num_train


def _mean_length(pool: ExamplePool) -> int:
    return max(1, round(mean(len(example.question + example.answer) for example in pool.train)))


def _keep(comparison: Comparison) -> TrainedRun:
    """Copy the run of lowest dev loss to `adapter`, a name that stays, out of those whose dev losses compare.

    Only runs of this comparison compete: the store may hold those of another model, N or other settings. An adapter
    that is that run already stays, since somebody may be reading it.
    """
    chosen = [choice for method, choice in choices(comparison) if method in COMPARABLE]
    runs = [run.folder for run in planned_runs(comparison) if any(choice.accepts(run.config) for choice in chosen)]
    best, folder = min(filter(None, runs), key=_dev_loss), comparison.root / ADAPTER
    store.check_replaceable(folder)
    if not _is_copy(folder, best):
        with store.atomic_write(folder) as temporary:
            shutil.copytree(best, temporary)
    return read_trained_run(folder)


def _is_copy(folder: Path, run: Path) -> bool:
    """Whether a folder holds the files of a run, byte for byte, and no others."""
    here, names = (sorted(str(file.relative_to(one)) for file in one.rglob("*")) for one in (folder, run))
    files = [name for name in names if not (run / name).is_dir()]
    return here == names and filecmp.cmpfiles(folder, run, files, shallow=False)[0] == files


def _dev_loss(run: Path) -> float:
    return float(store.read_object(run / "final_loss_statistics.json")["best_dev_loss"])


def _tell(shown: Shown, kept: TrainedRun) -> None:
    """What the held-out rows say, what was kept, and how to go on."""
    config = kept.config
    print(advice_text(shown.advice))
    print(
        f"Kept: {config.training_method} of {kept.model_id}, N = {config.num_labels}, lr {config.lr:g}, run "
        f"{config.run_idx}: of {' and '.join(COMPARABLE)} the one of lowest dev loss ({_dev_loss(kept.folder):.4g}).\n"
        f"The adapter: {kept.folder.resolve()}\n"
        f"Answer new rows: ia2 predict --adapter {shlex.quote(str(kept.folder))} --file new.csv --out out.csv"
    )
