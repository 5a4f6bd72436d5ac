import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, recall_score

from ia2.evaluation.accuracy import accuracy
from ia2.evaluation.classes import balanced_accuracy, confusion, macro_f1, named_counts, named_recalls, recalls

GOLD, GIVEN = [0, 0, 0, 1, 1, 2], [0, 0, -1, 1, 0, -1]
"""By hand: recalls 2/3, 1/2, 0; F1 of 0 is 4 / (3 + 3), of 1 is 2 / (2 + 1), of 2 is 0 / (1 + 0)."""
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=40)


def test_by_hand() -> None:
    counts = confusion(GOLD, GIVEN, 3)
    assert counts.labels.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert counts.no_label.tolist() == [1, 0, 1]
    assert recalls(counts) == pytest.approx([2 / 3, 1 / 2, 0])
    assert balanced_accuracy(counts) == pytest.approx(100 * (2 / 3 + 1 / 2) / 3)
    assert macro_f1(counts) == pytest.approx((2 / 3 + 2 / 3) / 3)


@given(PAIRS)
def test_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    gold, given_labels = np.array(pairs).T
    counts = confusion(gold, given_labels, 4)
    expected = confusion_matrix(gold, given_labels, labels=[0, 1, 2, 3, -1])
    np.testing.assert_array_equal(counts.labels, expected[:4, :4])
    np.testing.assert_array_equal(counts.no_label, expected[:4, 4])
    has_examples = sorted(set(gold))
    recall = recall_score(gold, given_labels, labels=has_examples, average=None, zero_division=0)
    np.testing.assert_allclose(recalls(counts)[has_examples], recall)
    assert np.isnan(recalls(counts)).sum() == 4 - len(has_examples)
    occurring = sorted({*gold, *given_labels} - {-1})
    f1 = f1_score(gold, given_labels, labels=occurring, average="macro", zero_division=0)
    assert macro_f1(counts) == pytest.approx(f1)


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    gold, given_labels = generator.choice(3, 200, p=[0.7, 0.2, 0.1]), generator.integers(0, 3, 200)
    expected = balanced_accuracy_score(gold, given_labels)
    assert balanced_accuracy(confusion(gold, given_labels, 3)) == pytest.approx(100 * expected)


@given(PAIRS)
def test_recalls_weighted_by_their_labels_are_the_accuracy_over_all(pairs: list[tuple[int, int]]) -> None:
    gold, given_labels = np.array(pairs).T
    counts = confusion(gold, given_labels, 4)
    weighted = np.nansum(recalls(counts) * counts.gold) / len(pairs)
    assert 100 * weighted == pytest.approx(accuracy(gold == given_labels))


def test_a_label_without_examples_is_left_out_of_recall_and_counts_in_f1_if_given() -> None:
    counts = confusion([0, 0], [0, 1], 3)  # F1 of 0 is 2 / (2 + 1), of 1 is 0, and 2 does not occur
    assert named_recalls(counts, ["no", "yes", "maybe"]) == {"no": 0.5}
    assert balanced_accuracy(counts) == 50.0
    assert macro_f1(counts) == pytest.approx(1 / 3)


def test_no_name_of_a_label_is_mistaken_for_what_is_no_label() -> None:
    counts = named_counts(confusion([0, 1, 1], [-1, 0, 1], 2), ["no_label", "b"])
    assert counts == {
        "labels": {"no_label": {"no_label": 0, "b": 0}, "b": {"no_label": 1, "b": 1}},
        "no_label": {"no_label": 1, "b": 0},
    }
    assert type(counts["no_label"]["b"]) is int


@pytest.mark.parametrize(
    ("gold", "given_labels"),
    [([], []), ([0], [0, 1]), ([-1], [0]), ([2], [0]), ([0], [2]), ([0], [-2]), ([0.0], [0]), ([[0]], [[0]])],
)
def test_bad_indices_are_refused(gold: list, given_labels: list) -> None:
    with pytest.raises(ValueError, match="want"):
        confusion(gold, given_labels, 2)
