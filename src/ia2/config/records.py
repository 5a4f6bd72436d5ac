"""Configs of commands on evaluation records: results, page, tables, plots, answers read again."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from ia2.config.base import Config, HpSelection, ModelId
from ia2.errors import UserError
from ia2.methods import LabelType

PlotType = Literal[
    "accuracy",
    "calibration",
    "uncertainty",
    "entropy",
    "reliability",
    "curves",
    "cost",
    "adapters",
    "similarity",
    "overlap",
    "all",
]


class RecordFilter(Config):
    """A filter of evaluation records: the accepted values of their fields; none given means all found."""

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


class RecordsConfig(RecordFilter):
    """Evaluation records that are shown, and the hyper-parameters among them."""

    hp_selection: HpSelection = "dev_loss"
    """Hyper-parameters shown: of lowest dev loss, or, as published, of highest accuracy on each evaluation set."""
    _endings: ClassVar[tuple[str, ...]] = ()
    """Endings of a file to write, of those configs that have `out`."""

    @model_validator(mode="after")
    def _known_ending(self) -> "RecordsConfig":
        out = getattr(self, "out", None)
        if out is not None and out.suffix not in self._endings:
            raise UserError(f"out={str(out)!r}: the name has to end in {' or '.join(self._endings)}")
        return self


class ResultsConfig(RecordsConfig):
    """Gather all evaluation records in one table, a row for each record and metric, and show the summary."""

    _endings: ClassVar[tuple[str, ...]] = (".csv", ".parquet")
    out: Path | None = None
    """File to write, .csv or .parquet (default: reports/results.csv below the root)."""


class ReportConfig(RecordsConfig):
    """Write one page of everything below the root, to read in a browser: results, figures, answers, commands."""

    _endings: ClassVar[tuple[str, ...]] = (".html",)
    out: Path | None = None
    """File to write, .html (default: reports/report.html below the root)."""


class ReparseConfig(RecordFilter):
    """Read stored responses again with the task's parser, or another, without running a model."""

    not_in_run_id: ClassVar[frozenset[str]] = Config.not_in_run_id | {"dry_run"}
    aliases: ClassVar[dict[str, str]] = RecordFilter.aliases | {"dataset": "eval_datasets", "datasets": "eval_datasets"}

    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found); a task file (.toml, .json) decides how its responses are read."""
    parser: str | None = None
    """Read with this parser: choice, line, number, boxed, after_marker, regex or exact (default: the task's)."""
    marker: str | None = None
    """Text that announces the answer (parser after_marker)."""
    pattern: str | None = None
    """Regular expression whose first group, or whole match, is the answer (parser regex)."""
    dry_run: bool = False
    """Show old and new numbers and write nothing."""


class TablesConfig(RecordsConfig):
    """Write tables of methods against datasets, as LaTeX, Markdown and CSV: reports/tables/.

    Base models, N and label types have tables of their own.
    """

    aliases: ClassVar[dict[str, str]] = RecordFilter.aliases | {"metric": "metrics"}

    metrics: tuple[str, ...] = ("accuracy", "ece_equal_count")
    """Metrics of a cell, each with its sd over runs: names as in a record, without the pass."""
    model_id: ModelId | None = None
    """Base model (default: all found)."""
    num_examples: tuple[int, ...] = ()
    """Numbers of training examples N (default: all found)."""
    label_types: tuple[LabelType, ...] = ()
    """Label types (default: all found)."""
    compare: Literal["none", "published"] = "none"
    """published: the paper's numbers below ours, where model, datasets, N and method agree."""


class PlotSelection(RecordsConfig):
    """A filter of plots and their lines; none given means all found.

    Datasets, sources and numbers of demonstrations have a folder of plots each, base models plots of their own, label
    types and numbers of tokens lines of their own.
    """

    aliases: ClassVar[dict[str, str]] = RecordFilter.aliases | {
        "icl_source_dataset": "icl_source_datasets",
        "num_train_examples": "num_examples",
        "label_type": "label_types",
    }

    icl_source_datasets: tuple[str, ...] = ()
    """Datasets that demonstrations come from (default: all found)."""
    icl_max_demos: tuple[int, ...] = ()
    """Most demonstrations of a prompt (default: all found)."""
    model_id: ModelId | None = None
    """Base model (default: all found)."""
    num_examples: tuple[int, ...] = ()
    """Numbers of training examples N (default: all found)."""
    label_types: tuple[LabelType, ...] = ()
    """Label types (default: all found)."""
    num_generated_tokens: tuple[int, ...] = ()
    """Tokens that were trained on (default: all found)."""
    num_generated_tokens_eval: tuple[int, ...] = ()
    """Tokens that were generated (default: all found)."""


class PlotConfig(PlotSelection):
    """Plot the evaluation records, as PNG and PDF: plots/unified/."""

    aliases: ClassVar[dict[str, str]] = PlotSelection.aliases | {"plot_type": "plot_types"}

    uncertainty_mode: bool = False
    """Plot the metrics that --uncertainty_analysis adds, instead of the standard ones."""
    plot_types: tuple[PlotType, ...] = ("all",)
    """Kinds of plots."""


class PlotAllConfig(PlotSelection):
    """Make every plot of everything found, the standard ones and those of uncertainty: plots/unified/."""

    include_standard: bool = False
    """The standard metrics (default: both, if neither is given)."""
    include_uncertainty: bool = False
    """The metrics that --uncertainty_analysis adds (default: both, if neither is given)."""
