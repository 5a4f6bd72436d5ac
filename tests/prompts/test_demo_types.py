"""Fixed and shuffled demonstrations, and draws that keep the answers in proportion."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.prompts.splits import SplitSpec, draw_split, split_from_json, split_to_json
from ia2.tasks.task_spec import Example

POOL = tuple(Example(100 + index, f"Q{index}:", f"{index % 2}") for index in range(30))
sizes = st.integers(2, 20)
runs = st.integers(0, 30)


def reread(draw: SplitSpec, pool: tuple[Example, ...] = POOL) -> None:
    """What is written is what is read."""
    split = draw_split(pool, draw)
    written = json.loads(json.dumps(split_to_json(split, draw)))
    read = split_from_json(written, pool, "file")
    assert (read.train, read.dev, read.remaining) == (split.train, split.dev, split.remaining)


@given(sizes, runs, st.integers(1, 25))
def test_fixed_demonstrations_are_one_list_less_the_query(num: int, run: int, most: int) -> None:
    draw = SplitSpec(num, run, max_icl_demos=most, demo_type="fixed")
    split = draw_split(POOL, draw)
    assert len(set(split.fixed)) == len(split.fixed) == min(num, most)
    assert set(split.fixed) <= set(split.train_examples)
    for prompt in (*split.train, *split.dev):
        assert prompt.demonstrations == tuple(demo for demo in split.fixed if demo != prompt.query)
    reread(draw)


def test_fixed_demonstrations_are_written_as_one_flat_list_for_both_parts() -> None:
    draw = SplitSpec(4, 0, demo_type="fixed")
    written = split_to_json(draw_split(POOL, draw), draw)
    assert written["demo_type"] == "fixed"
    assert written["train"]["icl_demos"] == written["dev"]["icl_demos"]
    assert len(written["train"]["icl_demos"]) == 4
    assert all(isinstance(text, str) for text in written["train"]["icl_demos"])


@given(sizes, runs, st.integers(1, 8))
def test_shuffled_examples_come_so_often_each_time_in_another_order(num: int, run: int, shuffles: int) -> None:
    draw = SplitSpec(num, run, max_icl_demos=4, demo_type="shuffled", num_shuffles=shuffles)
    split, plain = draw_split(POOL, draw), draw_split(POOL, SplitSpec(num, run, max_icl_demos=4))
    assert split.train_examples == plain.train_examples
    assert (split.dev, split.remaining) == (plain.dev, plain.remaining)
    orders_there_are = {1: 1, 2: 2, 3: 6, 4: 24}[min(num - 1, 4)]
    for unshuffled in plain.train:
        orders = [e.demonstrations for e in split.train if e.query == unshuffled.query]
        assert len(set(orders)) == len(orders) == min(shuffles, orders_there_are)
        assert all(set(order) == set(unshuffled.demonstrations) for order in orders)
    reread(draw)


@given(st.lists(st.sampled_from("aaab"), min_size=4, max_size=30), runs)
def test_every_beginning_of_a_stratified_draw_is_in_proportion(answers: list[str], run: int) -> None:
    pool = tuple(Example(index, f"Q{index}:", answer) for index, answer in enumerate(answers))
    totals = Counter(answers)
    for num in range(2, len(pool) + 1):
        drawn = draw_split(pool, SplitSpec(num, run, num_dev_examples=0, stratified=True)).train_examples
        found = Counter(example.answer for example in drawn)
        for answer, total in totals.items():
            assert abs(found[answer] - num * total / len(pool)) <= 1


def test_a_stratified_draw_by_hand() -> None:
    """4 a and 2 b: an a belongs at 1/8, 3/8, 5/8 and 7/8 of the order, a b at 1/4 and 3/4."""
    pool = tuple(Example(index, f"Q{index}:", answer) for index, answer in enumerate("aaaabb"))
    for run in range(5):
        drawn = draw_split(pool, SplitSpec(6, run, num_dev_examples=0, stratified=True)).train_examples
        assert "".join(example.answer for example in drawn) == "abaaba"


def test_stratifying_still_shuffles_within_an_answer() -> None:
    drawn = {draw_split(POOL, SplitSpec(6, run, stratified=True)).train_examples for run in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize("demo_type", ["unique", "fixed", "shuffled"])
def test_settings_say_what_no_name_says(demo_type: str) -> None:
    draw = SplitSpec(4, 0, demo_type=demo_type, num_shuffles=2, stratified=True)  # type: ignore[arg-type]
    written = split_to_json(draw_split(POOL, draw), draw)
    assert written["settings"] == {"max_icl_demos": 4, "num_dev_examples": 2, "stratified": True}
    assert written["demo_type"] == demo_type
