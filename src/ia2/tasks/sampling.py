"""Samples of a person's own rows, and of those the rows held out for validation.

A file may hold far more rows than any run asks for. What is kept is a uniform sample that does not depend on how much
was read before: each row draws a number, and those with the smallest numbers stay as long as they fit.
"""

import heapq
import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ia2.errors import UserError
from ia2.tasks.task_spec import Row

log = logging.getLogger(__name__)

MIN_TRAIN = 2
"""A training example and one more to be shown to its teacher."""


@dataclass(frozen=True)
class NumberedRow:
    """A row and its place in the source, the first being 1."""

    number: int
    row: Row

    @property
    def num_characters(self) -> int:
        return sum(map(len, self.row.values()))


@dataclass(frozen=True)
class Bounds:
    """Most of a source that is kept in memory."""

    rows: int = 100_000
    characters: int = 100_000_000


@dataclass(frozen=True)
class Sample:
    """The rows that were kept, in the order of their source, and how many it has."""

    rows: Sequence[NumberedRow]
    num_rows: int


def sample_rows(rows: Iterable[NumberedRow], bounds: Bounds, seed: int) -> Sample:
    """All rows where they are within bounds, else a seeded uniform sample of them, as large as fits."""
    draw = Random(seed).random
    kept: list[tuple[float, int, NumberedRow]] = []  # a heap whose first has the largest draw, negated
    threshold, num_characters, num_rows = 1.0, 0, 0
    for num_rows, row in enumerate(rows, start=1):  # noqa: B007  # the last count is the number of rows
        drawn = draw()
        if drawn >= threshold:
            continue
        heapq.heappush(kept, (-drawn, row.number, row))
        num_characters += row.num_characters
        while len(kept) > bounds.rows or num_characters > bounds.characters:
            largest, _, left_out = heapq.heappop(kept)
            threshold = -largest
            num_characters -= left_out.num_characters
    return Sample(sorted((row for _, _, row in kept), key=lambda row: row.number), num_rows)


def hold_out_by_label(asked: Sequence[Hashable], labels: Sequence[str], num_validation: int, seed: int) -> set[int]:
    """Indices of the rows for validation: `num_validation` questions, every label in its proportion.

    Rows that ask the same question (equal in `asked`) go together, so that none is trained on and asked; their label is
    the first one's. A label with two questions or more is in both parts, where `num_validation` is not below the number
    of labels. UserError where too few questions would be left to train on.
    """
    label_of = dict(zip(reversed(asked), reversed(labels), strict=True))  # the first row of a question decides
    if num_validation > len(label_of) - MIN_TRAIN:
        raise UserError(
            f"num_validation = {num_validation} of {len(label_of)} different questions leaves fewer than {MIN_TRAIN} "
            f"to train on; at most {len(label_of) - MIN_TRAIN} are possible: lower it, or add rows"
        )
    shares = validation_shares(Counter(label_of.values()), num_validation)
    questions = list(dict.fromkeys(asked))
    Random(seed).shuffle(questions)
    held = set()
    for question in questions:
        if shares[label_of[question]] > 0:
            shares[label_of[question]] -= 1
            held.add(question)
    return {index for index, question in enumerate(asked) if question in held}


def validation_shares(counts: Mapping[str, int], num_validation: int) -> dict[str, int]:
    """Numbers of each label to hold out: one of each first, then in proportion (Sainte-Laguë), never the last one.

    >>> validation_shares({"a": 6, "b": 3, "c": 1}, 4)
    {'a': 3, 'b': 1, 'c': 0}
    """
    shares = dict.fromkeys(counts, 0)
    order: list[tuple[bool, float, int, str]] = [
        (False, -count, place, label) for place, (label, count) in enumerate(counts.items()) if count > 1
    ]
    heapq.heapify(order)
    for number in range(num_validation):
        if not order:
            log.warning("%d rows are held out, not %d: each label keeps one", number, num_validation)
            break
        _, _, place, label = heapq.heappop(order)
        shares[label] += 1
        if shares[label] < counts[label] - 1:
            heapq.heappush(order, (True, -counts[label] / (2 * shares[label] + 1), place, label))
    return shares
