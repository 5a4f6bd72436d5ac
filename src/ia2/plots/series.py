"""The numbers behind the figures, one frame per figure, so that a figure can be tested without looking at pixels.

A panel is one row of the summary: the records behind that row and no others, so that configurations never mix.
"""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from ia2.config import TrainConfig
from ia2.results.frame import Row, rows_of
from ia2.results.records import PASSES, Record
from ia2.results.runs import TrainedRun, config_key, read_history

RELIABILITY = ["panel", "colour", "marker", "ece", "ece_floor", "run_idx", "confidence", "accuracy", "count"]
DEV_LOSS = ["panel", "colour", "phase", "run_idx", "step", "dev_loss"]


def reliability_series(rows: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    """One row per summary row, run and reliability bin (confidence and accuracy 0 to 1)."""
    from_path = {str(record.path): record for record in records}
    series = [
        {**_panel(row), "ece": row.ece, "ece_floor": row.ece_floor, "run_idx": record.settings.run_idx, **asdict(bin_)}
        for row in rows_of(rows)
        for record in (from_path[path] for path in row.records)
        for bin_ in record.shown_reliability.get(PASSES[row.with_icl], [])
    ]
    return pd.DataFrame(series, columns=RELIABILITY)


def dev_loss_series(rows: pd.DataFrame, records: Sequence[Record], runs: Sequence[TrainedRun]) -> pd.DataFrame:
    """One row per run, phase and dev evaluation of the runs behind the rows; steps without one are left out."""
    from_path = {str(record.path): record for record in records}
    from_key = {run.key: run for run in runs}
    frames = [
        _history(from_key[config_key(config)]).assign(**_panel(row), run_idx=config.run_idx)
        for row in rows_of(rows.drop_duplicates("records"))
        for config in _configs(row.records, from_path)
        if config_key(config) in from_key
    ]
    return pd.concat([frame[DEV_LOSS] for frame in frames]) if frames else pd.DataFrame(columns=DEV_LOSS)


def _panel(row: Row) -> dict[str, str]:
    return {"panel": row.name, "colour": row.colour, "marker": row.marker}


def _configs(paths: Sequence[str], from_path: dict[str, Record]) -> list[TrainConfig]:
    return [run for path in paths if (run := from_path[path].run) is not None]


def _history(run: TrainedRun) -> pd.DataFrame:
    return read_history(run).dropna(subset=["dev_loss"])
