"""Configs that select among what was made: runs to evaluate and to compare, records to show, plot and parse again."""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from ia2.config.schema import Config, Control, DeviceConfig, Dtype, HpSelection, ModelId, Protocol, StopRule
from ia2.errors import UserError
from ia2.methods import LabelType


class Filter(Config):
    """Accepted values of fields that runs and records have; none given means all.

    A run passes a field that its method does not have.
    """

    aliases: ClassVar[dict[str, str]] = {
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "num_train_examples": "num_examples",
        "label_type": "label_types",
    }

    model_id: ModelId | None = None
    """Base model (default: all found)."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    num_examples: tuple[int, ...] = ()
    """Numbers of training examples N (default: all found)."""
    label_types: tuple[LabelType, ...] = ()
    """Label types (default: all found)."""
    num_generated_tokens: tuple[int, ...] = ()
    """Tokens that were trained on, T (default: all found)."""


# Runs


class RunFilter(Filter):
    """A filter of trained runs."""

    aliases: ClassVar[dict[str, str]] = Filter.aliases | {
        "lr": "lrs",
        "run_idx": "run_indices",
        "lora_type": "lora_types",
        "lora_r": "lora_rs",
        "lora_alpha": "lora_alphas",
        "ia3_type": "ia3_types",
        "ce_loss_weight": "ce_loss_weights",
        "tokl_top_k": "tokl_top_ks",
    }
    plain_defaults: ClassVar[dict[str, Any]] = {"model_id": None}

    model_id: ModelId | None = Field(default_factory=lambda: os.environ.get("IA2_MODEL_ID"), validate_default=True)
    """Base model (default: $IA2_MODEL_ID, else all found, each run on its own)."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: base and every method found)."""
    lrs: tuple[float, ...] = ()
    """Learning rates (default: all found)."""
    run_indices: tuple[int, ...] = ()
    """Run indices (default: all found)."""
    lora_types: tuple[str, ...] = ()
    """LoRA target modules (default: all found)."""
    lora_rs: tuple[int, ...] = ()
    """LoRA ranks (default: all found)."""
    lora_alphas: tuple[int, ...] = ()
    """LoRA scaling parameters (default: all found)."""
    ia3_types: tuple[str, ...] = ()
    """IA3 target modules (default: all found)."""
    num_virtual_tokens: tuple[int, ...] = ()
    """Virtual tokens of prompt and prefix tuning (default: all found)."""
    ce_loss_weights: tuple[float, ...] = ()
    """Weights of the cross-entropy in tna (default: all found)."""
    tokl_top_ks: tuple[int | Literal["all"], ...] = ()
    """Numbers of the teacher's most probable tokens that tokl matched (default: all found)."""
    ldr_mode: bool = False
    """Only runs of the low-data regime (default: all found)."""


class EvaluationOptions(RunFilter, DeviceConfig):
    """Queries and demonstrations of an evaluation of runs, and its device."""

    not_in_run_id: ClassVar[frozenset[str]] = DeviceConfig.not_in_run_id | {"no_prepare", "token_budget"}
    aliases: ClassVar[dict[str, str]] = RunFilter.aliases | {
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
        "icl_source_dataset": "icl_source_datasets",
    }

    torch_dtype: Dtype = "auto"
    """Number format of the base model; auto is float32 on a CPU and the checkpoint's own on a GPU."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: the trained ones)."""
    icl_source_datasets: tuple[str, ...] = ()
    """Datasets that demonstrations come from (default: the trained dataset)."""
    icl_max_demos: int = Field(default=256, ge=1)
    """Most demonstrations before an evaluation query."""
    icl_pool: Literal["train", "remaining"] = "train"
    """Demonstrations at evaluation: the run's own training examples, or fresh draws from the rest of the pool."""
    num_eval_examples: int | None = Field(default=None, ge=1)
    """Number of evaluation examples, the first ones (default: all)."""
    token_budget: int | None = Field(default=None, ge=1)
    """Padded tokens of one batch; changes speed and memory only (default: by the memory of the device)."""
    no_prepare: bool = False
    """Fail where data files are missing instead of making them."""


class EvaluateConfig(EvaluationOptions):
    """Evaluate the base model and trained runs: outputs/evaluations/.

    A filter of runs lists accepted values of a field of theirs; none given means all. A run passes a field that its
    method does not have.
    """

    not_in_run_id: ClassVar[frozenset[str]] = EvaluationOptions.not_in_run_id | {"dry_run"}

    num_generated_tokens_eval: int | None = Field(default=None, ge=1)
    """Tokens to generate (default: what the task declares, else 1)."""
    eval_with_icl: bool = False
    """Evaluate trained runs with demonstrations too."""
    uncertainty_analysis: bool = False
    """Add top-k accuracy, entropy, uncertainty and label-set measures."""
    stop: StopRule = "separator"
    """Rule that ends a response."""
    control: Control = "none"
    """wrong_labels: demonstrations with wrong answers, to measure their part."""
    chat_template: bool = False
    """Render prompts as turns of the model's chat template (for the base model; a trained run has its own setting)."""
    protocol: Protocol = "default"
    """published: icl_pool=remaining."""
    dry_run: bool = False
    """Print the matching runs, those done and those to do, and stop."""
    advise: bool = False
    """Recommend a method, from the records or by measuring."""


