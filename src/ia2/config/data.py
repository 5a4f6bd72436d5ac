"""Configs of the data: datasets prepared, training sets drawn, tasks listed."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ia2.config.base import Config, DemoType
from ia2.errors import UserError


class PrepareConfig(Config):
    """Fetch a dataset and render it as prompts and answers: data/{dataset}/main.json."""

    aliases: ClassVar[dict[str, str]] = {"dataset": "datasets"}

    datasets: tuple[str, ...] = ("gsm8k",)
    """Datasets to prepare: names that `ia2 tasks` lists, or task files (.toml, .json)."""
    subset: str | None = None
    """Part of a dataset that has parts: `--dataset hmath --subset algebra` is hmath_algebra."""
    prompt_template: Literal["normal", "hard"] = "normal"
    """hard: the bare text, and the answer without reasoning; the same as a name that ends in _hard."""
    label_template: Literal["normal", "remap"] = "normal"
    """remap: unrelated words for labels; the same as a name that ends in _remap."""
    model_id: str | None = None
    """Count lengths in this model's tokens too (default: in characters only)."""
    num_train_samples: int = Field(default=2000, ge=0)
    """Rows of the training pool."""
    num_val_samples: int = Field(default=500, ge=0)
    """Rows of the evaluation set."""
    overwrite: bool = False
    """Replace a file that was made with other settings."""


class LowDataConfig(Config):
    """The low-data regime: N labelled examples, as demonstrations, teach M unlabelled queries in up to K orders."""

    ldr_mode: bool = False
    """Low-data regime: train on the teacher's answers to unlabelled queries."""
    num_labelled_samples: int = Field(default=8, ge=1)
    """Labelled examples of the low-data regime (N)."""
    num_unlabelled_samples: int = Field(default=1000, ge=1)
    """Unlabelled queries of the low-data regime, at most (M)."""
    max_permutations: int = Field(default=24, ge=1)
    """Orders of the demonstrations in the low-data regime, at most (K)."""

    @property
    def low_data_sizes(self) -> tuple[int, int, int]:
        """N, M and K."""
        return self.num_labelled_samples, self.num_unlabelled_samples, self.max_permutations


class DemonstrationsConfig(Config):
    """Variation of the teacher's demonstrations from example to example."""

    fixed_demos: bool = False
    """One list of demonstrations for all examples."""
    shuffle_demos: bool = False
    """Each example several times, its demonstrations in different orders."""
    num_shuffles: int = Field(default=4, ge=1)
    """Orders of the demonstrations of each example, with shuffle_demos."""

    @property
    def demo_type(self) -> DemoType:
        if self.fixed_demos and self.shuffle_demos:
            raise UserError("fixed_demos and shuffle_demos exclude each other: one list, or one for each order")
        return "fixed" if self.fixed_demos else "shuffled" if self.shuffle_demos else "unique"


class CreateConfig(LowDataConfig, DemonstrationsConfig):
    """Draw training sets with their teacher demonstrations: data/{dataset}/train/{N}_{run}.json."""

    aliases: ClassVar[dict[str, str]] = {"dataset": "datasets"}

    datasets: tuple[str, ...] = ("gsm8k",)
    """Datasets to draw from."""
    num_train_examples: tuple[int, ...] = (100,)
    """Numbers of labelled training examples (N)."""
    num_runs: int = Field(default=5, ge=1)
    """Runs 0 to num_runs - 1, each with its own draw."""
    max_icl_demos: int = Field(default=256, ge=1)
    """Most demonstrations before a teacher's query."""
    num_dev_examples: int = Field(default=50, ge=0)
    """Most development examples (never more than N/2)."""
    stratified: bool = False
    """Draw the labels in proportion, as few examples of many labels need."""
    num_workers: int | None = Field(default=None, ge=1)
    """Processes that draw (default: one for few files, else as many as there are cores)."""
    overwrite: bool = False
    """Replace files that were made with other settings."""


class TasksConfig(Config):
    """List the tasks, or write a first task file for your own rows (--init)."""

    aliases: ClassVar[dict[str, str]] = {"dataset": "datasets", "text_column": "text_columns"}

    datasets: tuple[str, ...] = ()
    """Only these tasks (default: all; other forms of a dataset, _hard and _remap, only if named)."""
    init: Path | None = None
    """CSV, TSV, JSON lines, JSON or parquet to look at: writes a task file beside it."""
    text_columns: tuple[str, ...] = ()
    """With --init: the columns a query shows (default: guessed)."""
    label_column: str | None = None
    """With --init: the column of the answers (default: guessed)."""
    out: Path | None = None
    """With --init: the task file to write, .toml or .json (default: the file's name with .toml)."""

    @model_validator(mode="after")
    def _init_only(self) -> "TasksConfig":
        given = [field for field in ("text_columns", "label_column", "out") if getattr(self, field)]
        if given and self.init is None:
            raise UserError(f"--{given[0]} goes with --init")
        return self
