"""main.json: the examples of a dataset, rendered, in the published shape.

{metadata, train_examples, val_examples}, an example being {idx, question, answer}. The task travels in the metadata;
a file made by hand may leave it out where its dataset has a name that we know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

from ia2 import store
from ia2.errors import UserError
from ia2.sources import text_of
from ia2.tasks import task
from ia2.tasks.base import Example, TaskSpec


@dataclass(frozen=True)
class Pool:
    """A prepared dataset: training runs draw from `train`, evaluations ask `validation`."""

    spec: TaskSpec
    train: tuple[Example, ...]
    validation: tuple[Example, ...]


def pool_to_json(pool: Pool, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The published shape, with the task, where the rows came from, and how long they are in characters."""
    examples = (*pool.train, *pool.validation)
    return {
        "metadata": {
            "max_choices": len(pool.spec.labels) or "free",
            "remap_dict": pool.spec.remap or None,
            "num_train": len(pool.train),
            "num_val": len(pool.validation),
            "question_characters": lengths([len(example.question) for example in examples]),
            "answer_characters": lengths([len(example.answer) for example in examples]),
            "task": pool.spec.model_dump(),
            "provenance": dict(provenance),
        },
        "train_examples": [example_to_json(example) for example in pool.train],
        "val_examples": [example_to_json(example) for example in pool.validation],
    }


def lengths(counts: Sequence[int]) -> dict[str, float]:
    """Least, median, mean and most of a list of lengths."""
    counts = counts or [0]
    return {"min": min(counts), "median": median(counts), "mean": round(mean(counts), 2), "max": max(counts)}


def write_prepared(path: Path, content: Mapping[str, Any]) -> None:
    """Write main.json, and beside it provenance.json with its digest: the published shape has no place for one."""
    versions = {name: version(name) for name in ("ia2", "datasets")}
    with store.writing(path) as temporary:
        temporary.write_text(store.json_text(content), encoding="utf-8")
        digest = store.file_digest(temporary)
        store.write_object(path.with_name("provenance.json"), {**versions, "main_sha256": digest})


def read_prepared(path: Path) -> dict[str, Any]:
    """main.json; UserError where it is not the one that provenance.json is of.

    One that a person or the first edition wrote has no digest beside it, and is read as it is.
    """
    beside = path.with_name("provenance.json")
    written = store.read_object(beside).get("main_sha256") if beside.exists() else None
    if written and path.exists() and written != store.file_digest(path):
        raise UserError(
            f"{path} is damaged or was edited: its sha256 is not the one in {beside.name}; `ia2 prepare --overwrite` "
            f"makes it again, and without {beside.name} it is read as it is"
        )
    return store.read_object(path)


def load_pool(root: Path, dataset: str) -> Pool:
    """Read data/{dataset}/main.json; UserError names the file and what is wrong in it."""
    path = store.pool_path(root, dataset)
    data = read_prepared(path)
    try:
        embedded = data["metadata"].get("task")
        return Pool(
            spec=TaskSpec.model_validate(embedded) if embedded else task(dataset).spec,
            train=tuple(map(example_from_json, data["train_examples"])),
            validation=tuple(map(example_from_json, data["val_examples"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: not in the shape of a prepared dataset ({type(error).__name__}: {reason}); it holds metadata, "
            "train_examples and val_examples, each example with idx, question and answer"
        ) from None


def read_provenance(root: Path, dataset: str) -> dict[str, str | None]:
    """Source and licence of a prepared dataset's training rows, None where its main.json does not say."""
    told = read_prepared(store.pool_path(root, dataset))["metadata"].get("provenance", {})
    return {"source": told.get("train_source", told.get("source")), "licence": told.get("licence")}


def example_to_json(example: Example) -> dict[str, Any]:
    """An example in the published shape."""
    return {"idx": example.idx, "question": example.question, "answer": example.answer}


def example_from_json(row: Mapping[str, Any]) -> Example:
    """An example of the published shape; answers are text even where a file has a number.

    KeyError without an idx; ValueError where question or answer is missing, or neither text nor a number: null would be
    taught as `None`.
    """
    return Example(int(row["idx"]), text_of(row, "question"), text_of(row, "answer"))
