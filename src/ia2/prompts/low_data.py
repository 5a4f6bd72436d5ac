"""The low-data regime: N labelled examples teach M unlabelled queries, in up to K orders each.

The N are the only labels there are. They stand before every query as demonstrations, in K distinct orders, and what the
teacher answers is what the student learns. Rows come order by order, so that the demonstrations of one order are read
once for all of its queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ia2.errors import UserError
from ia2.prompts.prompt import prompt_after, seeded
from ia2.prompts.splits import DEFAULT_NUM_DEV_EXAMPLES, Split, distinct_orders, part_to_json
from ia2.tasks.base import Example
from ia2.tasks.pool import example_to_json


@dataclass(frozen=True)
class LowDataSplitSpec:
    """What a low-data split is drawn with; `sizes` are N labelled, at most M unlabelled, and at most K orders."""

    sizes: tuple[int, int, int]
    run_idx: int
    num_dev_examples: int | None = None

    @property
    def settings(self) -> dict[str, int]:
        """What no part of a split's file name says, as it is written into a new one."""
        num_dev = DEFAULT_NUM_DEV_EXAMPLES if self.num_dev_examples is None else self.num_dev_examples
        return {"num_dev_examples": min(num_dev, self.sizes[1] // 2)}


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


def low_data_to_json(split: Split, draw: LowDataSplitSpec) -> dict[str, Any]:
    """The keys of any split, and `labelled` with the N."""
    return {
        "train": part_to_json(split.train),
        "dev": part_to_json(split.dev),
        "remaining_indices": list(split.remaining),
        "demo_type": "ldr",
        "labelled": [example_to_json(example) for example in split.labelled],
        "settings": draw.settings,
    }
