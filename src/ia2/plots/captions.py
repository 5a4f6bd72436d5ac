"""Captions of two lines: the subject of a figure, then n and its interval. docs/artifacts.md has the rest.

The published rule of choosing hyper-parameters flatters, so a caption names it.
"""

import pandas as pd

from ia2.config import HpSelection
from ia2.results.text import between, num_runs, of_runs

PUBLISHED = "hyper-parameters of highest accuracy on the evaluation set itself, as published"
SINGLES = "; circles: single runs"


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
    return f"{title}.\nMean over runs ({of_runs([*points['n']])}{singles}); {interval}{flattered}."


def heat_map_caption(title: str, num_runs: str, num_examples: str) -> str:
    """For `similarity_heat_maps`."""
    return (
        f"{title}: cosine of attention outputs with the teacher's, on its response.\n"
        f"Mean over runs ({num_runs}) and {num_examples} examples; no interval. Grey: not measured."
    )


def layers_caption(title: str, num_runs: str, num_examples: str) -> str:
    """For `similarity_by_layer`."""
    return (
        f"{title}: cosine of attention outputs with the teacher's, on its response.\n"
        f"Mean over tokens, {num_examples} examples and runs ({num_runs}); band: 95% normal interval over examples."
    )


def performance_caption(pairs: pd.DataFrame, title: str) -> str:
    """For `similarity_against_performance`."""
    return (
        f"{title}: a mark for each run (n = {len(pairs)}).\n"
        "r: Pearson's correlation over all runs; ellipses: 50, 80 and 95% of a normal law, from 3 runs on."
    )


BARS = "Mean over layers, projections and pairs of runs; whiskers: 95% t interval over pairs, from 3 on"
VIOLINS = "Layers, projections and pairs of runs; line: median; no interval"
BOXES = "Quartiles over layers and pairs of runs; whiskers: 1.5 times the box; no interval"


def overlap_caption(overlaps: pd.DataFrame, title: str, interval: str) -> str:
    """For the figures of overlaps; `interval` describes the spread that they show."""
    counts = overlaps.groupby("name")[["run_a", "run_b"]].apply(lambda runs: len(runs.drop_duplicates()))
    lrs = ", ".join(f"{lr:g}" for lr in sorted(set(overlaps["lr"])))
    return f"{title}: overlap of the singular subspaces of two LoRA updates (lr {lrs}).\n{interval} (n = {between([*counts])})."


# Rows of the view by model


def accuracy_caption(rows: pd.DataFrame) -> str:
    """For `accuracy_bars`."""
    circles = SINGLES if rows["n"].max() > 1 else ""
    return _of_rows("Accuracy of each model", rows, f"95% bootstrap interval over runs, then examples{circles}")


def overview_caption(rows: pd.DataFrame) -> str:
    """For `overview`."""
    starred = " *: out of distribution (training set)." if rows["out_of_distribution"].any() else ""
    return _of_rows("Mean over runs of each model on each evaluation set", rows, "no interval") + starred


def reliability_caption(rows: pd.DataFrame) -> str:
    """For `reliability_diagram`."""
    return _of_rows("Line: bins of all runs; light dots: of single runs; dotted: calibrated", rows, "no interval")


def dev_loss_caption(rows: pd.DataFrame) -> str:
    """For `dev_loss_curves`."""
    return _of_rows("Dev loss of each run; dot: its lowest", rows, "no interval")


def _of_rows(subject: str, rows: pd.DataFrame, interval: str) -> str:
    is_flattered = ((rows["rule"] != "") & (rows["hp_selection"] == "performance")).any()
    return f"{subject}.\n{num_runs(rows)}; {interval}{f'; {PUBLISHED}' if is_flattered else ''}."
