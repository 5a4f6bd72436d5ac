"""A small store of evaluation records. Every number in it is made up; only the shapes are those of real records."""

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from described import describe

from ia2.config import HpSelection, TrainConfig
from ia2.results.frame import Row, aggregate, rows_of, summarise
from ia2.results.records import examine_records
from ia2.results.runs import read_runs
from ia2.results.select import Selection, select
from ia2.store import evaluations_folder, run_folder

ROWS = [("Input: France\nOutput:", " Paris"), ("Input: Peru\nOutput:", " Lima"), ("Input: Mali\nOutput:", " Bamako")]
ROWS += [(f"Input: Country {idx}\nOutput:", f" City {idx}") for idx in range(3, 40)]
MODEL = "smollm2-135m"


@dataclass
class MadeUpStore:
    """Writes records and runs below `root` as the stages do."""

    root: Path
    written: list[Path] = field(default_factory=list)

    def base(self, accuracy: tuple[float, float], run_idx: int = 0, **changes: Any) -> Path:
        """A base record with accuracies without and with demonstrations."""
        metrics = _metrics(False, accuracy[0]) | _metrics(True, accuracy[1])
        content = self.content("base", None, run_idx, metrics) | changes
        return self.write(content, "base", "")

    def adapter(self, config: TrainConfig, accuracy: float, dev_loss: float | None, **changes: Any) -> Path:
        """A record of an adapter evaluated without demonstrations."""
        content = self.content("adapter", config, config.run_idx, _metrics(False, accuracy))
        content["train"] = training(dev_loss)
        return self.write(content | changes, config.training_method, config.dataset)

    def content(self, kind: str, config: TrainConfig | None, run_idx: int, metrics: dict[str, float]) -> dict[str, Any]:
        passes = sorted({name.split("_icl_")[0] + "_icl" for name in metrics})
        return {
            "schema": 1,
            "kind": kind,
            "eval": settings(run_idx=run_idx),
            "run": config.identity() if config else None,
            "train": None,
            "labels_used": {"train": 8, "dev": num_dev(config)},
            "num_examples": len(ROWS),
            "metrics": metrics,
            "reliability": {when: bins(metrics[f"{when}_accuracy"] / 100, run_idx) for when in passes},
            "majority_class_accuracy": 2.5,
            "ece_floor": dict.fromkeys(passes, 0.11),
            "timings": {f"{when}_seconds": 4.0 for when in passes},
            "peak_memory_bytes": 1_500_000_000,
            "command": "ia2 evaluate --made_up",
        }

    def write(self, content: dict[str, Any], method: str, dataset: str) -> Path:
        folder = evaluations_folder(self.root, method, dataset or None, False)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"record{len(self.written):03d}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        frames = [
            examples(when == "with_icl", content["metrics"][f"{when}_accuracy"]) for when in content["reliability"]
        ]
        pd.concat(frames).to_parquet(path.with_suffix(".parquet"))
        agree(path)
        self.written.append(path)
        return path

    def run(self, config: TrainConfig, dev_loss: float | None) -> Path:
        """A run folder: its config, statistics and history."""
        folder = run_folder(self.root, config)
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(b"")
        (folder / "final_loss_statistics.json").write_text(json.dumps(training(dev_loss)))
        lines = [line for phase in phases(config) for line in history(phase, dev_loss or 1.0, config.run_idx)]
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        describe(folder, {"config": config.identity()})
        return folder

    def selection(self, hp_selection: HpSelection = "dev_loss") -> Selection:
        """The records that are shown."""
        records = examine_records(self.root).found
        return select(records, read_runs(self.root, records), hp_selection)

    def scores(self, hp_selection: HpSelection = "dev_loss") -> pd.DataFrame:
        return aggregate(self.selection(hp_selection))

    def summary(self, hp_selection: HpSelection = "dev_loss") -> pd.DataFrame:
        return summarise(self.selection(hp_selection))

    def rows(self, hp_selection: HpSelection = "dev_loss") -> list[Row]:
        return rows_of(self.summary(hp_selection))


def num_dev(config: TrainConfig | None) -> int:
    """Dev labels, which real runs use where a phase learns from the dataset's own answers: none for `act`."""
    labelled = config is not None and config.relevant_fields().get("label_type") == "ground_truth"
    return 4 if labelled else 0


def settings(**changes: Any) -> dict[str, Any]:
    made_up = {
        "eval_dataset": "capitals",
        "icl_source_dataset": "capitals",
        "icl_max_demos": 8,
        "num_generated_tokens_eval": 8,
        "icl_pool": "train",
        "stop": "separator",
        "num_eval_examples": None,
        "model_id": MODEL,
        "torch_dtype": "float32",
        "uncertainty_analysis": False,
        "num_train_examples": 8,
        "run_idx": 0,
    }
    return made_up | changes


