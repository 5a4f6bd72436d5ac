"""The numbers of one record: of the pass without demonstrations, of the one with them, and of the two together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ia2.evaluation.accuracy import agreement
from ia2.evaluation.calibration import ece_floor, reliability_bins
from ia2.evaluation.classes import named_counts, named_recalls
from ia2.evaluation.metrics import FirstTokens, Labels, Numbers, Scored, metrics

PASSES = {False: "without_icl", True: "with_icl"}
"""What a pass is called, by whether it has demonstrations."""


def numbers_of_passes(scored: Mapping[str, Scored], labels: Sequence[str], uncertainty: bool) -> dict[str, Any]:
    """What is measured of the passes, by their names; docs/artifacts.md says what each field is.

    `labels` are the names of the labels in the order of their indices, none for free text. Passes hold the same
    examples in one order. What only two passes have is null where there is one.
    """
    labelled = {name: one.labels for name, one in scored.items() if one.labels}
    counts = {name: one.confusion for name, one in labelled.items()}
    return {
        "metrics": _metrics(scored, uncertainty),
        "agreement": _agreement(scored),
        "labels": list(labels) or None,
        "recall": {name: named_recalls(one, labels) for name, one in counts.items()} or None,
        "confusion": {name: named_counts(one, labels) for name, one in counts.items()} or None,
        "reliability": {name: _bins(one.first) for name, one in scored.items()},
        "ece_floor": {name: ece_floor(one.first.confidence) for name, one in scored.items()},
        "label_reliability": {name: _bins(one) for name, one in labelled.items()} or None,
        "label_ece_floor": {name: ece_floor(one.confidence) for name, one in labelled.items()} or None,
    }


def _bins(sure: FirstTokens | Labels) -> list[dict[str, float]]:
    return [asdict(one_bin) for one_bin in reliability_bins(sure.confidence, sure.correct)]


def _metrics(scored: Mapping[str, Scored], uncertainty: bool) -> Numbers:
    named = {name: metrics(one, uncertainty) for name, one in scored.items()}
    numbers = {f"{name}_{key}": value for name, one in named.items() for key, value in one.items()}
    if len(named) == len(PASSES):
        numbers["accuracy_delta"] = numbers["with_icl_accuracy"] - numbers["without_icl_accuracy"]
    return numbers


def _agreement(scored: Mapping[str, Scored]) -> dict[str, int] | None:
    if len(scored) < len(PASSES):
        return None
    return asdict(agreement(scored[PASSES[True]].correct, scored[PASSES[False]].correct))
