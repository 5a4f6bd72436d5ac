"""Prompts made of random ids, in the arrangements that the stages make: lengths and what is shared are all that counts.

An example is its question and answer as one run of ids. Lengths differ by a tenth to either side, so that batches are
padded as they are in earnest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

Ids = tuple[int, ...]

FIRST_ID = 100
"""Below are special tokens."""


@dataclass(frozen=True)
class Source:
    """Draws examples of about `length` tokens out of `vocabulary` ids."""

    length: int
    vocabulary: int
    draw: Random

    def examples(self, number: int) -> list[Ids]:
        spread = round(self.length / 10)
        lengths = [self.draw.randint(self.length - spread, self.length + spread) for _ in range(number)]
        return [tuple(self.draw.choices(range(FIRST_ID, self.vocabulary), k=length)) for length in lengths]


def source(length: int, vocabulary: int) -> Source:
    return Source(length, vocabulary, Random(0))


def after_others(examples: Sequence[Ids], number: int, draw: Random) -> list[Ids]:
    """Each example after `number` of the others in random order: what a teacher reads for a few-shot split."""
    rows = range(len(examples))
    return [
        joined([examples[i] for i in draw.sample([i for i in rows if i != row], number)], examples[row]) for row in rows
    ]


def after_one_list(queries: Sequence[Ids], demonstrations: Sequence[Ids]) -> list[Ids]:
    """Every query after the same demonstrations (`icl_pool = train`)."""
    return [joined(demonstrations, query) for query in queries]


def after_fresh(queries: Sequence[Ids], pool: Sequence[Ids], number: int, draw: Random) -> list[Ids]:
    """Every query after its own draw (`icl_pool = remaining`)."""
    return [joined(draw.sample(list(pool), number), query) for query in queries]


def after_orders(queries: Sequence[Ids], labelled: Sequence[Ids], number: int, draw: Random) -> list[Ids]:
    """Every query after each of `number` orders of the labelled examples, order by order (the low-data regime)."""
    orders = [draw.sample(list(labelled), len(labelled)) for _ in range(number)]
    return [prompt for order in orders for prompt in after_one_list(queries, order)]


def joined(demonstrations: Sequence[Ids], query: Ids) -> Ids:
    return tuple(token for example in (*demonstrations, query) for token in example)
