"""Configs of what people see: results, tables, answers read again."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from ia2.config.base import Config, HpSelection, ModelId
from ia2.errors import UserError
from ia2.methods import LabelType


class RecordsConfig(Config):
    """Which evaluation records are shown."""

    aliases: ClassVar[dict[str, str]] = {
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
    }

    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found)."""
    hp_selection: HpSelection = "dev_loss"
    """Hyper-parameters shown: of lowest dev loss, or, as published, of highest accuracy on each evaluation set."""


class ResultsConfig(RecordsConfig):
    """Gather all evaluation records in one table, a row for each record and metric, and show the summary."""

    out: Path | None = None
    """File to write, .csv or .parquet (default: reports/results.csv below the root)."""

    @model_validator(mode="after")
    def _known_ending(self) -> "ResultsConfig":
        if self.out is not None and self.out.suffix not in (".csv", ".parquet"):
            raise UserError(f"out={str(self.out)!r}: the name has to end in .csv or .parquet")
        return self


class ReportConfig(RecordsConfig):
    """Write one page of everything below the root, to read in a browser: results, figures, answers, commands."""

    out: Path | None = None
    """File to write, .html (default: reports/report.html below the root)."""

    @model_validator(mode="after")
    def _known_ending(self) -> "ReportConfig":
        if self.out is not None and self.out.suffix != ".html":
            raise UserError(f"out={str(self.out)!r}: the name has to end in .html")
        return self


class ReparseConfig(Config):
    """Read stored responses again with the task's reader, or another, without running a model."""

    not_in_run_id: ClassVar[frozenset[str]] = Config.not_in_run_id | {"dry_run"}
    aliases: ClassVar[dict[str, str]] = {
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "dataset": "eval_datasets",
        "datasets": "eval_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
    }

    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found); a task file (.toml, .json) reads as it says."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    parser: str | None = None
    """Read with this parser: choice, line, number, boxed, after_marker, regex or exact (default: the task's)."""
    marker: str | None = None
    """What announces the answer (parser after_marker)."""
    pattern: str | None = None
    """Regular expression whose first group, or whole match, is the answer (parser regex)."""
    dry_run: bool = False
    """Show old and new numbers and write nothing."""


class TablesConfig(Config):
    """Write tables of methods against datasets, as LaTeX, Markdown and CSV: reports/tables/."""

    aliases: ClassVar[dict[str, str]] = {
        "metric": "metrics",
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
    }

    metrics: tuple[str, ...] = ("accuracy", "ece_equal_count")
    """What each cell shows, with its sd over runs: names as in a record, without the pass."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found)."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    model_id: ModelId | None = None
    """Base model (default: all found, each in tables of its own)."""
    num_examples: tuple[int, ...] = ()
    """Numbers of training examples N (default: all found, each in a table of its own)."""
    label_types: tuple[LabelType, ...] = ()
    """Label types (default: all found, each in a table of its own)."""
    hp_selection: HpSelection = "dev_loss"
    """Hyper-parameters: of lowest dev loss, or, as published, of highest accuracy on each evaluation set."""
    compare: Literal["none", "published"] = "none"
    """published: the paper's numbers below ours, where model, datasets, N and method agree."""
