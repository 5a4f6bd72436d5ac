"""How prompts that begin alike stand in a batch, so that what they share is held a few times and not once for each.

A lane is a sequence as the model sees it: a shared beginning, and after it the rests of several prompts one after the
other, each at the positions that it has alone; masks keep them apart (`masks.py`). A query then looks past more slots,
and so a lane takes no more slots for its rests than its beginning has: nothing is looked at, or held, more than twice
as often as it must be. A prompt that shares nothing has a lane of its own, an ordinary row of a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ia2.icl.encoding import Ids
from ia2.lm.prefixes import FEWEST_ROWS, PrefixGroup


@dataclass(frozen=True)
class Rest:
    """What is left of a prompt (`row`, by index) after one of several shared beginnings (by index)."""

    row: int
    ids: Ids
    beginning: int


Lane = list[Rest]
"""Rests of one beginning."""


@dataclass
class Queue:
    """Rests that wait to be read, those of a beginning together.

    `shared` are the lengths of the beginnings. A rest will grow by `num_new_tokens` at most. A batch takes no more than
    `token_budget` slots, shared ones and padding included, where it has more than one rest.
    """

    rests: list[Rest]
    shared: Sequence[int]
    num_new_tokens: int
    token_budget: int

    def next(self) -> list[Lane]:
        """The lanes of the next batch."""
        batch: list[Lane] = []
        widest = longest = 0
        for lane in self._lanes():
            widest, longest = max(widest, _num_tokens(lane)), max(longest, self.shared[lane[0].beginning])
            if batch and (len(batch) + 1) * (widest + longest) > self.token_budget:
                break
            batch.append(lane)
        return batch

    def _lanes(self) -> Iterator[Lane]:
        lane: Lane = []
        num_tokens = 0
        for rest in self.rests:
            num_tokens += len(rest.ids)
            if lane and not self._goes_in(lane, rest, num_tokens):
                yield from _worth_it(lane)
                lane, num_tokens = [], len(rest.ids)
            lane.append(rest)
        yield from _worth_it(lane)

    def _goes_in(self, lane: Lane, rest: Rest, num_tokens: int) -> bool:
        """Whether a rest may follow those of a lane, which then feed `num_tokens` at first."""
        start = self.shared[rest.beginning]
        grown = num_tokens + (len(lane) + 1) * self.num_new_tokens
        alike = lane[-1].beginning == rest.beginning
        return alike and grown <= start and start + num_tokens <= self.token_budget

    def _size(self, lanes: Sequence[Lane]) -> int:
        return len(lanes) * (max(map(_num_tokens, lanes)) + max(self.shared[lane[0].beginning] for lane in lanes))

    def drop(self, batch: Sequence[Lane]) -> None:
        """Take what is read from the queue."""
        self.rests = self.rests[sum(map(len, batch)) :]

    def halve(self, batch: Sequence[Lane]) -> None:
        """Lower the budget to what half of a batch takes: half of its lanes, or half of what is in a single one."""
        half = batch[: len(batch) // 2] if len(batch) > 1 else [lane[: len(lane) // 2] for lane in batch]
        self.token_budget = self._size(half)


def _worth_it(lane: Lane) -> list[Lane]:
    """The lane, or one for each of its rests where there are few: attention is at its best with one query a row."""
    return [lane] if len(lane) >= FEWEST_ROWS else [[rest] for rest in lane]


def _num_tokens(lane: Lane) -> int:
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
