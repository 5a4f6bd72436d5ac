"""Grouping by shared beginnings: worked by hand, and as laws."""

from hypothesis import given
from hypothesis import strategies as st

from ia2.models.prefixes import PrefixGroup, common_length, prefix_groups
from ia2.prompts.tokenization import Ids

LONG_A, LONG_B = tuple(range(10)), tuple(range(20, 30))


def test_two_lists_of_demonstrations_and_a_stray_prompt() -> None:
    prompts = [(*LONG_A, 1), (*LONG_B, 1), (*LONG_A, 2), (*LONG_B, 2), (99, 98), (*LONG_A, 3), (*LONG_B, 3, 4)]
    prompts += [(*LONG_A, 4), (*LONG_B, 4)]
    assert prefix_groups(prompts) == [
        PrefixGroup((0, 2, 5, 7), 10),
        PrefixGroup((1, 3, 6, 8), 10),
        PrefixGroup((4,), 0),
    ]


def test_equal_prompts_keep_a_token_each() -> None:
    assert prefix_groups([LONG_A] * 4) == [PrefixGroup((0, 1, 2, 3), 9)]


def test_a_short_common_cue_is_not_worth_a_pass() -> None:
    assert prefix_groups([(1, 2, 3, token) for token in range(6)]) == [PrefixGroup(tuple(range(6)), 0)]


def test_teacher_prompts_in_orders_of_their_own_stay_together() -> None:
    prompts = [(7, *range(start, start + 12)) for start in range(0, 120, 12)]
    assert prefix_groups(prompts) == [PrefixGroup(tuple(range(10)), 0)]


def test_common_length_leaves_each_a_token() -> None:
    assert common_length((1, 2, 3), (1, 2, 3), 9) == 2
    assert common_length((1, 2, 3), (1, 2), 9) == 1
    assert common_length((1,), (1, 2), 9) == 0


prompts_strategy = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=24).map(tuple), min_size=1, max_size=30)


@given(prompts_strategy)
def test_every_prompt_once_and_the_prefix_is_shared(prompts: list[Ids]) -> None:
    groups = prefix_groups(prompts)
    assert sorted(row for group in groups for row in group.rows) == list(range(len(prompts)))
    for group in groups:
        assert len({prompts[row][: group.length] for row in group.rows}) == 1
        assert all(len(prompts[row]) > group.length for row in group.rows)
