"""What has to stand below a plot: n, what the interval is, how the hyper-parameters were chosen, and what else to know.

`title` says what was trained and evaluated on which model; it stands first, since an image can lose its name.
"""

import math

import pandas as pd

from ia2.config import HpSelection
from ia2.methods import VARIANTS
from ia2.results.frame import Row, rows_of
from ia2.results.select import RULES
from ia2.results.text import MANY, P_VALUES, between, interval, num_runs, of_runs, p_value, selection_rule

INTERVALS = "95% bootstrap intervals over runs, then examples"
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
        interval = f"95% bootstrap interval over runs and the {between([*points['num_examples']])} evaluation examples"
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


# Of the page


def accuracy_caption(rows: pd.DataFrame) -> str:
    """For `accuracy_bars`."""
    circles = "; circles: single runs" if rows["n"].max() > 1 else ""
    return (
        f"Bars: mean accuracy, {num_runs(rows)}; whiskers: {INTERVALS}{circles}. {_chance(rows)} {selection_rule(rows)}"
    )


def _chance(rows: pd.DataFrame) -> str:
    """The interval of each model, and its p-value where it has one; of many, where they stand."""
    if len(rows) > MANY:
        return "The table of results has the intervals, the differences from tok, and p."
    told = [f"{row.name} {interval(row)}{_from_tok(row)}" for row in rows_of(rows)]
    meaning = f" {P_VALUES}" if rows["p_value"].notna().any() else ""
    return f"Intervals: {', '.join(told)}.{meaning}"


def _from_tok(row: Row) -> str:
    if math.isnan(row.p_value):
        return ""
    return f" ({row.difference:+.1f} from tok, p {p_value(row)}; labels {row.labels} against {row.tok_labels})"


def overview_caption(rows: pd.DataFrame) -> str:
    """For `overview`."""
    starred = " *: out of distribution, in brackets what was trained on." if rows["out_of_distribution"].any() else ""
    return (
        f"A mark is the mean over runs of one model on one evaluation set ({num_runs(rows)}), shifted a little up or "
        f"down, so that equal ones do not hide each other.{starred} The table of results says how hyper-parameters "
        "were chosen."
    )


def reliability_caption(rows: pd.DataFrame) -> str:
    """For `reliability_diagram`."""
    return (
        f"Light dots: equal-count bins of single runs, area by count; line: bins of all runs joined "
        f"({num_runs(rows)}); dotted: perfect calibration. ECE is the mean over runs; its floor is what a calibrated "
        f"model would show at this number of examples. {selection_rule(rows)}"
    )


def dev_loss_caption(rows: pd.DataFrame) -> str:
    """For `dev_loss_curves`."""
    return (
        f"A line per run ({num_runs(rows)}), of the chosen hyper-parameters; dot: lowest dev loss. "
        f"{selection_rule(rows)}"
    )
