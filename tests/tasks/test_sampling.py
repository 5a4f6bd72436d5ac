"""Which rows are kept and held out: laws, and splits worked by hand."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.errors import UserError
from ia2.tasks.sampling import Bounds, NumberedRow, hold_out_by_label, sample_rows, validation_shares

LABELS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), min_size=4, max_size=40)
"""Rows as (which question, label): few questions, so that some are asked twice, and with two labels."""


def numbered(*texts: str) -> list[NumberedRow]:
    return [NumberedRow(number, {"text": text}) for number, text in enumerate(texts, start=1)]


def test_within_bounds_every_row_is_kept_in_order() -> None:
    rows = numbered("a", "bb", "ccc")
    sample = sample_rows(iter(rows), Bounds(rows=3, characters=6), seed=0)
    assert (list(sample.rows), sample.num_rows) == (rows, 3)
    assert sample_rows(iter(()), Bounds(), seed=0).num_rows == 0


@given(lengths=st.lists(st.integers(0, 9), max_size=30), most=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_sample_keeps_its_bounds_its_order_and_its_seed(lengths: list[int], most: int, seed: int) -> None:
    rows = numbered(*("x" * length for length in lengths))
    sample = sample_rows(rows, Bounds(rows=most, characters=4 * most), seed)
    places = [row.number for row in sample.rows]
    assert places == sorted(places)
    assert len(places) <= most
    assert sum(row.num_characters for row in sample.rows) <= 4 * most
    draw = Random(seed)
    by_draw = sorted(range(len(rows)), key=[draw.random() for _ in rows].__getitem__)
    # no row stays whose number is larger than one left out: short rows late in a file are not kept more often
    assert {place - 1 for place in places} == set(by_draw[: len(places)])
    assert sample == sample_rows(rows, Bounds(rows=most, characters=4 * most), seed)
    assert sample.num_rows == len(rows)


def test_every_row_is_kept_equally_often() -> None:
    rows = numbered(*"abcdef")
    kept = Counter(
        row.number for seed in range(1500) for row in sample_rows(rows, Bounds(rows=2, characters=99), seed).rows
    )
    # each of 6 rows is one of the 2 in a third of 1500 draws: 500, with a standard deviation of 18
    assert set(kept) == {1, 2, 3, 4, 5, 6}
    assert all(420 < count < 580 for count in kept.values())


@pytest.mark.parametrize(
    ("counts", "number", "shares"),
    [
        # one each; then 6/3 = 2 against 3/3 = 1: a; then 6/5 = 1.2 against 1: a; c keeps its only one
        ({"a": 6, "b": 3, "c": 1}, 4, {"a": 3, "b": 1, "c": 0}),
        ({"a": 10, "b": 10}, 6, {"a": 3, "b": 3}),
        ({"a": 90, "b": 10}, 10, {"a": 9, "b": 1}),
        ({"a": 5, "b": 9, "c": 7}, 2, {"a": 0, "b": 1, "c": 1}),  # fewer than labels: the largest first
        ({"a": 90, "b": 2, "c": 5}, 3, {"a": 1, "b": 1, "c": 1}),  # one each, though a third of 90 is more than 5
        ({"": 7}, 3, {"": 3}),
    ],
)
def test_shares_by_hand(counts: dict[str, int], number: int, shares: dict[str, int]) -> None:
    assert validation_shares(counts, number) == shares


def test_fewer_are_held_out_where_each_label_keeps_one(caplog: pytest.LogCaptureFixture) -> None:
    assert validation_shares({"a": 2, "b": 1}, 2) == {"a": 1, "b": 0}
    assert caplog.messages == ["1 rows are held out, not 2: each label keeps one"]


@given(rows=LABELS, seed=st.integers(0, 99), data=st.data())
def test_questions_and_labels_of_both_parts(rows: list[tuple[int, str]], seed: int, data: st.DataObject) -> None:
    questions, labels = [question for question, _ in rows], [label for _, label in rows]
    first = dict(zip(reversed(questions), reversed(labels), strict=True))
    most = len(first) - 2
    if most < 1:
        return
    number = data.draw(st.integers(1, most))
    held = hold_out_by_label(questions, labels, number, seed)
    asked = {questions[index] for index in held}
    trained = {question for index, question in enumerate(questions) if index not in held}
    assert not asked & trained
    assert asked | trained == set(questions)
    assert len(asked) == min(number, sum(count - 1 for count in Counter(first.values()).values()))
    assert held == hold_out_by_label(questions, labels, number, seed)
    counts = Counter(first.values())
    if number >= len(counts):
        for label in (label for label, count in counts.items() if count >= 2):
            assert label in {first[question] for question in asked}
            assert label in {first[question] for question in trained}


def test_another_seed_holds_out_other_rows() -> None:
    questions, labels = list(range(40)), ["a", "b"] * 20
    assert hold_out_by_label(questions, labels, 10, 0) != hold_out_by_label(questions, labels, 10, 1)


def test_too_many_for_validation() -> None:
    message = (
        r"num_validation = 3 of 4 different questions leaves fewer than 2 to train on; at most 2 are possible: lower it"
    )
    with pytest.raises(UserError, match=message):
        hold_out_by_label([1, 2, 3, 4, 4], list("ababb"), 3, 0)
    assert len(hold_out_by_label([1, 2, 3, 4], list("abab"), 2, 0)) == 2