def config(method: str, run_idx: int = 0, lr: float = 1e-3, **changes: Any) -> TrainConfig:
    fields = {"label_type": "ground_truth", "num_generated_tokens": 8, "num_train_examples": 8, "dataset": "capitals"}
    return TrainConfig(training_method=method, model_id=MODEL, lr=lr, run_idx=run_idx, **(fields | changes))


def training(dev_loss: float | None) -> dict[str, Any]:
    final = None if dev_loss is None else dev_loss * 1.5
    numbers = {"best_step": 20, "num_steps": 40, "seconds": 25.0, "trainable_parameters": 460_800}
    return {"best_dev_loss": dev_loss, "final_dev_loss": final, "adapter_bytes": 1_850_000, **numbers}


def phases(config: TrainConfig) -> list[str]:
    return {"a2t": ["act", "tok"], "tok": ["tok"], "act": ["act"]}[config.method.variant]


def history(phase: str, best: float, run_idx: int) -> list[dict[str, Any]]:
    scale = 40.0 if phase == "act" else 1.0
    lines = []
    for step in range(2, 42, 2):
        loss = scale * best * (1 + 3 * np.exp(-step / 6) + 0.002 * max(step - 24, 0) ** 1.5 + 0.05 * run_idx)
        lines.append(
            {"step": step, "epoch": step // 2, "phase": phase, "train_loss": 0.9 * loss, "seconds": 0.3 * step}
        )
        lines.append({"step": step, "epoch": step // 2, "phase": phase, "dev_loss": loss, "seconds": 0.3 * step})
    return lines


def bins(accuracy: float, run_idx: int) -> list[dict[str, Any]]:
    edges = np.linspace(0.05, 0.98, 16)
    generator = np.random.default_rng(run_idx)
    records = []
    for low, high in pairwise(edges):
        middle = float(low + high) / 2
        hits = float(np.clip(round(3 * (middle * accuracy * 1.3 + generator.normal(0, 0.1))) / 3, 0, 1))
        records.append({"lower": low, "upper": high, "confidence": middle, "accuracy": hits, "count": 3})
    return records


def examples(with_icl: bool, accuracy: float) -> pd.DataFrame:
    rows = []
    for idx, (question, gold) in enumerate(ROWS):
        correct = idx < accuracy / 100 * len(ROWS)
        response = f"{gold}\n\nInput" if correct else " <script>alert('made up')</script>\n\n" * (1 + idx % 2)
        rows.append(
            {
                "idx": idx,
                "with_icl": with_icl,
                "question": question,
                "gold": gold,
                "response": response,
                "parsed": gold.strip() if correct else None,
                "correct": correct,
                "anywhere_correct": correct,
                "confidence": 0.5 + idx / 100,
                "first_token_correct": correct,
                "gold_log_prob": -1.0,
                "entropy": 1.0,
            }
        )
    return pd.DataFrame(rows)


def rewrite(path: Path, **columns: Any) -> None:
    """Replace columns of a record's examples."""
    parquet = path.with_suffix(".parquet")
    pd.read_parquet(parquet).assign(**columns).to_parquet(parquet)
    agree(path)


def agree(path: Path) -> None:
    """Let the record's accuracy be that of its rows, as a reader demands."""
    content, rows = json.loads(path.read_text(encoding="utf-8")), pd.read_parquet(path.with_suffix(".parquet"))
    for shown, part in rows.groupby("with_icl"):
        name = "with_icl_accuracy" if shown else "without_icl_accuracy"
        if name in content["metrics"]:
            content["metrics"][name] = 100 * float(part["correct"].mean())
    path.write_text(json.dumps(content), encoding="utf-8")


def _metrics(with_icl: bool, accuracy: float) -> dict[str, float]:
    when = "with_icl" if with_icl else "without_icl"
    values = {"accuracy": accuracy, "anywhere_accuracy": min(accuracy + 12.5, 100.0), "nll": 2.0 - accuracy / 100}
    values |= {"ece_equal_count": 0.2, "ece_equal_width": 0.18, "brier": 0.6, "parse_rate": 0.9}
    return {f"{when}_{name}": value for name, value in values.items()}


def fill(store: MadeUpStore) -> None:
    """A demo's worth: base, tok, act and a2t, three runs, two learning rates of which 0.001 has the lower dev loss."""
    accuracies = {"tok": (70.0, 80.0, 75.0), "act": (60.0, 65.0, 70.0), "a2t": (80.0, 85.0, 90.0)}
    for run_idx in range(3):
        store.base((0.0, (72.5, 77.5, 75.0)[run_idx]), run_idx)
        for method, values in accuracies.items():
            for lr, loss, shift in ((3e-4, 0.8, -20.0), (1e-3, 0.5, 0.0)):
                settled = config(method, run_idx, lr)
                store.run(settled, loss + 0.1 * run_idx)
                changes = {"eval": settings(run_idx=run_idx)}
                store.adapter(settled, values[run_idx] + shift, loss + 0.1 * run_idx, **changes)
