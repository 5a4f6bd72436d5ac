"""Ten runs on the tiny model, of every kind of adapter, and what they and the base models answer."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tiny_runs import evaluation, training

from ia2.commands.selection import select_runs
from ia2.commands.train import train
from ia2.config import EvaluateConfig
from ia2.methods import parse_method
from ia2.models.loading import ModelCache

KINDS = ("act", "tok", "ia3-tok", "prompt-act", "prefix-tok")
NUM_RUNS = 2
NUM_RECORDS = (len(KINDS) + 1) * NUM_RUNS
FLAGS = ("--num_eval_examples", "7", "--icl_max_demos", "4", "--num_generated_tokens_eval", "3", "--eval_with_icl")
UNMEASURED = ["seconds"]
"""Columns that differ from one time to the next."""

Answers = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Ten:
    """A root with ten runs, of every kind of adapter, and the base model that they are of."""

    root: Path
    model: Path

    @classmethod
    def trained(cls, root: Path, model: Path) -> "Ten":
        models = ModelCache()
        for kind in KINDS:
            for run_idx in range(NUM_RUNS):
                lr = 1e-2 if parse_method(kind).adapter == "lora" else 0.3
                more = {"num_virtual_tokens": 4, "num_train_epochs": 4, "keep": "last", "lr": lr}
                train(training(root, model, training_method=kind, run_idx=run_idx, **more), models)
        return cls(root, model)

    def copied(self, root: Path) -> "Ten":
        return Ten(shutil.copytree(self.root, root), self.model)

    def config(self, *kinds: str, **changes: Any) -> EvaluateConfig:
        asked = {"model_types": kinds, "trained_datasets": ("capitals",), "eval_with_icl": True, **changes}
        return evaluation(self.root, self.model, **asked)

    @property
    def command(self) -> list[str]:
        return ["evaluate", *FLAGS, "--model_id", str(self.model), "--root", str(self.root)]

    @property
    def records(self) -> list[Path]:
        return sorted((self.root / "outputs" / "evaluations").rglob("*.json"))

    def run(self, kind: str, run_idx: int = 0) -> Path:
        (run,) = select_runs(self.root, self.config(kind, run_indices=(run_idx,)))
        return run.folder


def rows_of(paths: Sequence[Path]) -> Answers:
    return {path.stem: pd.read_parquet(path.with_suffix(".parquet")) for path in paths}


def assert_same_answers(found: Answers, expected: Answers) -> None:
    """Texts are equal, numbers to 1e-5; that no two records are alike keeps it from being empty."""
    assert found.keys() == expected.keys()
    for name, rows in found.items():
        other = expected[name].drop(columns=UNMEASURED, errors="ignore")
        pd.testing.assert_frame_equal(rows.drop(columns=UNMEASURED, errors="ignore"), other, rtol=1e-5, atol=1e-5)
    assert len({tuple(rows.confidence.round(6)) for rows in found.values()}) == len(found)
