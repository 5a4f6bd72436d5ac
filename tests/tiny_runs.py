"""Small commands on the tiny model: what they are given, and what a store may hold when they have ended."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ia2 import store
from ia2.analysis.similarity import examine_similarities
from ia2.analysis.subspace import examine_overlaps
from ia2.config import EvaluateConfig, TrainConfig
from ia2.prompts.splits import load_split
from ia2.tasks.pool import load_pool
from ia2.training.targets import load_targets

NO_RUNS = ("evaluations", "targets", "similarity")
RUN_FILES = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "run.json",
    "final_loss_statistics.json",
    "history.jsonl",
}


def training(root: Path, model: Path, **changes: Any) -> TrainConfig:
    """A run of a few steps on `capitals`."""
    fields: dict[str, Any] = {
        "root": root,
        "model_id": str(model),
        "training_method": "act",
        "dataset": "capitals",
        "num_train_examples": 4,
        "num_generated_tokens": 3,
        "num_train_epochs": 2,
        "lr": 1e-2,
        **changes,
    }
    return TrainConfig(**fields)


def evaluation(root: Path, model: Path, **changes: Any) -> EvaluateConfig:
    """An evaluation of a few queries on `capitals`."""
    fields: dict[str, Any] = {
        "root": root,
        "model_id": str(model),
        "num_eval_examples": 7,
        "icl_max_demos": 4,
        "num_generated_tokens_eval": 3,
        **changes,
    }
    return EvaluateConfig(**fields)


def write_dataset(root: Path, name: str, questions: Sequence[str], **metadata: Any) -> None:
    """A made-up main.json; its answers are the questions' numbers."""
    examples = [
        {"idx": i, "question": f"Input: {text}\nOutput:", "answer": f" {i}"} for i, text in enumerate(questions)
    ]
    spec = {"name": name, "template": "Input: {x}\nOutput:", "answer_template": " {y}", "parser": "line"}
    half = len(examples) // 2
    store.write_json(
        store.pool_path(root, name),
        {
            "metadata": {"task": {**spec, "num_generated_tokens": 2}, **metadata},
            "train_examples": examples[:half],
            "val_examples": examples[half:],
        },
    )


def files_of(root: Path) -> dict[str, bytes]:
    """Every file below `root` but the locks, by its path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def leftovers(root: Path) -> list[str]:
    """Temporary names that were left."""
    return [str(path.relative_to(root)) for path in root.rglob(".*.tmp")]


def counted(root: Path) -> list[Path]:
    """The files that a reader would look at: temporary ones, and what is in temporary folders, are no part of it."""
    found = (path for path in root.rglob("*") if path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def assert_whole(root: Path) -> None:
    """Whatever counts below `root` is complete and can be read."""
    for path in counted(root):
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    for path in (root / "data").glob("*/main.json"):
        pool = load_pool(root, path.parent.name)
        for num, run in store.splits_on_disk(root, path.parent.name):
            load_split(store.split_path(root, path.parent.name, num, run), pool.train)
        for split in (root / "data" / f"{path.parent.name}-ldr" / "train").glob("[!.]*.json"):
            assert load_split(split, pool.train).labelled
    for folder in (root / "outputs").glob("*/*/*"):
        if folder.is_dir() and not folder.name.startswith(".") and folder.parts[-3] not in NO_RUNS:
            names = {file.name for file in folder.iterdir()}
            assert names == {"failure.log"} or names >= RUN_FILES, folder  # why a run came to nothing, or a run
    for manifest in (root / "outputs" / "targets").glob("[!.]*/manifest.json"):
        assert load_targets(manifest.parent, store.read_json(manifest)["kinds"]) is not None
    for record in (root / "outputs" / "evaluations").rglob("[!.]*.json"):
        assert len(pd.read_parquet(record.with_suffix(".parquet"))) > 0
    assert examine_similarities(root).problems == ()
    assert examine_overlaps(root).problems == ()


def results(root: Path) -> dict[str, Any]:
    """What must not depend on how often a command was stopped: data, targets, weights, and what records say."""
    found: dict[str, Any] = {}
    for path in counted(root):
        name = str(path.relative_to(root))
        if path.suffix == ".safetensors" or name.startswith("data/"):
            found[name] = path.read_bytes()
        elif name.startswith("outputs/evaluations") and path.suffix == ".json":
            found[name] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        elif path.suffix == ".parquet":
            found[name] = pd.read_parquet(path).to_dict("records")
        else:
            found[name] = "is there"
    return found
