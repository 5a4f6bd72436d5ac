"""What the runs of a configuration come to.

A mean over different configurations is no mean over runs, so what differs in any field is aggregated apart.
"""

import numpy as np
import pandas as pd

from ia2.measure.statistics import standard_deviation
from ia2.report.results import MEASURED, tidy
from ia2.report.selection import Selection

RUN_FIELDS = ("run_idx", "train_run_idx")
MEANS = ("labels_train", "labels_dev", "train_seconds", "adapter_bytes")
"""Outcomes of the runs that an aggregate carries, averaged."""


def aggregate(selection: Selection) -> pd.DataFrame:
    """One row per configuration, evaluation and metric: mean, sd (ddof 1, NaN for one run), n, values, records, rule.

    `values` and `records` (paths) are in order of run_idx; outcomes such as train_seconds are averaged over the runs.
    UserError where one run was measured twice with the same settings (`tidy`).
    """
    frame = tidy(selection.records)
    frame["rule"] = frame["record"].map({str(r.path): selection.rule_of(r) for r in selection.records})
    frame["hp_selection"] = selection.hp_selection
    keys = ["metric", *(name for name in frame.columns if name not in MEASURED and name not in RUN_FIELDS)]
    if frame.empty:
        return frame
    means = [name for name in MEANS if name in frame]
    frame = frame.astype(dict.fromkeys(means, float)).sort_values("run_idx")
    cells = frame.groupby(keys, dropna=False, sort=False)
    return pd.DataFrame([dict(zip(keys, key, strict=True)) | _over_runs(cell) for key, cell in cells])


def _over_runs(cell: pd.DataFrame) -> dict[str, object]:
    """What the runs of one configuration come to in one metric; `cell` is in order of run_idx."""
    values = cell["value"].to_numpy()
    return {
        "mean": float(values.mean()),
        "sd": standard_deviation(values),
        "n": len(values),
        "values": tuple(values.tolist()),
        "records": tuple(cell["record"].tolist()),
        **{name: float(cell[name].mean()) if name in cell else np.nan for name in MEANS},
    }
