"""Splits of a run: training examples, dev examples, and the teacher's demonstrations before each.

For run r a permutation seeded with r orders the pool: the first N train, the next min(num_dev_examples, N // 2)
develop, the rest remain. So for one run the training examples of a smaller N are the first of those of a larger one,
and a comparison along N is paired.

In the low-data regime N labelled examples, the only labels, teach M unlabelled queries: they are the demonstrations of
every query, in up to K distinct orders, and the teacher's answers are what the student learns. Rows come order by
order, so that the demonstrations of one order are read once for all of its queries.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, permutations
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from ia2 import store
from ia2.config import DemoType
from ia2.errors import UserError
from ia2.prompts.prompt import Prompt, prompt_after, seeded
from ia2.tasks.pool import example_from_json, example_to_json
from ia2.tasks.task_spec import Example

DEFAULT_MAX_ICL_DEMOS = 256
DEFAULT_NUM_DEV_EXAMPLES = 50


@dataclass(frozen=True)
class SplitSpec:
    """Settings a split is drawn with; None is the default in a new split, and whatever it was in an existing one.

    demo_type: unique, each example has demonstrations in an order of its own; fixed, one list for all; shuffled, each
    example comes `num_shuffles` times, its demonstrations in as many orders. stratified: every beginning of the order
    holds the answers in proportion, which a small labelled pool needs.
    """

    num_train_examples: int
    run_idx: int
    max_icl_demos: int | None = None
    num_dev_examples: int | None = None
    demo_type: DemoType = "unique"
    num_shuffles: int = 1
    stratified: bool | None = None

    @property
    def settings(self) -> dict[str, int | bool]:
        """Settings that a new split's file holds, since no part of its name does.

        No number is greater than the examples to take, so that equal splits have equal settings: of N examples a dev
        example has N demonstrations at most, and N // 2 develop.
        """
        most = DEFAULT_MAX_ICL_DEMOS if self.max_icl_demos is None else self.max_icl_demos
        num_dev = DEFAULT_NUM_DEV_EXAMPLES if self.num_dev_examples is None else self.num_dev_examples
        return {
            "max_icl_demos": min(most, self.num_train_examples),
            "num_dev_examples": min(num_dev, self.num_train_examples // 2),
            "stratified": bool(self.stratified),
        }


@dataclass(frozen=True)
class LowDataSplitSpec:
    """Settings of a low-data split; `sizes` are N labelled, at most M unlabelled, and at most K orders."""

    sizes: tuple[int, int, int]
    run_idx: int
    num_dev_examples: int | None = None
    demo_type: ClassVar[str] = "ldr"

    @property
    def settings(self) -> dict[str, int]:
        """As `SplitSpec.settings`: M // 2 queries develop at most."""
        num_dev = DEFAULT_NUM_DEV_EXAMPLES if self.num_dev_examples is None else self.num_dev_examples
        return {"num_dev_examples": min(num_dev, self.sizes[1] // 2)}


@dataclass(frozen=True)
class Split:
    """Teacher prompts of the training and dev examples, and the positions in the pool that neither took."""

    train: tuple[Prompt, ...]
    dev: tuple[Prompt, ...]
    remaining: tuple[int, ...]
    labelled: tuple[Example, ...] = ()
    """The N labelled examples of the low-data regime, whose training rows are unlabelled queries."""
    fixed: tuple[Example, ...] = ()
    """The one list of demonstrations, where it is fixed; a prompt whose query is in it leaves that out."""

    @property
    def train_examples(self) -> tuple[Example, ...]:
        """Each training example once, however often it is asked."""
        return tuple(dict.fromkeys(prompt.query for prompt in self.train))


def draw_split(pool: Sequence[Example], draw: SplitSpec) -> Split:
    """The split of one run; UserError where the pool is too small.

    A training example's demonstrations are up to `max_icl_demos` of the other N - 1, a dev example's as many of the N,
    in an order of its own seeded by run, N and example (or as `draw.demo_type` says).
    """
    num_train, num_dev = draw.num_train_examples, draw.settings["num_dev_examples"]
    if num_train + num_dev > len(pool):
        raise UserError(
            f"num_train_examples={num_train}: with {num_dev} dev examples that is more than the pool of {len(pool)}; "
            "choose a smaller N or prepare more with --num_train_samples"
        )
    order = list(range(len(pool)))
    Random(draw.run_idx).shuffle(order)
    if draw.stratified:
        order = _in_proportion(order, pool)
    train, dev = ([pool[i] for i in part] for part in (order[:num_train], order[num_train : num_train + num_dev]))
    remaining = tuple(order[num_train + num_dev :])
    if draw.demo_type == "fixed":
        generator = seeded("fixed demonstrations", draw.run_idx, num_train)
        fixed = tuple(generator.sample(train, min(draw.settings["max_icl_demos"], num_train)))
        prompts, dev_prompts = (tuple(prompt_after(fixed, query) for query in part) for part in (train, dev))
        return Split(prompts, dev_prompts, remaining, fixed=fixed)
    prompts, dev_prompts = (tuple(_prompt(query, train, draw) for query in part) for part in (train, dev))
    if draw.demo_type == "shuffled":
        generators = [seeded("shuffles", draw.run_idx, num_train, query.idx) for query in train]
        prompts = tuple(
            Prompt(demonstrations, prompt.query)
            for prompt, generator in zip(prompts, generators, strict=True)
            for demonstrations in distinct_orders(prompt.demonstrations, draw.num_shuffles, generator)
        )
    return Split(prompts, dev_prompts, remaining)


def _in_proportion(order: Sequence[int], pool: Sequence[Example]) -> list[int]:
    """The order with equal answers spread evenly: the i-th of n such examples belongs at (2 i + 1) / (2 n) of it."""
    totals, seen = Counter(example.answer for example in pool), Counter[str]()
    place: dict[int, Fraction] = {}
    for index in order:
        answer = pool[index].answer
        place[index] = Fraction(2 * seen[answer] + 1, 2 * totals[answer])
        seen[answer] += 1
    return sorted(order, key=place.__getitem__)


def _prompt(query: Example, train: Sequence[Example], draw: SplitSpec) -> Prompt:
    """`query` after a draw from `train` that never holds the query, nor a row of the pool with the same question."""
    others = [example for example in train if example.question != query.question]
    generator = seeded("demonstrations", draw.run_idx, draw.num_train_examples, query.idx)
    return Prompt(tuple(generator.sample(others, min(draw.settings["max_icl_demos"], len(others)))), query)


def distinct_orders(examples: Sequence[Example], most: int, generator: Random) -> list[tuple[Example, ...]]:
    """At most `most` different orders of the examples, drawn at random; all of them where there are no more."""
    if math.factorial(len(examples)) <= most:
        return list(islice(permutations(examples), most))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < most:
        found[tuple(generator.sample(range(len(examples)), len(examples)))] = None
    return [tuple(examples[i] for i in order) for order in found]


def draw_low_data_split(pool: Sequence[Example], draw: LowDataSplitSpec) -> Split:
    """The split of the N labelled examples and training rows, M x min(K, N!) at most.

    UserError where the pool has no unlabelled example left. Where it has fewer than M, all of them are taken. Dev
    queries, which need no labels either, come after the N and before the M.
    """
    num_labelled, num_unlabelled, num_orders = draw.sizes
    order = list(range(len(pool)))
    Random(draw.run_idx).shuffle(order)
    labelled = tuple(pool[i] for i in order[:num_labelled])
    num_dev = draw.settings["num_dev_examples"]
    dev_end = num_labelled + num_dev
    unlabelled = order[dev_end : dev_end + num_unlabelled]
    if not unlabelled:
        raise UserError(
            f"num_labelled_samples={num_labelled} and {num_dev} dev queries leave nothing of the pool of "
            f"{len(pool)} to be unlabelled; choose fewer or prepare more with --num_train_samples"
        )
    orders = distinct_orders(labelled, num_orders, seeded("orders", draw.run_idx, len(labelled)))
    return Split(
        train=tuple(prompt_after(demonstrations, pool[i]) for demonstrations in orders for i in unlabelled),
        dev=tuple(prompt_after(orders[0], pool[i]) for i in order[num_labelled:dev_end]),
        remaining=tuple(order[dev_end + num_unlabelled :]),
        labelled=labelled,
    )


# The published JSON shape


def load_split(path: Path, pool: Sequence[Example]) -> Split:
    """Read a split's file; UserError names it and what is wrong in it."""
    return split_from_json(store.read_object(path), pool, str(path))


def split_to_json(split: Split, draw: SplitSpec | LowDataSplitSpec) -> dict[str, Any]:
    """{train, dev: {examples, icl_demos}, remaining_indices, demo_type}, the labelled, and the settings of the draw.

    A demonstration is one text of question and answer.
    """

    def texts(demonstrations: Sequence[Example]) -> list[str]:
        return [demo.question + demo.answer for demo in demonstrations]

    parts = {
        key: {
            "examples": [example_to_json(prompt.query) for prompt in prompts],
            "icl_demos": texts(split.fixed) or [texts(prompt.demonstrations) for prompt in prompts],
        }
        for key, prompts in (("train", split.train), ("dev", split.dev))
    }
    labelled = {"labelled": list(map(example_to_json, split.labelled))} if split.labelled else {}
    rest = {"remaining_indices": list(split.remaining), "demo_type": draw.demo_type}
    return {**parts, **rest, **labelled, "settings": draw.settings}


def split_from_json(data: Mapping[str, Any], pool: Sequence[Example], name: str) -> Split:
    """The split in a file of the published shape; UserError names the file and what is wrong in it.

    The shape joins each demonstration's question and answer. They are separated by looking them up among the pool's
    and the file's own examples, since they have to be tokenised separately.
    """
    try:
        parts = {key: [example_from_json(row) for row in data[key]["examples"]] for key in ("train", "dev")}
        labelled = tuple(map(example_from_json, data.get("labelled", [])))
        own = (*pool, *labelled, *parts["train"], *parts["dev"])
        known = {example.question + example.answer: example for example in own}
        prompts = {key: _prompts(queries, data[key]["icl_demos"], known) for key, queries in parts.items()}
        remaining = tuple(int(index) for index in data["remaining_indices"])
    except KeyError as error:
        raise UserError(
            f"{name}: no {error}; a split holds train and dev, each with examples (idx, question, answer) and "
            "icl_demos drawn from them or the pool, and remaining_indices"
        ) from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{name}: not in the shape of a split ({error}); create it again") from None
    if not parts["train"]:
        raise UserError(f"{name}: no training examples")
    beyond = [index for index in remaining if not 0 <= index < len(pool)]
    if beyond:
        raise UserError(
            f"{name}: remaining_indices hold {beyond[0]}, but the pool has {len(pool)} examples; the dataset was "
            "prepared again since: create the split again"
        )
    return Split(prompts["train"], prompts["dev"], remaining, labelled)


def _prompts(queries: Sequence[Example], demos: Sequence[Any], known: Mapping[str, Example]) -> tuple[Prompt, ...]:
    """Each query after its list of demonstrations; one flat list is fixed demonstrations, the same for all."""
    if demos and isinstance(demos[0], str):
        fixed = [known[text] for text in demos]
        return tuple(prompt_after(fixed, query) for query in queries)
    if len(demos) != len(queries):
        raise ValueError(f"{len(queries)} examples and {len(demos)} lists of icl_demos")
    paired = zip(queries, demos, strict=True)
    return tuple(Prompt(tuple(known[text] for text in texts), query) for query, texts in paired)
