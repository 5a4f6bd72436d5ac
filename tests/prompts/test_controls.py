"""Wrong demonstrations: every answer differs from the right one wherever that is possible, and nothing else changes."""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.errors import UserError
from ia2.prompts.prompt import with_wrong_answers
from ia2.tasks.task_spec import Example

LABELS = ("0", "1", "2")


def demos(*answers: str) -> tuple[Example, ...]:
    return tuple(Example(idx, f"Input: {idx}\nOutput:", answer) for idx, answer in enumerate(answers))


def answers_of(examples: tuple[Example, ...]) -> list[str]:
    return [example.answer for example in examples]


@given(st.lists(st.sampled_from(LABELS), max_size=12), st.integers(0, 5))
def test_every_label_becomes_another_label(answers: list[str], run: int) -> None:
    shown = demos(*answers)
    wrong = with_wrong_answers(shown, LABELS, run)
    assert [(demo.idx, demo.question) for demo in wrong] == [(demo.idx, demo.question) for demo in shown]
    assert all(demo.answer in LABELS for demo in wrong)
    assert not [now for now, before in zip(wrong, answers, strict=True) if now.answer == before]


def test_two_labels_change_places() -> None:
    assert answers_of(with_wrong_answers(demos("0", "1", "1"), ("0", "1"), 0)) == ["1", "0", "0"]


def test_of_several_labels_none_is_preferred_and_an_example_keeps_its_own() -> None:
    wrong = with_wrong_answers(demos(*["0"] * 300), LABELS, 0)
    assert 110 < Counter(answers_of(wrong))["1"] < 190  # 150 expected, sd 8.7
    assert with_wrong_answers(demos(*["0"] * 300)[100:50:-1], LABELS, 0) == wrong[100:50:-1]
    assert with_wrong_answers(demos(*["0"] * 300), LABELS, 1) != wrong


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=6).filter(lambda a: len(set(a)) > 1), st.integers(0, 5))
def test_free_text_answers_change_places_with_as_few_left_as_can_be(answers: list[str], run: int) -> None:
    wrong = answers_of(with_wrong_answers(demos(*answers), (), run))
    assert sorted(wrong) == sorted(answers)

    def left(order: list[str] | tuple[str, ...]) -> int:
        return sum(now == before for now, before in zip(order, answers, strict=True))

    assert left(wrong) == min(map(left, permutations(answers)))


def test_the_run_decides_the_order_of_free_text() -> None:
    shown = demos(*"abcdefgh")
    orders = {tuple(answers_of(with_wrong_answers(shown, (), run))) for run in range(20)}
    assert len(orders) > 15
    assert with_wrong_answers(shown, (), 3) == with_wrong_answers(shown, (), 3)


@pytest.mark.parametrize(
    ("answers", "labels", "says"),
    [(["a", "a"], (), "all 2 demonstrations have the answer 'a'"), (["0"], ("0",), "'0' is the only label")],
)
def test_what_cannot_be_wrong_is_refused(answers: list[str], labels: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=f"control=wrong_labels: .*{says}"):
        with_wrong_answers(demos(*answers), labels, 0)
