"""Golden outputs: weights and numbers of every method on a tiny random model, and what differs between two editions.

    PYTHONPATH=.../src python benchmarks/golden.py write DIR [--model smollm2-135m]
    python benchmarks/golden.py compare OLD NEW [--rounding 1e-4] [--expected 'PATTERN' ...]

`write` types the commands of whichever ia2 is imported (with `--model` those of the demo) and keeps what they leave as
tensors.safetensors and values.csv, under names that hold in any edition. `compare` ends with 1 where a value changed or
is missing, and lists those that are new. All must be equal, which holds on one machine with one thread, or differ by no
more than `--rounding`: of a tensor's largest entry, or of the number.
"""

import argparse
import fnmatch
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors.numpy import load_file, save_file

VARIANTS = ("tok", "tokl", "act", "tna", "a2t", "t2a")
METHODS = [adapter + variant for adapter in ("", "ia3-", "prompt-", "prefix-") for variant in VARIANTS]
UNSTABLE = ("seconds", "bytes", "sha256")
"""Words in the names of values that no second run repeats."""
OF_RESULTS = ("value", "low", "high", "num_examples", "labels_train", "labels_dev")
Tensors = dict[str, npt.NDArray[Any]]

# Writing


def write(folder: Path, model: str | None) -> None:
    """Run the commands in a folder of their own and keep their numbers in `folder`."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        for command in demo_commands(model) if model else tiny_commands(root):
            run(root, command)
        tensors, values = dict(tensors_of(root)), dict(values_of(root))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "tensors.safetensors")
    pd.DataFrame({"name": values.keys(), "value": values.values()}).to_csv(folder / "values.csv", index=False)
    print(f"{len(tensors)} tensors and {len(values)} values in {folder}")


def run(root: Path, command: str) -> None:
    from ia2.cli import main  # noqa: PLC0415 - comparing needs none

    if code := main([*command.split(), "--root", str(root)]):
        raise SystemExit(f"ia2 {command}: exit code {code}")


def demo_commands(model: str) -> Iterator[str]:
    yield from (f"demo --model_id {model}", "results")


def tiny_commands(root: Path) -> Iterator[str]:
    """Every method, low data, evaluations with uncertainty, both analyses, and the table of results."""
    from tiny import save_tiny_model  # noqa: PLC0415

    model = f"--model_id {save_tiny_model(root / 'tiny', seed=1)}"
    write_towns(root / "data" / "towns" / "main.json")
    train = f"train {model} --dataset towns --num_generated_tokens 3 --num_train_epochs 3 --lr 1e-3"
    virtual = dict.fromkeys(("prompt", "prefix"), "--num_virtual_tokens 4")
    for method in METHODS:
        yield f"{train} --training_method {method} --num_train_examples 6 {virtual.get(method.split('-')[0], '')}"
    for method in ("tok", "act"):
        yield f"{train} --training_method {method} --num_train_examples 6 --run_idx 1"
        low_data = "--ldr_mode --num_labelled_samples 3 --num_unlabelled_samples 4 --max_permutations 2"
        yield f"{train} --training_method {method} {low_data}"
    asked = f"{model} --num_examples 6 --icl_max_demos 4 --num_eval_examples 8 --num_generated_tokens_eval 3"
    yield f"evaluate {asked} --uncertainty_analysis --eval_with_icl"
    yield f"similarity {asked} --model_types tok act a2t"
    yield f"subspace {model} --num_examples 6"
    yield "results"


def write_towns(path: Path) -> None:
    """A dataset of two labels, in the published shape."""
    labels = {0: "good", 1: "bad"}
    texts = [f"Text:a {'dull' if i % 2 else 'good'} film {i}\nLabel:" for i in range(60)]
    rows = [{"idx": i, "question": text, "answer": f" {labels[i % 2]}"} for i, text in enumerate(texts)]
    task = {"name": "towns", "template": "Text:{x}\nLabel:", "answer_template": " {y}", "parser": "choice"}
    task |= {"labels": {label: label for label in labels.values()}, "num_generated_tokens": 3}
    path.parent.mkdir(parents=True)
    pool = {"metadata": {"task": task}, "train_examples": rows[:40], "val_examples": rows[40:]}
    path.write_text(json.dumps(pool), encoding="utf-8")


# Reading a store


def runs_of(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((root / "outputs").glob("*/*/*/adapter_model.safetensors")):
        yield str(path.parent.relative_to(root / "outputs")), path.parent


def tensors_of(root: Path) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Adapters by run. Folders of targets have digests for names, so they are numbered by what they hold."""
    for name, folder in runs_of(root):
        yield from ((f"{name}/{key}", one) for key, one in load_file(folder / "adapter_model.safetensors").items())
    found = []
    for folder in (root / "outputs" / "targets").glob("[!.]*"):
        files = [(path.stem, load_file(path)) for path in sorted(folder.glob("*.safetensors"))]
        found.append([(f"{stem}/{key}", one) for stem, tensors in files for key, one in sorted(tensors.items())])
    found.sort(key=lambda tensors: [(key, one.tobytes()) for key, one in tensors])
    for number, tensors in enumerate(found):
        yield from ((f"targets/{number}/{key}", one) for key, one in tensors)


