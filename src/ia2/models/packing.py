"""How prompts that begin alike stand in a batch, so that what they share is held a few times and not once for each.

A lane is a sequence as the model sees it: a shared beginning, and after it the rests of several prompts one after the
other, each at the positions that it has alone; masks keep them apart (`masks.py`). A query then looks past more slots,
and so a lane takes no more slots for its rests than its beginning has: nothing is looked at, or held, more than twice
as often as it must be. A prompt that shares nothing has a lane of its own, an ordinary row of a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ia2.models.prefixes import FEWEST_ROWS, PrefixGroup
from ia2.models.token_budget import TokenBudget
from ia2.prompts.tokenization import Ids


@dataclass(frozen=True)
class Suffix:
    """What is left of a prompt (`row`, by index) after one of several shared beginnings (by index)."""

    row: int
    ids: Ids
    beginning: int


PackedRow = list[Suffix]
"""Rests of one beginning."""


class BatchScheduler:
    """Rests that wait to be read, in lanes.

    `shared` are the lengths of the beginnings. A rest will grow by `num_new_tokens` at most. A batch keeps within the
    `budget` with its slots, shared ones and padding included, where it has more than one rest.
    """

    def __init__(
        self, rests: Sequence[Suffix], shared: Sequence[int], num_new_tokens: int, budget: TokenBudget
    ) -> None:
        self.shared = shared
        self.budget = budget
        self._num_new_tokens = num_new_tokens
        self.lanes = self._packed(rests)

    def _packed(self, rests: Sequence[Suffix]) -> list[PackedRow]:
        """Longest first; a beginning's lanes have as many rests as each other, so that few slots are padding.

        Where a lane would have few, each rest has its own: attention is at its best with one query a row.
        """
        lanes: list[PackedRow] = []
        in_order = sorted(rests, key=lambda rest: (rest.beginning, -len(rest.ids)))
        for own in (list(alike) for _, alike in groupby(in_order, key=lambda rest: rest.beginning)):
            counts = range(1, len(own) // FEWEST_ROWS + 1)
            count = next((count for count in counts if self._goes_in(own[::count])), len(own))
            lanes += [own[first::count] for first in range(count)]
        return lanes

    def _goes_in(self, lane: PackedRow) -> bool:
        start, num_tokens = self.shared[lane[0].beginning], _num_tokens(lane)
        grown = num_tokens + len(lane) * self._num_new_tokens
        return grown <= start and self.budget.allows(start + num_tokens, len(lane))

    def next(self) -> list[PackedRow]:
        """The lanes of the next batch."""
        widest = longest = num_rows = 0
        for count, lane in enumerate(self.lanes):
            widest, longest = max(widest, _num_tokens(lane)), max(longest, self.shared[lane[0].beginning])
            num_rows += len(lane)
            if count and not self.budget.allows((count + 1) * (widest + longest), num_rows):
                return self.lanes[:count]
        return self.lanes

    def drop(self, batch: Sequence[PackedRow]) -> None:
        """Take a batch that is read from the queue."""
        self.lanes = self.lanes[len(batch) :]

    def halve(self, batch: Sequence[PackedRow]) -> None:
        """Lower the budget to what half of a batch takes: half of its lanes, or half of what is in a single one."""
        half = batch[: len(batch) // 2] if len(batch) > 1 else [lane[: len(lane) // 2] for lane in batch]
        longest = max(self.shared[lane[0].beginning] for lane in half)
        self.budget = replace(self.budget, tokens=len(half) * (longest + max(map(_num_tokens, half))))
        self.lanes = self._packed([rest for lane in self.lanes for rest in lane])


def _num_tokens(lane: PackedRow) -> int:
    return sum(len(rest.ids) for rest in lane)


def read_together(groups: Sequence[PrefixGroup], token_budget: int) -> Iterator[list[PrefixGroup]]:
    """The groups, longest beginning first, in batches whose beginnings take no more than the budget; one at least.

    What shares nothing is apart, so that its rows are ordinary ones.
    """
    waiting = sorted(groups, key=lambda group: -group.length)
    while waiting:
        longest = waiting[0].length
        size = max(1, token_budget // longest) if longest else len(waiting)
        together = [group for group in waiting[:size] if group.length or not longest]
        yield together
        waiting = waiting[len(together) :]
