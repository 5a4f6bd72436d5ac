import numpy as np
import pytest
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from ia2.evaluation.accuracy import (
    Agreement,
    accuracy,
    agreement,
    label_accuracy,
    majority_class_accuracy,
    parse_rate,
    top_k_accuracy,
)


def test_accuracy_is_the_percentage_over_all_examples() -> None:
    assert accuracy(np.array([True, False, False, True, False])) == 40.0


def test_accuracy_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    gold, said = generator.integers(0, 4, 200), generator.integers(0, 4, 200)
    assert accuracy(gold == said) == pytest.approx(100 * accuracy_score(gold, said))


@pytest.mark.parametrize("bad", [np.array([], dtype=bool), np.array([0.3, 0.7]), np.array([[True]])])
def test_accuracy_refuses_what_is_not_a_list_of_hits(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="boolean"):
        accuracy(bad)


def test_parse_rate_counts_an_empty_answer_as_an_answer() -> None:
    assert parse_rate(["Paris", None, "", "7"]) == 0.75
    with pytest.raises(ValueError, match="no responses"):
        parse_rate([])


def test_majority_class_accuracy_by_hand() -> None:
    assert majority_class_accuracy(["0", "1", "1", "1", "2"]) == 60.0  # 3 of 5
    with pytest.raises(ValueError, match="no answers"):
        majority_class_accuracy([])


def test_label_accuracy_ignores_the_mass_outside_the_label_set() -> None:
    # argmax 1, 0, 1 against gold 1, 1, 1: two of three, however little mass the labels hold
    probabilities = np.array([[0.001, 0.002], [0.9, 0.05], [0.0, 1e-9]])
    assert label_accuracy(probabilities, np.array([1, 1, 1])) == pytest.approx(200 / 3)


def test_label_accuracy_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    probabilities, gold = generator.random((300, 4)), generator.integers(0, 4, 300)
    expected = top_k_accuracy_score(gold, probabilities, k=1)
    assert label_accuracy(probabilities, gold) == pytest.approx(100 * expected)


@pytest.mark.parametrize(
    ("probabilities", "gold"),
    [
        (np.ones((2, 2)), np.array([0])),
        (np.ones((1, 2)), np.array([2])),
        (np.ones((1, 2)), np.array([-1])),
        (np.ones((1, 2)), np.array([0.0])),
        (np.ones((0, 2)), np.array([], dtype=int)),
        (np.array([[np.nan, 1.0]]), np.array([0])),
    ],
)
def test_label_accuracy_refuses(probabilities: np.ndarray, gold: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"want|finite"):
        label_accuracy(probabilities, gold)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_top_k_accuracy_agrees_with_scikit_learn(k: int) -> None:
    generator = np.random.default_rng(2)
    probabilities, gold = generator.random((300, 20)), generator.integers(0, 20, 300)
    rank = (probabilities > probabilities[np.arange(300), gold][:, None]).sum(axis=1)
    assert top_k_accuracy(rank, k) == pytest.approx(100 * top_k_accuracy_score(gold, probabilities, k=k))


def test_top_k_accuracy_by_hand() -> None:
    assert [top_k_accuracy([0, 4, 5, 9, 10], k) for k in (1, 5, 10)] == [20.0, 40.0, 80.0]


@pytest.mark.parametrize(("rank", "k"), [([], 1), ([-1], 1), ([0.5], 1), ([0], 0)])
def test_top_k_accuracy_refuses(rank: list, k: int) -> None:
    with pytest.raises(ValueError, match="want"):
        top_k_accuracy(rank, k)


def test_agreement_by_hand() -> None:
    with_icl, without_icl = [True, True, True, False, False, False], [True, False, False, True, True, True]
    assert agreement(with_icl, without_icl) == Agreement(both=1, only_with=2, only_without=3, neither=0)
    assert agreement([False], [False]) == Agreement(0, 0, 0, 1)


@pytest.mark.parametrize(("one", "other"), [([], []), ([True], [True, False]), ([1], [True]), ([True], [0.5])])
def test_agreement_refuses(one: list, other: list) -> None:
    with pytest.raises(ValueError, match="want"):
        agreement(one, other)
