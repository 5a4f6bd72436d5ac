"""Configs of using the whole: your own rows, new texts, a merged model, the demo, experiments, and a root's state."""

from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from pydantic import Field, model_validator

from ia2.config.schema import EMBEDDED_MODEL, Config, DeviceConfig, Dtype, LearningRate, ModelId, Protocol
from ia2.errors import UserError


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


class FitConfig(DeviceConfig):
    """Teach a model your own labelled rows, compare IA2 with fine-tuning, and keep the adapter (./{file}-ia2)."""

    aliases: ClassVar[dict[str, str]] = {"text_column": "text_columns"}

    root: Path | None = None
    """Folder that holds the adapter, data, outputs and reports (default: $IA2_ROOT, else {file}-ia2)."""
    file: tyro.conf.Positional[Path]
    """CSV, TSV, JSON lines, JSON (or these as .gz) or parquet of labelled rows, or a task file (.toml)."""
    text_columns: tuple[str, ...] = ()
    """The columns a query shows (default: guessed)."""
    label_column: str | None = None
    """The column of the answers (default: guessed)."""
    model_id: ModelId = EMBEDDED_MODEL
    """Base model: hub id, local folder, .gguf file, or `smollm2-135m` (embedded)."""
    num_train_examples: int | None = Field(default=None, ge=2)
    """Labelled rows to train on, N; half as many more choose the learning rate (default: all, at most 32)."""
    lrs: tuple[LearningRate, ...] = (3e-4, 1e-3)
    """Learning rates, of which dev loss picks one."""
    num_runs: int = Field(default=1, ge=1)
    """Runs of each method, each with its own training rows."""
    num_train_epochs: int = Field(default=20, ge=1)
    """Most passes over the training rows."""
    skip_long_rows: bool = False
    """Leave out rows that are longer than the model's context."""
    overwrite: bool = False
    """Start anew where the rows or the task have changed since the last time."""


class PredictConfig(DeviceConfig):
    """Answer new texts with a trained adapter."""

    adapter: Path
    """Folder of a trained run."""
    text: str | None = None
    """One text to answer."""
    repl: bool = False
    """Answer typed texts, line by line."""
    file: Path | None = None
    """CSV, TSV, JSON lines, JSON (or these as .gz) or parquet whose columns are the task's fields."""
    out: Path | None = None
    """CSV to write: the columns of --file plus answer and confidence (default: print)."""
    overwrite: bool = False
    """Replace the file that --out names."""
    model_id: ModelId | None = None
    """Base model, where it has moved since training (default: the adapter's own)."""

    @model_validator(mode="after")
    def _one_input(self) -> "PredictConfig":
        if (self.text is not None) + (self.file is not None) + self.repl != 1:
            raise UserError("give exactly one of --text, --file and --repl")
        if self.out is not None and self.file is None:
            raise UserError("--out goes with --file")
        if self.overwrite and self.out is None:
            raise UserError("--overwrite goes with --out")
        return self


class MergeConfig(DeviceConfig):
    """Fold a LoRA or IA3 adapter into its base model and write an ordinary model folder."""

    adapter: Path
    """Folder of a trained run."""
    out: Path
    """Folder to write."""
    torch_dtype: Dtype = "auto"
    """Number format to write; auto is the one the adapter was trained under. The sum is made in float32."""
    model_id: ModelId | None = None
    """Base model, where it has moved since training (default: the adapter's own)."""


class DemoConfig(DeviceConfig):
    """Teach the embedded model from its own in-context behaviour and show the results (folder: ./ia2-demo)."""

    root: Path | None = None
    """Folder that holds data, outputs and reports (default: $IA2_ROOT, else ia2-demo)."""
    model_id: ModelId = EMBEDDED_MODEL
    """Base model: hub id, local folder, .gguf file, or `smollm2-135m` (embedded)."""

    full: bool = False
    """Add past_tense, with the irregular verbs as the out-of-distribution set."""
    num_runs: int = Field(default=3, ge=1)
    """Runs of each method, each with its own training examples."""
    num_train_examples: int = Field(default=8, ge=2)
    """Number of labelled training examples (N)."""
    num_train_epochs: int = Field(default=50, ge=1)
    """Most passes over the training examples."""
    lrs: tuple[LearningRate, ...] = (3e-4, 1e-3)
    """Learning rates, of which dev loss picks one."""
    protocol: Protocol = "default"
    """published: the last step's weights, the published stop rule and demonstrations, and the learning rate picked on
    the evaluation set itself (folder: ./ia2-demo-published)."""
    num_eval_examples: int | None = Field(default=None, ge=1)
    """Number of evaluation examples, the first ones (default: all, about 100)."""


class RunConfig(Config):
    """Run an experiment: a function that returns configs, each of them a command."""

    experiment: tyro.conf.Positional[str]
    """File and function, as in experiments/paper.py:table1."""
    only: tuple[str, ...] = ()
    """Only these datasets of it."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Runs at the same time, in all its sweeps (default: as each says)."""
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """GPUs for the workers of all its sweeps (default: as each says)."""
    ray_address: str | None = None
    """Ray cluster for all its sweeps (default: as each says)."""
    dry_run: bool = False
    """Print the commands and stop."""


class StatusConfig(Config):
    """Describe a root: data, targets, runs and records, those being made, and failures."""


class CleanConfig(Config):
    """Remove leftovers of killed commands."""

    targets: bool = False
    """Remove the teacher's targets and responses too; they are made again when something needs them."""
    dry_run: bool = False
    """Print what would be removed, and stop."""
