"""Which prompts begin alike, so that what they share is read once.

Demonstrations that stand before many queries are most of what a teacher reads. Prompts are grouped by the beginning
they share where that saves work; the others form one group that shares nothing, and keep their full batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ia2.prompts.tokenization import Ids

FEWEST_ROWS = 4
SHORTEST_PREFIX = 8


@dataclass(frozen=True)
class PrefixGroup:
    """Rows, by index, whose prompts share their first `length` tokens; each has at least one token after them."""

    rows: tuple[int, ...]
    length: int


def prefix_groups(prompts: Sequence[Ids]) -> list[PrefixGroup]:
    """Groups that together hold every prompt once. What is shared is at least half of a group's mean prompt."""
    order = sorted(range(len(prompts)), key=lambda row: prompts[row])
    groups, rest, start = [], [], 0
    while start < len(order):
        stop, length = _widest(prompts, order, start)
        if stop - start >= FEWEST_ROWS:
            groups.append(PrefixGroup(tuple(sorted(order[start:stop])), length))
            start = stop
        else:
            rest.append(order[start])
            start += 1
    return [*groups, PrefixGroup(tuple(sorted(rest)), 0)] if rest else groups


def _widest(prompts: Sequence[Ids], order: Sequence[int], start: int) -> tuple[int, int]:
    """The longest run of sorted prompts from `start` that still share enough, as (stop, shared length).

    It ends before a row that would make it share less where the row shares with the next ones what the run does now:
    they are a group of their own (the same examples in another order begin alike by chance).
    """
    stop, length = start + 1, len(prompts[order[start]]) - 1
    total = len(prompts[order[start]])
    while stop < len(order):
        shared = common_length(prompts[order[start]], prompts[order[stop]], length)
        total += len(prompts[order[stop]])
        if shared < SHORTEST_PREFIX or 2 * shared * (stop + 1 - start) < total:
            break
        if stop - start >= FEWEST_ROWS and _begins_another(prompts, order[stop : stop + FEWEST_ROWS], shared, length):
            break
        stop, length = stop + 1, shared
    return stop, length


def _begins_another(prompts: Sequence[Ids], order: Sequence[int], shared: int, length: int) -> bool:
    """Whether the first few of `order` share, among themselves, clearly more than `shared` of the run before them."""
    if shared == length or len(order) < FEWEST_ROWS:
        return False
    own = common_length(prompts[order[0]], prompts[order[FEWEST_ROWS - 1]], len(prompts[order[0]]))
    return min(own, length) - shared >= SHORTEST_PREFIX


def common_length(first: Ids, second: Ids, most: int) -> int:
    """How many first tokens two prompts share, at most `most`, and leaving each at least one."""
    limit = min(most, len(first) - 1, len(second) - 1)
    return next((i for i in range(limit) if first[i] != second[i]), max(limit, 0))
