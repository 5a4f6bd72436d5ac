"""What has to stand below a figure or table: n, what the interval is, and how the hyper-parameters were chosen."""

import pandas as pd

from ia2.report.summary import rows_of


def num_runs(rows: pd.DataFrame) -> str:
    """`n = 3 runs`, or the least and the greatest n where they differ."""
    least, most = int(rows["n"].min()), int(rows["n"].max())
    if least != most:
        return f"n = {least} to {most} runs"
    return f"n = {most} run{'s' if most > 1 else ''}"


def selection_rule(rows: pd.DataFrame) -> str:
    """How the learning rate of each trained model among a group's summary rows was chosen."""
    chosen: dict[str, list[str]] = {}
    for row in rows_of(rows):
        if row.rule:
            chosen.setdefault(row.rule, []).append(row.name)
    rules = (f"{', '.join(dict.fromkeys(names))}: {rule}" for rule, names in chosen.items())
    return f"Learning rate of {'; of '.join(rules)}." if chosen else "The base model has no hyper-parameters."


def accuracy_caption(rows: pd.DataFrame) -> str:
    """For `accuracy_bars`."""
    spread = "; whiskers: ±1 sd over runs (ddof 1); circles: single runs" if rows["n"].max() > 1 else "; no spread"
    return f"Bars: mean accuracy, {num_runs(rows)}{spread}. {selection_rule(rows)}"


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
        f"A line per run ({num_runs(rows)}), of the chosen learning rate; dot: lowest dev loss. {selection_rule(rows)}"
    )
