"""Configs of plots: of what, and which."""

from typing import ClassVar, Literal

from ia2.config.base import Config, HpSelection, ModelId
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


class PlotSelection(Config):
    """What is plotted: which places, and what of them. None given means all found."""

    aliases: ClassVar[dict[str, str]] = {
        "trained_dataset": "trained_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
        "icl_source_dataset": "icl_source_datasets",
        "model_type": "model_types",
        "num_train_examples": "num_examples",
        "label_type": "label_types",
    }

    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found, each in a folder of its own)."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found, each in a folder of its own)."""
    icl_source_datasets: tuple[str, ...] = ()
    """Where demonstrations come from (default: all found, each in a folder of its own)."""
    icl_max_demos: tuple[int, ...] = ()
    """At most so many demonstrations (default: all found, each in a folder of its own)."""
    model_id: ModelId | None = None
    """Base model (default: all found, each in plots of its own)."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    num_examples: tuple[int, ...] = ()
    """Numbers of training examples N (default: all found)."""
    label_types: tuple[LabelType, ...] = ()
    """Label types (default: all found, each a line of its own)."""
    num_generated_tokens: tuple[int, ...] = ()
    """Tokens that were trained on (default: all found, each a line of its own)."""
    num_generated_tokens_eval: tuple[int, ...] = ()
    """Tokens that were generated (default: all found, each a line of its own)."""
    hp_selection: HpSelection = "dev_loss"
    """Hyper-parameters: of lowest dev loss, or, as published, of highest accuracy on each evaluation set."""


class PlotConfig(PlotSelection):
    """Plot what was measured, as PNG and PDF: plots/unified/."""

    aliases: ClassVar[dict[str, str]] = PlotSelection.aliases | {"plot_type": "plot_types"}

    uncertainty_mode: bool = False
    """Plot the metrics that --uncertainty_analysis adds, instead of the standard ones."""
    plot_types: tuple[PlotType, ...] = ("all",)
    """Which plots."""


class PlotAllConfig(PlotSelection):
    """Make every plot of everything found, the standard ones and those of uncertainty: plots/unified/."""

    include_standard: bool = False
    """The standard metrics (default: both, if neither is given)."""
    include_uncertainty: bool = False
    """The metrics that --uncertainty_analysis adds (default: both, if neither is given)."""
