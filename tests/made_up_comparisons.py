"""Similarities and overlaps in a store, as the commands write them. Their numbers are made up."""

from pathlib import Path
from typing import Any

import pandas as pd

from ia2.analysis.similarity import ROWS as COLUMNS
from ia2.analysis.subspace import ROW_COLUMNS
from ia2.config import TrainConfig
from ia2.store import write_json

ROWS = [
    *[(5, 0, 0, 1.0), (5, 1, 0, 0.5), (5, 0, 1, 0.0), (5, 1, 1, 0.5)],  # two tokens, two layers
    *[(9, 0, 0, 0.25), (9, 1, 0, 0.75)],
]
"""idx, layer, token, cosine."""


def similarity(**changes: Any) -> dict[str, Any]:
    """As it is written; the numbers are made up, but for those that follow from ROWS."""
    act = TrainConfig(training_method="act", dataset="capitals", num_train_examples=8, num_generated_tokens=2)
    return {
        "schema": 1,
        **{"method": "act", "reference": "teacher", "trained_dataset": "capitals", "eval_dataset": "capitals"},
        **{"icl_source_dataset": "capitals", "icl_max_demos": 8, "num_train_examples": 8, "run_idx": 0},
        **{"num_generated_tokens_eval": 2, "model_id": "tiny", "torch_dtype": "auto", "icl_pool": "train"},
        **{"stop": "separator", "num_eval_examples": None, "chat_template": False},
        **{"run": act.relevant_fields(), "reference_run": None, "shows_demonstrations": False},
        **{"num_examples": 2, "num_tokens": 3, "num_layers": 2, "mean": 0.5, "sd": 0.0},
        "layers": [
            {"layer": 0, "cosine": 0.375, "sd": 0.1767767, "n": 2},
            {"layer": 1, "cosine": None, "sd": None, "n": 0},
        ],
        **{"base_revision": "weights", "adapter_sha256": "a", "reference_adapter_sha256": None, "eval_sha256": "b"},
        **{"split_sha256": "c", "source_sha256": "d", "responses": "e", "responses_sha256": "f", "command": "ia2"},
        **changes,
    }


def write_similarity(root: Path, name: str = "one", rows: list[tuple[Any, ...]] = ROWS, **changes: Any) -> Path:
    written = similarity(**changes)
    path = root / "outputs" / "similarity" / written["method"] / written["trained_dataset"] / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"idx": "int64", "layer": "int32", "token": "int32", "cosine": "float32"}
    pd.DataFrame(rows, columns=COLUMNS.names).astype(kinds).to_parquet(path.with_suffix(".parquet"))
    write_json(path, written)
    return path


def run(method: str = "act", **changes: Any) -> dict[str, Any]:
    return TrainConfig(training_method=method, dataset="capitals", num_train_examples=8, **changes).relevant_fields()


def write_overlap(root: Path, name: str, value: float = 0.5, num_rows: int = 2, **changes: Any) -> Path:
    """A pair, in whose rows every measure has the same made-up value."""
    path = root / "outputs" / "subspace" / "capitals" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "layer": layer,
            "projection": "self_attn.q_proj",
            "rank_a": 8,
            "rank_b": 7,
            **dict.fromkeys(ROW_COLUMNS[4:], value),
        }
        for layer in range(num_rows)
    ]
    pd.DataFrame(rows, columns=list(ROW_COLUMNS)).to_parquet(path.with_suffix(".parquet"))
    written = {
        **{"schema": 1, "relation": "methods", "run_a": f"act/capitals/{name}", "run_b": f"tok/capitals/{name}"},
        **{"config_a": run(), "config_b": run("tok"), "num_rows": num_rows, "num_absent": 0},
        **{"adapter_sha256_a": "a", "adapter_sha256_b": "b", "command": "ia2 subspace"},
    }
    write_json(path, {**written, **changes})
    return path
