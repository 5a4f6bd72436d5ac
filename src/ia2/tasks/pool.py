"""main.json: the examples of a dataset, rendered, in the published shape.

{metadata, train_examples, val_examples}, an example being {idx, question, answer}. The task travels in the metadata;
a file made by hand may leave it out where its dataset has a name that we know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from ia2 import store
from ia2.config import LARGEST
from ia2.errors import UserError
from ia2.sources import text_of
from ia2.tasks import task
from ia2.tasks.task_spec import Example, TaskSpec


@dataclass(frozen=True)
class ExamplePool:
    """A prepared dataset: training runs draw from `train`, evaluations ask `validation`."""

    spec: TaskSpec
    train: tuple[Example, ...]
    validation: tuple[Example, ...]


def pool_to_json(pool: ExamplePool, provenance: Mapping[str, Any]) -> dict[str, Any]:
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


def load_pool(root: Path, dataset: str) -> ExamplePool:
    """Read data/{dataset}/main.json; UserError names the file and what is wrong in it."""
    path = store.pool_path(root, dataset)
    data = store.read_object(path)
    try:
        embedded = data["metadata"].get("task")
        return ExamplePool(
            spec=TaskSpec.model_validate(embedded) if embedded else task(dataset).spec,
            train=tuple(map(example_from_json, data["train_examples"])),
            validation=tuple(map(example_from_json, data["val_examples"])),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: not in the shape of a prepared dataset ({type(error).__name__}: {reason}); it holds metadata, "
            "train_examples and val_examples, each example with idx, question and answer"
        ) from None


def read_provenance(root: Path, dataset: str) -> dict[str, str | None]:
    """Source and licence of a prepared dataset's training rows, None where its main.json does not say."""
    told = store.read_part(store.pool_path(root, dataset), "metadata", "provenance")
    return {"source": told.get("train_source", told.get("source")), "licence": told.get("licence")}


def example_to_json(example: Example) -> dict[str, Any]:
    """An example in the published shape."""
    return {"idx": example.idx, "question": example.question, "answer": example.answer}


def example_from_json(row: Mapping[str, Any]) -> Example:
    """An example of the published shape; answers are text even where a file has a number.

    KeyError without an idx; ValueError where it is no whole number of 64 bits, and where question or answer is missing,
    or neither text nor a number: null would be taught as `None`.
    """
    idx = row["idx"] if isinstance(row["idx"], float) else int(row["idx"])
    if not abs(idx) <= LARGEST:
        raise ValueError(f"idx = {str(idx)[:40]} is no whole number of 64 bits")
    question, answer = text_of(row, "question"), text_of(row, "answer")
    f"{question}{answer}".encode()  # half a character, which JSON can hold, is none
    return Example(int(idx), question, answer)
