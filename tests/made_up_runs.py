"""A store of runs that differ in one field or another; all are one trained run but for their configs."""

import shutil
from pathlib import Path
from typing import Any

from described import describe
from tiny_runs import training, write_dataset

from ia2 import store
from ia2.commands.train import train
from ia2.config import TrainConfig

CHANGES: dict[str, dict[str, Any]] = {
    "act": {},
    "lr": {"lr": 0.02},
    "r": {"lora_r": 4, "lora_alpha": 16, "lora_type": "qkvo"},
    "tok": {"training_method": "tok", "label_type": "ground_truth"},
    "tokl": {"training_method": "tokl", "tokl_top_k": 5},
    "tna": {"training_method": "tna", "ce_loss_weight": 0.5},
    "ia3": {"training_method": "ia3-act", "ia3_type": "kv"},
    "prompt": {"training_method": "prompt-act", "num_virtual_tokens": 3},
    "run": {"run_idx": 1, "num_generated_tokens": 1},
    "ldr": {"ldr_mode": True, "num_labelled_samples": 5, "num_train_examples": 100},
    "towns": {"dataset": "towns"},
    "townspeople": {"dataset": "townspeople"},
    "instruct": {"model_id": "org/Llama-3.2-1B-Instruct"},
}
"""Runs by the fields in which they differ."""


def configs(root: Path) -> dict[str, TrainConfig]:
    model = Path("org/Llama-3.2-1B")
    return {name: training(root, model, **changes) for name, changes in CHANGES.items()}


def make_up(root: Path, model: Path) -> Path:
    """Write the runs below `root`."""
    there = train(training(root, model))
    described = store.read_object(there / "run.json")
    for config in configs(root).values():
        folder = store.run_folder(root, config)
        shutil.copytree(there, folder)
        describe(folder, {**described, "config": config.relevant_fields()})
    shutil.rmtree(there)
    for dataset in ("towns", "townspeople"):
        write_dataset(root, dataset, [f"{dataset} {i}" for i in range(20)])
    return root