def values_of(root: Path) -> Iterator[tuple[str, str]]:
    """Numbers and texts of runs, records, analyses and the table of results."""
    for name, folder in runs_of(root):
        yield from flat(f"{name}/statistics", json.loads((folder / "final_loss_statistics.json").read_text("utf-8")))
        history = (folder / "history.jsonl").read_text("utf-8").splitlines()
        yield from flat(f"{name}/history", [json.loads(line) for line in history])
    for kind in ("evaluations", "similarity", "subspace"):
        for path in sorted((root / "outputs" / kind).rglob("[!.]*.parquet")):
            name = str(path.relative_to(root / "outputs").with_suffix(""))
            yield from flat(f"{name}/rows", pd.read_parquet(path).to_dict("records"))
            if kind == "evaluations":
                yield from flat(f"{name}/metrics", json.loads(path.with_suffix(".json").read_text("utf-8"))["metrics"])
    table = pd.read_csv(root / "reports" / "results.csv", dtype=str, keep_default_na=False)
    for row in table.to_dict("records"):
        yield from flat(f"results/{row['record']}/{row['metric']}", {key: row[key] for key in OF_RESULTS if key in row})


def flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Each number and text within `value`, by its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not any(word in str(key) for word in UNSTABLE):
                yield from flat(f"{name}/{key}", inner)
    elif isinstance(value, list | tuple | np.ndarray):
        for number, inner in enumerate(value):
            yield from flat(f"{name}/{number}", inner)
    else:
        yield name, repr(float(value)) if isinstance(value, int | float | np.number) else str(value)


# Comparing


def compare(old: Path, new: Path, rounding: float, expected: list[str]) -> int:
    """Print every difference and return 1 where one is neither new nor matches a pattern of `expected`."""
    found, unexpected = 0, 0
    for kind, read in (("tensor", read_tensors), ("value", read_values)):
        one, other = read(old), read(new)
        for name in sorted(one.keys() | other.keys()):
            what = difference(one.get(name), other.get(name), rounding)
            fine = name not in one or any(fnmatch.fnmatchcase(name, pattern) for pattern in expected)
            if what:
                print(f"{'expected' if fine else 'CHANGED'} {kind} {name}: {what}")
                found, unexpected = found + 1, unexpected + (not fine)
    print(f"{found} differences, {unexpected} of them unexpected")
    return int(unexpected > 0)


def read_tensors(folder: Path) -> Tensors:
    return dict(load_file(folder / "tensors.safetensors"))


def read_values(folder: Path) -> dict[str, str]:
    table = pd.read_csv(folder / "values.csv", dtype=str, keep_default_na=False)
    return dict(zip(table["name"], table["value"], strict=True))


def difference(one: Any, other: Any, rounding: float) -> str:  # noqa: ANN401 - a tensor, a text or nothing
    """In words; empty where there is none, or where rounding accounts for it."""
    if one is None or other is None:
        return "is missing" if other is None else "is new"
    if isinstance(one, str):
        if one == other or is_near(one, other, rounding):
            return ""
        return f"{one!r} is now {other!r}"
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return f"{one.dtype} {one.shape} is now {other.dtype} {other.shape}"
    if one.tobytes() == other.tobytes():
        return ""
    error = float(np.abs(one.astype(float) - other.astype(float)).max() / np.abs(one).max())
    return "" if error <= rounding else f"differs by {error:.2g} of its largest entry"


def is_near(one: str, other: str, rounding: float) -> bool:
    try:
        return abs(float(one) - float(other)) <= rounding * max(abs(float(one)), abs(float(other)))
    except ValueError:
        return False


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing, comparing = commands.add_parser("write"), commands.add_parser("compare")
    writing.add_argument("folder", type=Path)
    writing.add_argument("--model")
    comparing.add_argument("folders", type=Path, nargs=2)
    comparing.add_argument("--rounding", type=float, default=0.0)
    comparing.add_argument("--expected", nargs="*", default=[])
    given = parser.parse_args(arguments)
    if given.command == "compare":
        return compare(*given.folders, given.rounding, given.expected)
    write(given.folder, given.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
