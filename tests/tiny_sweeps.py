"""Small sweeps on the tiny model, as configs and as commands, and what they leave."""

import json
import shlex
from pathlib import Path
from typing import Any

from tiny_runs import write_dataset

from ia2 import store
from ia2.commands.sweep.grid import expand
from ia2.commands.sweep.schedule import Job
from ia2.commands.sweep.schedule import jobs_of as planned
from ia2.commands.train import resolve
from ia2.config import SweepConfig

ENDLESS: dict[str, Any] = {
    "training_methods": ("tok",),
    "label_types": ("ground_truth",),
    "include_sequential": False,
    "num_train_epochs": 100_000,
    "patience": 100_000,
}
"""Changes that make two runs without targets, which would take hours."""


def grid(root: Path, model: Path, **changes: Any) -> SweepConfig:
    """act, tok and the sequential methods of two runs, a few steps each: 8 runs, two sets of targets."""
    fields: dict[str, Any] = {
        "root": root,
        "model_id": str(model),
        "training_methods": ("act", "tok"),
        "datasets": ("made_up",),
        "num_train_examples": (4,),
        "num_generated_tokens": (2,),
        "lrs": (1e-2,),
        "run_indices": (0, 1),
        "num_train_epochs": 1,
        "include_sequential": True,
        **changes,
    }
    if not store.pool_path(root, "made_up").exists():
        write_dataset(root, "made_up", [f"q{i}" for i in range(30)])
    return SweepConfig(**fields)


def words(config: SweepConfig, *more: object) -> list[str]:
    """A sweep as a command."""
    return [*shlex.split(config.command("sweep"))[1:], "--root", str(config.root), *map(str, more)]


def jobs_of(config: SweepConfig) -> list[Job]:
    """What is left of it."""
    assert config.root is not None
    jobs, _ = planned(config.root, [resolve(one) for one in expand(config)])
    return jobs


def weights(root: Path) -> dict[str, bytes]:
    """The weights of every finished run, by its place below outputs."""
    outputs = root / "outputs"
    return {
        str(folder.relative_to(outputs)): (folder / "adapter_model.safetensors").read_bytes()
        for folder in store.run_folders(root)
    }


def summaries(root: Path) -> list[dict[str, Any]]:
    """What the sweeps below a root wrote at their ends, in order of their starts."""
    files = sorted((root / "outputs" / "sweeps").glob("*.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return sorted(found, key=lambda one: one["started"])


def ends(summary: dict[str, Any], *statuses: str) -> set[str]:
    """The jobs of a summary that came to one of these."""
    return {job["key"] for job in summary["jobs"] if job["status"] in statuses}
