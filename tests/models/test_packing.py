"""Which prompts stand in which lanes and batches: by hand, and what holds whatever the prompts are."""

from collections.abc import Iterator, Sequence
from random import Random

import pytest

from ia2.models.packing import BatchScheduler, PackedRow, Suffix, read_together
from ia2.models.prefixes import PrefixGroup
from ia2.models.token_budget import TokenBudget

ENOUGH = 10_000


def queue(
    shared: Sequence[int], sizes: Sequence[Sequence[int]], num_new_tokens: int = 1, budget: int = ENOUGH
) -> BatchScheduler:
    """Rests of these sizes for each beginning, numbered in their order."""
    owners = [(beginning, size) for beginning, of_one in enumerate(sizes) for size in of_one]
    rests = [Suffix(row, (7,) * size, beginning) for row, (beginning, size) in enumerate(owners)]
    return BatchScheduler(rests, list(shared), num_new_tokens, TokenBudget(budget))


def batches(waiting: BatchScheduler) -> Iterator[list[PackedRow]]:
    while waiting.lanes:
        batch = waiting.next()
        yield batch
        waiting.drop(batch)


def rows(batch: Sequence[PackedRow]) -> list[list[int]]:
    return [[rest.row for rest in lane] for lane in batch]


def test_a_lane_takes_no_more_for_its_rests_than_what_they_share() -> None:
    # 10 + 8 + 7 + 7 + 5 + 5 + 1 + 1 tokens and one more each are 52 slots; dealt out to two lanes, 27 and 25
    sizes = [10, 8, 7, 7, 5, 5, 1, 1]
    assert rows(queue([52], [sizes]).next()) == [[*range(8)]]
    assert rows(queue([51], [sizes]).next()) == rows(queue([27], [sizes]).next()) == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_what_rests_will_grow_by_counts() -> None:
    assert rows(queue([20], [[2, 2, 2, 2]], num_new_tokens=3).next()) == [[0, 1, 2, 3]]
    assert rows(queue([20], [[2, 2, 2, 2]], num_new_tokens=4).next()) == [[0], [1], [2], [3]]


def test_few_rests_have_lanes_of_their_own() -> None:
    assert rows(queue([90], [[2, 2, 2]]).next()) == [[0], [1], [2]]
    assert rows(queue([26], [[10, 8, 7, 7, 5, 5, 1, 1]]).next()) == [[row] for row in range(8)]


def test_what_shares_nothing_is_an_ordinary_row() -> None:
    assert rows(queue([0], [[9, 5, 5, 1]]).next()) == [[0], [1], [2], [3]]


def test_rests_of_two_beginnings_never_share_a_lane() -> None:
    assert rows(queue([30, 30], [[1] * 6, [1] * 5]).next()) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]


def test_a_batch_keeps_within_the_budget_with_its_padding() -> None:
    # lanes of 10 shared slots and 4, 5 and 4 of their own: two take 2 x 15, three would take 3 x 15
    sizes = [[1] * 4, [2, 1, 1, 1], [1] * 4]
    assert [rows(batch) for batch in batches(queue([10, 10, 10], sizes, budget=44))] == [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[8, 9, 10, 11]],
    ]
    assert len(queue([10, 10, 10], sizes, budget=45).next()) == 3


def test_half_of_the_lanes_or_half_of_a_lane_that_memory_did_not_hold() -> None:
    waiting = queue([40, 40], [[3] * 10, [3] * 10])
    waiting.halve(waiting.next())
    assert rows(waiting.next()) == [[*range(10)]]
    waiting.halve(waiting.next())
    assert rows(waiting.next()) == [[0, 2, 4, 6, 8]]
    waiting.halve(waiting.next())
    assert rows(waiting.next()) == [[0]]


@pytest.mark.parametrize("seed", range(20))
def test_every_prompt_is_read_once_and_within_bounds(seed: int) -> None:
    draw = Random(seed)
    shared = [draw.choice([0, 10, 60, 200]) for _ in range(draw.randint(1, 4))]
    sizes = [[draw.randint(1, 20) for _ in range(draw.randint(1, 30))] for _ in shared]
    num_new_tokens, budget = draw.randint(0, 5), draw.choice([1, 50, 300, ENOUGH])
    waiting = queue(shared, sizes, num_new_tokens, budget)
    seen: list[int] = []
    for batch in batches(waiting):
        fed = [sum(len(rest.ids) for rest in lane) for lane in batch]
        padded = len(batch) * (max(fed) + max(shared[lane[0].beginning] for lane in batch))
        assert padded <= budget or [len(lane) for lane in batch] == [1]
        for lane, size in zip(batch, fed, strict=True):
            assert {rest.beginning for rest in lane} == {lane[0].beginning}
            assert len(lane) == 1 or size + len(lane) * num_new_tokens <= shared[lane[0].beginning]
        seen += [row for lane in rows(batch) for row in lane]
    assert sorted(seen) == [*range(sum(map(len, sizes)))]


@pytest.mark.parametrize("seed", range(20))
def test_a_halved_batch_has_fewer_prompts_and_at_last_one(seed: int) -> None:
    draw = Random(seed)
    waiting = queue([draw.choice([0, 30, 90])], [[draw.randint(1, 20) for _ in range(draw.randint(2, 40))]])
    size = sum(map(len, waiting.lanes)) + 1
    while (now := sum(map(len, waiting.next()))) > 1:
        assert now < size
        size = now
        waiting.halve(waiting.next())


def test_beginnings_are_read_together_as_far_as_the_budget_goes() -> None:
    groups = [PrefixGroup((number,), length) for number, length in enumerate((0, 50, 100, 0, 90, 40))]
    together = [[group.length for group in one] for one in read_together(groups, 200)]
    assert together == [[100, 90], [50, 40], [0, 0]]
    assert [len(one) for one in read_together(groups, 1)] == [1, 1, 1, 1, 2]
