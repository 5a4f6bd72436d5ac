"""Progress of a run that a process is at, read from the history that it writes, and the log of one that failed."""

import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ia2 import store
from ia2.config import TrainConfig

FAILURE = "failure.log"
"""In the folder of a run that failed: what was logged, and the traceback."""
TAIL = 16_384
"""Bytes at the end of a history that are read: its last steps, and a dev loss among them."""


@dataclass(frozen=True)
class Progress:
    """The last step that was written, its losses where there were any, and the seconds since."""

    phase: str
    step: int
    train_loss: float | None
    dev_loss: float | None
    age: float


def progress_in(folder: Path) -> Progress | None:
    """Progress by the history in a temporary folder; None where there is none yet, or no more."""
    history = folder / "history.jsonl"
    try:
        with history.open("rb") as stream:
            stream.seek(max(0, history.stat().st_size - TAIL))
            lines = stream.read().rpartition(b"\n")[0].splitlines()
        age = time.time() - history.stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):  # not begun, finished meanwhile, or no run's folder
        return None
    entries = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
    if not entries:
        return None
    last = entries[-1]
    dev_losses = [entry["dev_loss"] for entry in entries if "dev_loss" in entry and entry["phase"] == last["phase"]]
    return Progress(
        last["phase"], int(last["step"]), last.get("train_loss"), dev_losses[-1] if dev_losses else None, age
    )


def progress_of(run: Path) -> Progress | None:
    """Progress of the run that is being made at `run`; None where nothing is known yet."""
    found = [one for folder in store.temporaries(run) if (one := progress_in(folder)) is not None]
    return min(found, key=lambda one: one.age) if found else None


@cache
def most_steps(root: Path, config: TrainConfig, phase: str) -> int:
    """Steps of a phase of a run (T resolved) if its patience lasts: epochs times batches."""
    split = store.read_object(store.split_file(root, config))
    gold = next(one for one in config.method.phases if one.name == phase).uses_ground_truth(config.label_type)
    rows = split["labelled"] if gold and config.ldr_mode else split["train"]["examples"]
    return config.num_train_epochs * -(-len(rows) // config.batch_size)


def leave_failure(folder: Path, text: str) -> None:
    """Write failure.log; training the run replaces it."""
    with store.atomic_write(folder / FAILURE) as temporary:
        temporary.write_text(text, encoding="utf-8")


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 5 min."""
    (minutes, rest), hours = divmod(round(seconds), 60), round(seconds) // 3600
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