class SimilarityConfig(EvaluationOptions):
    """Compare activations with the teacher's, and between methods, on the teacher's responses: outputs/similarity/.

    A filter of runs lists accepted values of a field of theirs; none given means all. The controls are always added:
    the base model without demonstrations, and a teacher that is shown other demonstrations.
    """

    num_generated_tokens_eval: int | None = Field(default=None, ge=1)
    """Tokens of the teacher's response at most (default: what the run was trained on)."""


class SubspaceConfig(RunFilter):
    """Compare the LoRA updates of runs, from their files alone: outputs/subspace/.

    A filter of runs lists accepted values of a field of theirs; none given means all. Two runs are compared that differ
    in their method alone, or, as control, in their run index alone.
    """


# Records


class RecordFilter(Filter):
    """A filter of evaluation records, and the hyper-parameters among them that are shown."""

    aliases: ClassVar[dict[str, str]] = Filter.aliases | {
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
        "icl_source_dataset": "icl_source_datasets",
    }

    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found)."""
    icl_source_datasets: tuple[str, ...] = ()
    """Datasets that demonstrations come from (default: all found)."""
    icl_max_demos: tuple[int, ...] = ()
    """Most demonstrations of a prompt (default: all found)."""
    num_generated_tokens_eval: tuple[int, ...] = ()
    """Tokens that were generated (default: all found)."""
    hp_selection: HpSelection = "dev_loss"
    """Hyper-parameters shown: of lowest dev loss, or, as published, of highest accuracy on each evaluation set."""


def _ending(*known: str) -> AfterValidator:
    """Check of the name of a file to write."""

    def check(out: Path) -> Path:
        if out.suffix not in known:
            raise UserError(f"out={str(out)!r}: the name has to end in {' or '.join(known)}")
        return out

    return AfterValidator(check)


class ResultsConfig(RecordFilter):
    """Gather all evaluation records in one table, a row for each record and metric, and show the summary."""

    out: Annotated[Path, _ending(".csv", ".parquet")] | None = None
    """File to write, .csv or .parquet (default: reports/results.csv below the root)."""


class ReportConfig(RecordFilter):
    """Write one page of everything below the root, to read in a browser: results, figures, answers, commands."""

    out: Annotated[Path, _ending(".html")] | None = None
    """File to write, .html (default: reports/report.html below the root)."""


class TablesConfig(RecordFilter):
    """Write tables of methods against datasets, as LaTeX, Markdown and CSV: reports/tables/.

    Base models, N and label types have tables of their own.
    """

    aliases: ClassVar[dict[str, str]] = RecordFilter.aliases | {"metric": "metrics"}

    metrics: tuple[str, ...] = ("accuracy", "ece_equal_count")
    """Metrics of a cell, each with its sd over runs: names as in a record, without the pass."""
    compare: Literal["none", "published"] = "none"
    """published: the paper's numbers below ours, where model, datasets, N and method agree."""


PlotType = Literal[
    "accuracy", "calibration", "uncertainty", "entropy", "reliability", "curves", "cost", "adapters", "similarity",
    "overlap", "all",
]  # fmt: skip


class PlotConfig(RecordFilter):
    """Plot the evaluation records, as PNG and PDF: plots/unified/.

    Datasets, sources and numbers of demonstrations have a folder of plots each, base models plots of their own, label
    types and numbers of tokens lines of their own.
    """

    aliases: ClassVar[dict[str, str]] = RecordFilter.aliases | {"plot_type": "plot_types"}

    uncertainty_mode: bool = False
    """Plot the metrics that --uncertainty_analysis adds, instead of the standard ones."""
    plot_types: tuple[PlotType, ...] = ("all",)
    """Kinds of plots."""


class PlotAllConfig(RecordFilter):
    """Make every plot of everything found, the standard ones and those of uncertainty: plots/unified/."""

    include_standard: bool = False
    """The standard metrics (default: both, if neither is given)."""
    include_uncertainty: bool = False
    """The metrics that --uncertainty_analysis adds (default: both, if neither is given)."""


class ReparseConfig(Filter):
    """Read stored responses again with the task's parser, or another, without running a model."""

    not_in_run_id: ClassVar[frozenset[str]] = Config.not_in_run_id | {"dry_run"}
    aliases: ClassVar[dict[str, str]] = Filter.aliases | dict.fromkeys(
        ("eval_dataset", "eval_dataset_name", "dataset", "datasets"), "eval_datasets"
    )

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
