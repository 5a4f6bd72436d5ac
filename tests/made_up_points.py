"""Points of made-up measurements, for figures that are tested without a store."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ia2.methods import METHODS
from ia2.results.label import style_of

MANY = (*METHODS, "base")


def point(method: str, num_examples: int, mean: float, **changes: Any) -> dict[str, Any]:
    """One point: two runs, and an interval of 10 to either side."""
    with_icl, control = bool(changes.get("with_icl", False)), str(changes.get("control", ""))
    return {
        "name": style_of(method, with_icl, control).label,
        "method": method,
        "with_icl": with_icl,
        "control": control,
        "details": "",
        "variation": 0,
        "num_train_examples": num_examples,
        "mean": mean,
        "low": mean - 10,
        "high": mean + 10,
        "over": "examples",
        "n": 2,
        "values": (mean - 4, mean + 4),
        "num_examples": 54,
        "majority": 2.0,
        "floor": math.nan,
        "train_seconds": math.nan if method == "base" else 10.0 + num_examples,
        "adapter_bytes": math.nan if method == "base" else 1_850_000.0,
        **changes,
    }


def frame(points: Sequence[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(points)


def grid(methods: Sequence[str], sizes: Sequence[int], with_icl: bool = False) -> pd.DataFrame:
    """Methods that gain with N, and the base model in both passes."""
    generator = np.random.default_rng(0)
    rows = [
        point(method, size, float(20 + 9 * np.log2(size) + generator.normal(0, 8)), with_icl=with_icl)
        for method in methods
        if method != "base"
        for size in sizes
    ]
    rows += [point("base", size, 12.0, n=1, values=(12.0,)) for size in sizes]
    rows += [point("base", size, 50.0 + size / 8, with_icl=True) for size in sizes]
    for row in rows:
        if row["method"] != "base" and row["method"].startswith("prompt"):
            row["adapter_bytes"] = 46_080.0
    return frame(rows)
