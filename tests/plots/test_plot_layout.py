"""Every kind of plot with few and with many models: no text is cut off, none lies on another."""

import math
from collections.abc import Callable, Sequence

import pandas as pd
import pytest
from layouts import assert_readable
from made_up_analyses import heat_maps, layers, overlaps, pairs
from made_up_points import MANY, frame, grid, point
from matplotlib.figure import Figure

from ia2.plots.adapters import adapters_compared
from ia2.plots.bars import accuracy_bars
from ia2.plots.cost import cost_against_accuracy
from ia2.plots.dev_loss import dev_loss_curves
from ia2.plots.lines import metric_against_n
from ia2.plots.overlap import overlap_bars, overlap_boxes, overlap_violins
from ia2.plots.similarity import similarity_against_performance, similarity_by_layer, similarity_heat_maps
from ia2.results.frame import COLUMNS
from ia2.results.label import style_of
from ia2.results.quantities import QUANTITIES

ACCURACY = QUANTITIES["accuracy"]
TITLE = "capitals → capitals_rare, without demonstrations"
CAPTION = "smollm2-135m trained on capitals: mean over runs (n = 2 runs); whiskers: 95% interval over 54 examples. " * 4
FEW, SOME = ("tok", "act", "a2t"), ("tok", "tokl", "act", "tna", "a2t", "t2a", "ia3-act", "prompt-act")
NAMES = ("tok (SFT) [label_type icl_outputs, num_generated_tokens 8]", "tok (SFT) [label_type ground_truth, T 1]")
VARIED = frame(
    [point("tok", num, 30 + num, name=NAMES[k], variation=k, details=NAMES[k][11:-1]) for num in (2, 8) for k in (0, 1)]
)

LONG = overlaps(FEW).assign(name=lambda rows: rows["name"] + " [lr 0.0003, label_type ground_truth]")


def summary(methods: Sequence[str], details: str = "") -> pd.DataFrame:
    """Rows of the summary as bars take them."""
    rows = []
    for method in methods:
        style = style_of(method)
        told = {"method": method, "with_icl": False, "label": style.label, "tick": style.tick, "colour": style.colour}
        numbers = {
            "accuracy": 96.5,
            "accuracy_sd": 3.0,
            "accuracy_values": (93.5, 99.5),
            "n": 2,
            "majority": 98.0,
            "control": "",
        }
        rows.append(dict.fromkeys(COLUMNS, math.nan) | told | numbers | {"details": details})
    return pd.DataFrame(rows)


def losses(methods: Sequence[str], num_runs: int) -> pd.DataFrame:
    """Dev losses of runs as curves take them."""
    panels = [
        {"panel": style_of(method).label, "colour": style_of(method).colour, "phase": "act"} for method in methods
    ]
    return pd.DataFrame(
        [
            one | {"run_idx": run, "step": step, "dev_loss": 1 / step + run / 9}
            for one in panels
            for run in range(num_runs)
            for step in (2, 4, 6)
        ]
    )


DETAILS = "label_type ground_truth, num_generated_tokens 8"

KINDS: dict[str, Callable[[], Figure]] = {
    "lines of few": lambda: metric_against_n(grid(FEW, (4, 8)), ACCURACY, TITLE, CAPTION),
    "lines of many": lambda: metric_against_n(grid(MANY, (2, 4, 8, 16, 32, 64, 128)), ACCURACY, TITLE, CAPTION),
    "lines of one": lambda: metric_against_n(grid(("act",), (8,)), ACCURACY, TITLE, CAPTION),
    "lines of several label types": lambda: metric_against_n(VARIED, ACCURACY, TITLE, CAPTION),
    "entropy": lambda: metric_against_n(grid(FEW, (4, 8)), QUANTITIES["response_entropy"], TITLE, CAPTION),
    "cost of few": lambda: cost_against_accuracy(grid(FEW, (4, 8)), ACCURACY, TITLE, CAPTION),
    "cost of many": lambda: cost_against_accuracy(grid(MANY, (8,)), ACCURACY, TITLE, CAPTION),
    "adapters, few": lambda: adapters_compared(grid(("tok", "ia3-tok"), (8,)), ACCURACY, TITLE, CAPTION),
    "adapters, many": lambda: adapters_compared(grid(MANY, (8,)), ACCURACY, TITLE, CAPTION),
    "adapters, label types": lambda: adapters_compared(
        pd.concat([VARIED[VARIED["num_train_examples"] == 8], grid(FEW, (8,))]), ACCURACY, TITLE, CAPTION
    ),
    "accuracies of few": lambda: accuracy_bars(summary(("base", *FEW)), CAPTION),
    "accuracies of many": lambda: accuracy_bars(summary(MANY), CAPTION),
    "accuracies of label types": lambda: accuracy_bars(summary((*FEW, *FEW), DETAILS), CAPTION),
    "losses of one run": lambda: dev_loss_curves(losses(("act",), 1), CAPTION),
    "losses of many": lambda: dev_loss_curves(losses(SOME, 10), CAPTION, 3),
    "heat maps of one": lambda: similarity_heat_maps(heat_maps(("act",), 4, 2), CAPTION),
    "heat maps of few": lambda: similarity_heat_maps(heat_maps(FEW), CAPTION),
    "heat maps of many": lambda: similarity_heat_maps(heat_maps((*SOME, "base"), 36, 200), CAPTION),
    "layers of few": lambda: similarity_by_layer(layers(FEW), TITLE, CAPTION),
    "layers of many": lambda: similarity_by_layer(layers((*SOME, "base")), TITLE, CAPTION),
    "performance of few": lambda: similarity_against_performance(pairs(FEW), CAPTION),
    "performance of many": lambda: similarity_against_performance(
        pairs(SOME, ("capitals", "past_tense_irregular")), CAPTION
    ),
    "bars of long names": lambda: overlap_bars(LONG, caption=CAPTION),
    "bars of few": lambda: overlap_bars(overlaps(FEW), caption=CAPTION),
    "bars of many": lambda: overlap_bars(overlaps(SOME[:6], 2), caption=CAPTION),
    "violins of few": lambda: overlap_violins(overlaps(FEW), "energy_overlap", CAPTION),
    "violins of many": lambda: overlap_violins(overlaps(SOME[:6], 2), caption=CAPTION),
    "boxes of few": lambda: overlap_boxes(overlaps(FEW), caption=CAPTION),
    "boxes of many": lambda: overlap_boxes(overlaps(SOME[:6], 2), caption=CAPTION),
}


EASY = {f"{kind.removesuffix(' of many')} of few" for kind in KINDS if kind.endswith(" of many")} & KINDS.keys()
"""Kinds that are drawn of many as well, which leaves less room for each text."""


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in EASY)) for kind in KINDS])
def test_every_text_can_be_read(kind: str) -> None:
    assert_readable(KINDS[kind]())
