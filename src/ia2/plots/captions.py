"""Captions of two lines: the subject of a figure, then n and its interval. docs/artifacts.md has the rest.

The published rule of choosing hyper-parameters flatters, so a caption names it.
"""

import pandas as pd

from ia2.config import HpSelection
from ia2.results.text import between, num_runs, of_runs

PUBLISHED = "hyper-parameters by accuracy on the evaluation set, as published"
SINGLES = " (circles)"


def lines_caption(
    points: pd.DataFrame, title: str, hp_selection: HpSelection = "dev_loss", circles: str = SINGLES
) -> str:
    """For figures of points: a metric against N or costs, and adapters side by side."""
    if points["over"].iloc[0] == "examples":
        interval = f"95% bootstrap interval over runs and {between([*points['num_examples']])} examples"
    else:
        interval = "95% t interval over runs, from 3 runs on"
    singles = circles if points["n"].max() > 1 else ""
    flattered = f"; {PUBLISHED}" if hp_selection == "performance" and (points["method"] != "base").any() else ""
    return f"{title}: mean over runs.\n{of_runs([*points['n']])}{singles}; {interval}{flattered}."


def heat_map_caption(title: str, num_runs: str, num_examples: str) -> str:
    """For `similarity_heat_maps`."""
    return (
        f"{title}: attention outputs beside the teacher's.\n"
        f"Mean cosine, {num_runs}, {num_examples} examples; no interval. Grey: not measured."
    )


def layers_caption(title: str, num_runs: str, num_examples: str) -> str:
    """For `similarity_by_layer`."""
    return (
        f"{title}: attention outputs beside the teacher's.\n"
        f"Mean cosine, {num_runs}; band: 95% normal interval over {num_examples} examples."
    )


def performance_caption(pairs: pd.DataFrame, title: str) -> str:
    """For `similarity_against_performance`."""
    return (
        f"{title}: a mark for each run (n = {len(pairs)}).\n"
        "r: correlation over runs; ellipses: 50, 80, 95% of a normal law (3 runs or more)."
    )


BARS = "Mean and 95% t interval over pairs of runs, from 3 pairs on"
VIOLINS = "Spread over layers, projections and pairs; line: median"
BOXES = "Quartiles over layers and pairs; whiskers: 1.5 times the box"


def overlap_caption(overlaps: pd.DataFrame, title: str, interval: str) -> str:
    """For the figures of overlaps; `interval` describes the spread that they show."""
    counts = overlaps.groupby("name")[["run_a", "run_b"]].apply(lambda runs: len(runs.drop_duplicates()))
    lrs = ", ".join(f"{lr:g}" for lr in sorted(set(overlaps["lr"])))
    subject = f"{title}: subspaces of two LoRA updates (lr {lrs})"
    return f"{subject}.\n{interval}; n = {between([*counts])} pairs of runs."


# Rows of the view by model


def accuracy_caption(rows: pd.DataFrame) -> str:
    """For `accuracy_bars`."""
    circles = SINGLES if rows["n"].max() > 1 else ""
    interval = f"95% bootstrap interval over runs and examples{_flattered(rows)}"
    return f"{rows['title'].iloc[0]}: mean accuracy over runs.\n{num_runs(rows)}{circles}; {interval}."


def overview_caption(rows: pd.DataFrame) -> str:
    """For `overview`."""
    starred = " *: out of distribution (training set)." if rows["out_of_distribution"].any() else ""
    return f"Mean over runs on each evaluation set.{starred}\n{num_runs(rows)}; no interval{_flattered(rows)}."


def reliability_caption(rows: pd.DataFrame) -> str:
    """For `reliability_diagram`."""
    return f"Light dots: bins of each run ({num_runs(rows)}); line: of all runs; no interval{_flattered(rows)}."


def dev_loss_caption(rows: pd.DataFrame) -> str:
    """For `dev_loss_curves`."""
    return f"Dev loss of each run ({num_runs(rows)}); dot: its lowest; no interval{_flattered(rows)}."


def _flattered(rows: pd.DataFrame) -> str:
    is_published = ((rows["rule"] != "") & (rows["hp_selection"] == "performance")).any()
    return f"; {PUBLISHED}" if is_published else ""
