"""Commands that are killed, looked at by readers, and started again: they end as if nobody had disturbed them."""

import json
import shutil
from dataclasses import dataclass
from random import Random

import pandas as pd
from boxes import KILLED, Box, faults
from inputs import SMALL, Materials, check, quoted, rooted, whole

from ia2 import store


@dataclass(frozen=True)
class Scene:
    """A command, what it begins with, and whether what it makes is for the current folder."""

    words: tuple[str, ...]
    begins: str = "store"


def scenes(materials: Materials, adapter: str) -> dict[str, Scene]:
    model = ("--model_id", str(materials.model))
    fit = ("fit", "rows.csv", "--lrs", "0.001", *model, *SMALL)
    train = ("train", "--training_method", "a2t", "--dataset", "rows", *model, *SMALL)
    return {
        "prepare": Scene(("prepare", "--datasets", "capitals"), "nothing"),
        "prepare --overwrite": Scene(("prepare", "--datasets", "task.toml", "--num_val_samples", "5", "--overwrite")),
        "create --overwrite": Scene(
            ("create", "--datasets", "rows", "--num_train_examples", "4", "6", "--num_runs", "2", "--overwrite")
        ),
        "train": Scene((*train, "--lr", "0.005")),
        "train --retrain": Scene((*train, "--retrain")),
        "sweep": Scene(
            ("sweep", "--training_methods", "act", "tok", "--datasets", "rows", *model, *SMALL, "--lrs", "0.01", "0.02")
        ),
        "sweep --retrain": Scene(
            (
                "sweep",
                "--training_methods",
                "act",
                "tok",
                "--datasets",
                "rows",
                *model,
                *SMALL,
                "--retrain",
                "--stack",
                "2",
            )
        ),
        "fit": Scene(fit, "nothing"),
        "fit again": Scene(fit),
        "fit --overwrite": Scene((*fit, "--overwrite")),
        "evaluate": Scene(("evaluate", "--num_eval_examples", "4")),
        "evaluate uncertainty": Scene(("evaluate", "--num_eval_examples", "4", "--uncertainty_analysis")),
        "similarity": Scene(("similarity", "--num_eval_examples", "4")),
        "subspace": Scene(("subspace",), "bare"),
        "results": Scene(("results", "--out", "found.csv")),
        "tables": Scene(("tables",)),
        "report": Scene(("report", "--out", "page.html")),
        "plot": Scene(("plot", "--plot_types", "overlap")),
        "reparse": Scene(("reparse", "--parser", "line")),
        "clean": Scene(("clean", "--targets")),
        "predict": Scene(("predict", "--adapter", adapter, "--file", "rows.csv", "--out", "out.csv")),
        "merge": Scene(("merge", "--adapter", adapter, "--out", "merged")),
        "tasks --init": Scene(("tasks", "--init", "rows.jsonl", "--out", "new.toml")),
    }


KNOWN: dict[str, tuple[dict[str, str], int, float]] = {}
"""Of each command: the contents, the writes and the seconds when nobody disturbs it."""


def kills(random: Random, box: Box, materials: Materials) -> list[str]:
    """One command, killed once or twice before a write or after some milliseconds."""
    adapter = str(box.root / "adapter")
    every = scenes(materials, adapter)
    name = sorted(every)[int(box.folder.name.split("-")[1]) % len(every)]
    scene = every[name]
    words = [*scene.words, *rooted(scene.words, box)]
    if name not in KNOWN:
        right = undisturbed(box, scene, materials, words)
        if isinstance(right, list):
            return right
        KNOWN[name] = right
    state, num_writes, seconds = KNOWN[name]
    begin(box, scene, materials)
    found = []
    for _ in range(random.choice((1, 1, 2))):
        at_write = random.random() < 0.7
        moment = random.randrange(1, num_writes + 1) if at_write else random.uniform(0, seconds)
        outcome = box.run(words, die_at=int(moment)) if at_write else box.run(words, die_after=moment)
        when = f"killed before write {moment}" if at_write else f"killed after {moment:.3f} s"
        found += [] if outcome.code in (KILLED, 0) else faults(outcome)
        found += readers(box)
        found = [f"{fault} | {name}, {when}" for fault in found]
    again, more = check(box, words, (box.here,))
    now = contents(box)
    if again.code and (now != state or "exists" not in again.stderr):  # it was done, and killed after that
        more.append(f"the next start ends with {again.code}: {again.stderr.strip().splitlines()[-1:]}")
    elif now != state:
        differ = sorted(path for path in now.keys() | state.keys() if now.get(path) != state.get(path))
        more.append(f"not as undisturbed: {[_difference(path, now, state) for path in differ[:4]]}")
    found += [f"{fault} | {name}, {when}, again" for fault in more]
    return [f"{fault} | {quoted(words)}" for fault in found]


def _difference(path: str, now: dict[str, str], state: dict[str, str]) -> str:
    return f"{'missing' if path not in now else 'left over' if path not in state else 'other'}: {path}"


def begin(box: Box, scene: Scene, materials: Materials) -> None:
    for folder in (box.root, box.here):
        shutil.rmtree(folder)
        folder.mkdir()
    for file in materials.files.iterdir():
        shutil.copy(file, box.here)
    if scene.begins != "nothing":
        shutil.copytree(materials.store, box.root, dirs_exist_ok=True)
    if scene.begins == "bare":
        shutil.rmtree(box.root / "outputs" / "subspace")


def undisturbed(
    box: Box, scene: Scene, materials: Materials, words: list[str]
) -> tuple[dict[str, str], int, float] | list[str]:
    """The contents, the writes and the seconds of the command when nobody disturbs it, or what was wrong already."""
    begin(box, scene, materials)
    outcome, found = check(box, words, (box.here,))
    if found or outcome.code:
        return found or [f"undisturbed, it ends with {outcome.code}: {outcome.stderr[-300:]} | {quoted(words)}"]
    return contents(box), max(1, outcome.writes), outcome.seconds


def readers(box: Box) -> list[str]:
    """What commands that only read say of what was left."""
    found = whole(box)
    for words in (["status"], ["results"]):
        outcome, more = check(box, [*words, "--root", str(box.root)])
        found += more
        if outcome.code not in (0, 2) or "is not counted" in outcome.stderr:
            found.append(f"`ia2 {words[0]}` after a kill: {outcome.stderr.strip().splitlines()[-1:]}")
    return found


def contents(box: Box) -> dict[str, str]:
    """What must not depend on how often a command was stopped: data, weights, answers, and what records say."""
    found = {}
    for path in sorted(path for folder in (box.root, box.here) for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(box.folder))
        if path.suffix == ".lock" or {"reports", "sweeps"} & set(path.parts):  # they hold times and paths
            continue
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            found[name] = frame.drop(columns=["seconds"], errors="ignore").to_json()
        elif "evaluations" in path.parts and path.suffix == ".json":
            found[name] = str(json.loads(path.read_text(encoding="utf-8"))["metrics"])
        elif path.suffix in (".safetensors", ".csv", ".toml") or "data" in path.parts:
            found[name] = store.file_digest(path)
        else:
            found[name] = "is there"
    return found
