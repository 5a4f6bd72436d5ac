"""What has to stand below a plot: n, what the interval is, how the hyper-parameters were chosen, and what else to know.

`title` says what was trained and evaluated on which model; it stands first, since an image can lose its name.
"""

import pandas as pd

from ia2.config import HpSelection
from ia2.methods import VARIANTS
from ia2.results.captions import between, of_runs
from ia2.results.select import RULES

CIRCLES = "small circles: single runs"
TWO_PHASES = " and ".join(name for name, row in VARIANTS.items() if len(row.phases) > 1)
FIRST_PHASE = f"Seconds are those of fitting, the first phase of {TWO_PHASES} included, the collection of targets not."


def chosen(points: pd.DataFrame, hp_selection: HpSelection) -> str:
    """The selection rule of the models that were trained."""
    if (points["method"] == "base").all():
        return "The base model has no hyper-parameters."
    return f"Hyper-parameters, where several were trained: {RULES[hp_selection]}."


def spread(points: pd.DataFrame, circles: bool = True) -> str:
    """n, and what the interval is over; `circles` if single runs are drawn."""
    if points["over"].iloc[0] == "examples":
        interval = f"95% bootstrap interval over runs and the {between([*points['num_queries']])} evaluation examples"
    else:
        interval = "95% t interval over runs (none for fewer than three)"
    singles = f"; {CIRCLES}" if circles and points["n"].max() > 1 else ""
    return f"mean over runs ({of_runs([*points['n']])}{singles}); whiskers and bands: {interval}."


def lines_caption(points: pd.DataFrame, title: str, hp_selection: HpSelection) -> str:
    """For `metric_against_n`."""
    floor = " Floor: the ECE that calibrated models would show." if points["floor"].notna().any() else ""
    return f"{title}: {spread(points)}{floor} {chosen(points, hp_selection)}"


def adapters_caption(points: pd.DataFrame, title: str, hp_selection: HpSelection) -> str:
    """For `adapters_compared`."""
    floor = " Floor: the ECE that calibrated models would show." if points["floor"].notna().any() else ""
    return f"{title}: {spread(points)} A dash: not measured.{floor} {chosen(points, hp_selection)}"


def cost_caption(points: pd.DataFrame, title: str, hp_selection: HpSelection) -> str:
    """For `cost_against_accuracy`."""
    return f"{title}: {spread(points, circles=False)} {FIRST_PHASE} {chosen(points, hp_selection)}"


def heat_map_caption(title: str, num_runs: str, num_examples: str) -> str:
    """For `similarity_heat_maps`."""
    return (
        f"{title}: cosine of the attention outputs of student and teacher on the teacher's own response, mean over "
        f"those of the {num_examples} evaluation examples that have such a token and over runs ({num_runs}); no "
        f"interval. Grey: not measured. {_similarity_rule()}"
    )


def layers_caption(title: str, num_runs: str, num_examples: str) -> str:
    """For `similarity_by_layer`."""
    return (
        f"{title}: cosine of the attention outputs of student and teacher on the teacher's own response, mean over "
        f"tokens, {num_examples} evaluation examples and runs ({num_runs}); bands: 95% normal interval over examples. "
        f"{_similarity_rule()}"
    )


def performance_caption(pairs: pd.DataFrame, title: str) -> str:
    """For `similarity_against_performance`."""
    return (
        f"{title}: a mark for each run (n = {len(pairs)}), its similarity averaged over examples, layers and tokens. "
        "r: Pearson's correlation over the runs on this evaluation set, those of all methods and N. Ellipses: 50, 80 "
        "and 95% of a normal law with the covariance of a method's runs (where it has 3 or more). "
        f"{_similarity_rule()}"
    )


def _similarity_rule() -> str:
    return f"Hyper-parameters, where several were trained: {RULES['dev_loss']}."


def overlap_caption(overlaps: pd.DataFrame, title: str, what: str) -> str:
    """For the figures of overlaps; `what` says what is drawn."""
    counts = overlaps.groupby("name")[["run_a", "run_b"]].apply(lambda runs: len(runs.drop_duplicates()))
    lrs = ", ".join(f"{lr:g}" for lr in sorted(set(overlaps["lr"])))
    return (
        f"{title}: overlap of the singular subspaces of two LoRA updates, 0 where they are orthogonal and 1 where they "
        f"are the same. {what} n = {between([*counts])} pairs of runs for each pair of methods. Dotted: what random "
        "subspaces would show, mean over what is drawn. Runs of one index begin with the same A, so their right "
        "subspaces are alike before anything is learned. Hyper-parameters are not chosen: both runs of a pair have the "
        f"same learning rate ({lrs})."
    )


BARS = (
    "Bars: mean over layers, projections and pairs of runs; whiskers: 95% t interval over pairs of runs (none for "
    "fewer than three)."
)
VIOLINS = "Violins: all layers, projections and pairs of runs; line: median; no interval."
BOXES = "Boxes: quartiles over layers and pairs of runs; line: median; whiskers: 1.5 times the box; no interval."
