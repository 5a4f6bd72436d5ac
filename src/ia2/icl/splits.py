"""Which examples train, which develop, and which the teacher sees before each.

For run r a permutation seeded with r orders the pool: the first N train, the next min(num_dev_examples, N // 2)
develop, the rest remain. So for one run the training examples of a smaller N are the first of those of a larger one,
and a comparison along N is paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from ia2 import store
from ia2.errors import UserError
from ia2.icl.prompts import Episode, seeded
from ia2.tasks.base import Example
from ia2.tasks.pool import example_from_json, example_to_json

DEFAULT_MAX_ICL_DEMOS = 256
DEFAULT_NUM_DEV_EXAMPLES = 50


@dataclass(frozen=True)
class Draw:
    """What a split is drawn with."""

    num_train_examples: int
    run_idx: int
    max_icl_demos: int = DEFAULT_MAX_ICL_DEMOS
    num_dev_examples: int = DEFAULT_NUM_DEV_EXAMPLES


@dataclass(frozen=True)
class Split:
    """Teacher episodes of the training and dev examples, and the positions in the pool that neither took."""

    train: tuple[Episode, ...]
    dev: tuple[Episode, ...]
    remaining: tuple[int, ...]
    labelled: tuple[Example, ...] = ()
    """The N labelled examples of the low-data regime, whose training rows are unlabelled queries."""

    @property
    def train_examples(self) -> tuple[Example, ...]:
        return tuple(episode.query for episode in self.train)


def draw_split(pool: Sequence[Example], draw: Draw) -> Split:
    """The split of one run; UserError where the pool is too small.

    A training example's demonstrations are up to `max_icl_demos` of the other N - 1, a dev example's up to so many of
    the N, in an order of its own seeded by run, N and example.
    """
    num_dev = min(draw.num_dev_examples, draw.num_train_examples // 2)
    if draw.num_train_examples + num_dev > len(pool):
        raise UserError(
            f"num_train_examples={draw.num_train_examples}: with {num_dev} dev examples that is more than the pool "
            f"of {len(pool)}; choose a smaller N or prepare more with --num_train_samples"
        )
    order = list(range(len(pool)))
    Random(draw.run_idx).shuffle(order)
    train = [pool[i] for i in order[: draw.num_train_examples]]
    dev = [pool[i] for i in order[draw.num_train_examples : draw.num_train_examples + num_dev]]
    return Split(
        train=tuple(_episode(query, train, draw) for query in train),
        dev=tuple(_episode(query, train, draw) for query in dev),
        remaining=tuple(order[draw.num_train_examples + num_dev :]),
    )


def _episode(query: Example, train: Sequence[Example], draw: Draw) -> Episode:
    """`query` after a draw from `train` that never holds the query, nor a row of the pool with the same question."""
    others = [example for example in train if example.question != query.question]
    generator = seeded("demonstrations", draw.run_idx, draw.num_train_examples, query.idx)
    return Episode(tuple(generator.sample(others, min(draw.max_icl_demos, len(others)))), query)


# The published JSON shape


def load_split(path: Path, pool: Sequence[Example]) -> Split:
    """Read a split's file; UserError names it and what is wrong in it."""
    return split_from_json(store.read_json(path), pool, str(path))


def split_to_json(split: Split, draw: Draw) -> dict[str, Any]:
    """{train, dev: {examples, icl_demos}, remaining_indices, demo_type}, and the settings it was drawn with."""
    return {
        "train": part_to_json(split.train),
        "dev": part_to_json(split.dev),
        "remaining_indices": list(split.remaining),
        "demo_type": "unique",
        "settings": {"max_icl_demos": draw.max_icl_demos, "num_dev_examples": draw.num_dev_examples},
    }


def part_to_json(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Examples and their demonstrations, each a text of question and answer."""
    return {
        "examples": [example_to_json(episode.query) for episode in episodes],
        "icl_demos": [[demo.question + demo.answer for demo in episode.demonstrations] for episode in episodes],
    }


def split_from_json(data: Mapping[str, Any], pool: Sequence[Example], name: str) -> Split:
    """The split in a file of the published shape; UserError names the file and what is wrong in it.

    The shape joins each demonstration's question and answer. The two are told apart by looking them up among the
    pool's and the file's own examples, since they have to be tokenised separately.
    """
    try:
        parts = {key: [example_from_json(row) for row in data[key]["examples"]] for key in ("train", "dev")}
        labelled = tuple(map(example_from_json, data.get("labelled", [])))
        own = (*pool, *labelled, *parts["train"], *parts["dev"])
        known = {example.question + example.answer: example for example in own}
        episodes = {
            key: tuple(
                Episode(tuple(known[text] for text in demos), query)
                for query, demos in zip(parts[key], _demonstrations(data[key]), strict=True)
            )
            for key in parts
        }
        remaining = tuple(int(index) for index in data["remaining_indices"])
    except KeyError as error:
        raise UserError(
            f"{name}: no {error}; a split holds train and dev, each with examples (idx, question, answer) and "
            "icl_demos drawn from them or the pool, and remaining_indices"
        ) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{name}: not in the shape of a split ({error}); create it again") from None
    if not parts["train"]:
        raise UserError(f"{name}: no training examples")
    beyond = [index for index in remaining if not 0 <= index < len(pool)]
    if beyond:
        raise UserError(
            f"{name}: remaining_indices hold {beyond[0]}, but the pool has {len(pool)} examples; the dataset was "
            "prepared again since: create the split again"
        )
    return Split(episodes["train"], episodes["dev"], remaining, labelled)


def _demonstrations(part: Mapping[str, Any]) -> list[list[str]]:
    """One list of demonstrations for each example; one flat list is fixed demonstrations, the same for all."""
    demos = part["icl_demos"]
    fixed = bool(demos) and isinstance(demos[0], str)
    return [demos for _ in part["examples"]] if fixed else demos
