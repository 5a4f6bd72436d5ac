"""What the runs of a configuration come to.

A mean over different configurations is no mean over runs, so what differs in any field is aggregated apart.
"""

from collections.abc import Hashable

import numpy as np
import numpy.typing as npt
import pandas as pd

from ia2.evaluation.statistics import standard_deviation
from ia2.results.records import MEASURED, tidy
from ia2.results.select import Selection

RUN_FIELDS = ("run_idx", "train_run_idx")
MEANS = ("labels_train", "labels_dev", "train_seconds", "adapter_bytes")
"""Outcomes of the runs that an aggregate carries, averaged."""


def aggregate(selection: Selection) -> pd.DataFrame:
    """One row per configuration, evaluation and metric: mean, sd (ddof 1, NaN for one run), n, values, records, rule.

    `values`, `runs` (run_idx) and `records` (paths) are in order of run_idx; outcomes such as train_seconds are means
    over the runs, NaN where one lacks them. Of a control only the pass with demonstrations is one: the other is the
    ordinary measurement, and counts once. UserError where one run was measured twice with the same settings (`tidy`).
    """
    frame = tidy(selection.records, selection.train_seconds)
    frame["rule"] = frame["record"].map({str(r.path): selection.rule_of(r) for r in selection.records})
    frame["hp_selection"] = selection.hp_selection
    keys = ["metric", *(name for name in frame.columns if name not in MEASURED and name not in RUN_FIELDS)]
    if frame.empty:
        return frame
    if "control" in frame:
        control = frame["control"].fillna("none")
        frame["control"] = control.where(frame["metric"].str.startswith("with_icl"), "none")
        identity = [*keys, *(name for name in RUN_FIELDS if name in frame)]
        frame = frame.loc[control.sort_values(key=lambda one: one != "none", kind="stable").index]
        frame = frame.drop_duplicates(identity).sort_index()
    means = [name for name in MEANS if name in frame]
    frame = frame.astype(dict.fromkeys(means, float)).sort_values("run_idx")
    number = frame.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
    cells = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    rows = frame[keys].iloc[[cell[0] for cell in cells]].itertuples(index=False, name=None)
    columns = frame.reindex(columns=list(MEANS)).to_numpy(dtype=np.float64)
    averages = [dict(zip(MEANS, columns[cell].mean(axis=0).tolist(), strict=True)) for cell in cells]
    values, records, runs = (frame[name].to_numpy() for name in ("value", "record", "run_idx"))
    over_runs = [_over_runs(values[cell], records[cell], runs[cell]) for cell in cells]
    return pd.DataFrame(
        [dict(zip(keys, row, strict=True)) | a | b for row, a, b in zip(rows, over_runs, averages, strict=True)]
    )


def _over_runs(
    values: npt.NDArray[np.float64], records: npt.NDArray[np.object_], runs: npt.NDArray[np.object_]
) -> dict[Hashable, object]:
    """What the runs of one configuration come to in one metric, in order of run_idx."""
    return {
        "mean": float(values.mean()),
        "sd": standard_deviation(values),
        "n": len(values),
        "values": tuple(values.tolist()),
        "records": tuple(records.tolist()),
        "runs": tuple(map(int, runs)),
    }
