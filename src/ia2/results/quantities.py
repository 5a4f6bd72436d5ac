"""What each metric is called on an axis, which values it can take, and which plot it belongs to.

A plot type has metrics in one mode or both: the standard one, and that of what `--uncertainty_analysis` adds. A type
that is asked for by name is drawn with the metrics of the other mode where it has none in the one that is on.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """The axis of a metric: its label with the unit, and the least and greatest value where there is one."""

    label: str
    low: float | None = 0.0
    high: float | None = None
    is_accuracy: bool = False


def _percent(what: str) -> Quantity:
    return Quantity(f"{what} (%)", 0.0, 100.0, is_accuracy=True)


QUANTITIES = {
    "accuracy": _percent("Accuracy"),
    "label_accuracy": _percent("Label accuracy"),
    "top1_accuracy": _percent("Top-1 accuracy of the first token"),
    "top5_accuracy": _percent("Top-5 accuracy of the first token"),
    "top10_accuracy": _percent("Top-10 accuracy of the first token"),
    "ece_equal_count": Quantity("First-token ECE (15 bins)", 0.0, 1.0),
    "label_ece_equal_count": Quantity("ECE over the labels (15 equal-count bins)", 0.0, 1.0),
    "nll": Quantity("NLL of the gold first token (nats)"),
    "label_nll": Quantity("NLL of the gold label (nats)"),
    "brier": Quantity("Brier score of the first token", 0.0, 2.0),
    "auroc": Quantity("AUROC of the first token's confidence", 0.0, 1.0),
    "uncertainty": Quantity("Uncertainty (1 − greatest probability)", 0.0, 1.0),
    "label_uncertainty": Quantity("Uncertainty over the labels", 0.0, 1.0),
    "entropy": Quantity("Entropy of the first token (nats)"),
    "label_entropy": Quantity("Entropy over the labels (nats)"),
    "response_entropy": Quantity("Entropy of the response's tokens (nats)"),
}
"""Metric, named as in a record without its pass, -> its axis."""

STANDARD: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("accuracy",),
    "calibration": ("ece_equal_count", "nll", "brier"),
}
UNCERTAINTY: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("top1_accuracy", "top5_accuracy", "top10_accuracy", "label_accuracy"),
    "calibration": ("label_ece_equal_count", "auroc"),
    "uncertainty": ("uncertainty", "label_uncertainty"),
    "entropy": ("entropy", "label_entropy", "response_entropy"),
}
WITH_MAJORITY = ("accuracy", "label_accuracy")
"""Metrics that always giving the most frequent answer has a value of."""
WITH_FLOOR = ("ece_equal_count",)
"""Metrics whose value for a calibrated model at this number of examples is recorded."""


OF_LABELS = {
    "ece_equal_count": "label_ece_equal_count",
    "ece_floor": "label_ece_floor",
    "nll": "label_nll",
    "reliability": "label_reliability",
    "confidence": "label_confidence",
}
"""Number of the first token -> its counterpart of whole labels."""


def has_labels(measured: Collection[str]) -> bool:
    """Whether the metrics of a record, named with their pass, are of a closed set of labels."""
    return any(name.endswith("_label_accuracy") for name in measured)


def shown_as(name: str, measured: Collection[str]) -> str:
    """The number that is shown as `name` in tables, pages and cards: of whole labels for a closed set of them.

    Labels can begin with the same token, which says nothing of the answer. An older record that lacks a number of whole
    labels shows none.
    """
    return OF_LABELS.get(name, name) if has_labels(measured) else name


def metrics_of(plot_type: str, uncertainty_mode: bool) -> tuple[str, ...]:
    """The metrics that a plot type shows; none for a type that is no plot of metrics."""
    first, second = (UNCERTAINTY, STANDARD) if uncertainty_mode else (STANDARD, UNCERTAINTY)
    return first.get(plot_type) or second.get(plot_type) or ()
