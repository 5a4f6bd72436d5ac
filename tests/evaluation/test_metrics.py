"""Metrics of one condition and of two: by hand, and counted one example at a time."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.evaluation.calibration import expected_ece_if_calibrated
from ia2.evaluation.metrics import (
    Grades,
    ScoredAnswers,
    accuracy,
    agreement,
    auroc,
    class_metrics,
    condition_metrics,
    confusion,
    majority_class_accuracy,
    parse_rate,
    recalls,
    record_metrics,
    top_k_accuracy,
)

# Right and wrong


def test_accuracy_is_the_percentage_over_all_examples() -> None:
    assert accuracy(np.array([True, False, False, True, False])) == 40.0


@pytest.mark.parametrize("bad", [np.array([], dtype=bool), np.array([0.3, 0.7]), np.array([[True]])])
def test_outcomes_are_a_list_of_booleans(bad: np.ndarray) -> None:
    for metric in (accuracy, lambda values: agreement(values, values), lambda values: auroc([0.5], values)):
        with pytest.raises(ValueError, match="boolean"):
            metric(bad)


def test_parse_rate_counts_an_empty_answer_as_an_answer() -> None:
    assert parse_rate(["Paris", None, "", "7"]) == 0.75
    with pytest.raises(ValueError, match="non-empty"):
        parse_rate([])


def test_majority_class_accuracy_by_hand() -> None:
    assert majority_class_accuracy(["0", "1", "1", "1", "2"]) == 60.0  # 3 of 5
    with pytest.raises(ValueError, match="empty"):
        majority_class_accuracy([])


def test_top_k_accuracy_by_hand() -> None:
    assert [top_k_accuracy([0, 4, 5, 9, 10], k) for k in (1, 5, 10)] == [20.0, 40.0, 80.0]


@pytest.mark.parametrize(("rank", "k"), [([], 1), ([-1], 1), ([0.5], 1), ([0], 0)])
def test_top_k_accuracy_refuses(rank: list, k: int) -> None:
    with pytest.raises(ValueError, match="want"):
        top_k_accuracy(rank, k)


def test_agreement_by_hand() -> None:
    with_icl, without_icl = [True, True, True, False, False, False], [True, False, False, True, True, True]
    assert agreement(with_icl, without_icl) == {"both": 1, "only_with": 2, "only_without": 3, "neither": 0}
    assert agreement([False], [False]) == {"both": 0, "only_with": 0, "only_without": 0, "neither": 1}
    with pytest.raises(ValueError, match="inconsistent"):
        agreement([True], [True, False])


def test_auroc_by_hand_with_ties() -> None:
    # right .9 .5, wrong .5 .1: of the four pairs three are won and one is a tie
    assert auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == 3.5 / 4
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    assert auroc([0.2, 0.8], [True, False]) == 0.0
    assert auroc([0.2, 0.8], [True, True]) is None
    for bad in ([0.5], [0.5, math.nan]):
        with pytest.raises(ValueError, match=r"inconsistent|NaN"):
            auroc(bad, [True, False])


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60))
def test_auroc_is_the_share_of_pairs_that_are_won(rows: list[tuple[int, bool]]) -> None:
    pairs = [(right > wrong) + (right == wrong) / 2 for right, hit in rows if hit for wrong, other in rows if not other]
    found = auroc([level / 8 for level, _ in rows], [hit for _, hit in rows])
    assert found == (pytest.approx(sum(pairs) / len(pairs), abs=1e-12) if pairs else None)


# Labels

GOLD, GIVEN = [0, 0, 0, 1, 1, 2], [0, 0, -1, 1, 0, -1]
"""By hand: recalls 2/3, 1/2, 0; F1 of 0 is 4 / (3 + 3), of 1 is 2 / (2 + 1), of 2 is 0 / (1 + 0)."""
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=40)


def test_classes_by_hand() -> None:
    assert confusion(GOLD, GIVEN, "abc") == {
        "labels": {"a": {"a": 2, "b": 0, "c": 0}, "b": {"a": 1, "b": 1, "c": 0}, "c": {"a": 0, "b": 0, "c": 0}},
        "no_label": {"a": 1, "b": 0, "c": 1},
    }
    assert recalls(GOLD, GIVEN, "abc") == {"a": pytest.approx(2 / 3), "b": 1 / 2, "c": 0}
    numbers = class_metrics(GOLD, GIVEN, 3)
    assert numbers["balanced_accuracy"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 3)
    assert numbers["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 3)


@given(PAIRS)
def test_classes_counted_one_by_one(pairs: list[tuple[int, int]]) -> None:
    gold, answered = zip(*pairs, strict=True)
    has, hits = Counter(gold), Counter(right for right, said in pairs if right == said)
    counts, recall = confusion(gold, answered, "0123"), recalls(gold, answered, "0123")
    numbers = class_metrics(gold, answered, 4)
    for right in range(4):
        row = [counts["labels"][str(right)][str(said)] for said in range(4)] + [counts["no_label"][str(right)]]
        assert row == [pairs.count((right, said)) for said in (0, 1, 2, 3, -1)]
    assert recall == pytest.approx({str(label): hits[label] / num for label, num in has.items()})
    assert numbers["balanced_accuracy"] == pytest.approx(100 * np.mean(list(recall.values())))
    occurring = {*gold, *answered} - {-1}
    f1 = [2 * hits[label] / (has[label] + answered.count(label)) for label in occurring]
    assert numbers["macro_f1"] == pytest.approx(np.mean(f1))
    weighted = sum(recall[str(label)] * num for label, num in has.items()) / len(pairs)
    assert 100 * weighted == pytest.approx(accuracy(np.array(gold) == np.array(answered)))


def test_a_label_without_examples_is_left_out_of_recall_and_counts_in_f1_if_given() -> None:
    # F1 of 0 is 2 / (2 + 1), of 1 is 0, and 2 does not occur
    assert recalls([0, 0], [0, 1], ["no", "yes", "maybe"]) == {"no": 0.5}
    assert class_metrics([0, 0], [0, 1], 3) == {"macro_f1": pytest.approx(1 / 3), "balanced_accuracy": 50.0}
    assert class_metrics([0, 1], [-1, -1], 2) == {"macro_f1": 0.0, "balanced_accuracy": 0.0}


def test_no_name_of_a_label_is_mistaken_for_what_is_no_label() -> None:
    counts = confusion([0, 1, 1], [-1, 0, 1], ["no_label", "b"])
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
    for refusing in (
        lambda: confusion(gold, given_labels, "ab"),
        lambda: recalls(gold, given_labels, "ab"),
        lambda: class_metrics(gold, given_labels, 2),
    ):
        with pytest.raises(ValueError, match="want"):
            refusing()


# Of a condition

PLAIN = {"accuracy", "parse_rate", "first_token_accuracy", "nll", "brier"}
PLAIN |= {"ece_equal_count", "ece_equal_width", "ece_published"}
OF_LABELS = {
    "label_accuracy",
    "label_nll",
    "label_ece_equal_count",
    "label_ece_equal_width",
    "macro_f1",
    "balanced_accuracy",
}
UNCERTAIN = {"entropy", "uncertainty", "top1_accuracy", "top5_accuracy", "top10_accuracy", "auroc"}

FREE = ScoredAnswers(
    token=np.array([7, 8, 0, 0]),
    gold=np.array([7, 8, 9, 9]),
    gold_rank=np.array([0, 0, 1, 5]),
    confidence=np.array([0.9, 0.8, 0.4, 0.6]),
    gold_log_probability=np.log([0.9, 0.8, 0.3, 0.02]),
    sum_of_squares=np.array([0.82, 0.66, 0.3, 0.4]),
    entropy=np.array([0.3, 0.5, 1.2, 1.0]),
    top_tokens=np.zeros((4, 10), dtype=np.int64),
    top_probabilities=np.tile([[0.9], [0.8], [0.4], [0.6]], 10) / 8,  # sums 1.125, 1, 0.5, 0.75
    label_log_probabilities=np.zeros((4, 0)),
)
"""Four made-up first tokens; the third one's gold token is the second most probable, the last one's the sixth."""
CLOSED = replace(FREE, label_log_probabilities=np.log([[0.4, 0.1], [0.1, 0.3], [0.2, 0.2], [0.01, 0.03]]))
SAID = replace(FREE, token_sums=np.array([[1, 2, 2, 3], [-1.0, -2.0, -3.0, -6.0], [0.1, 0.4, 0.6, 1.2]]))
OF_FREE = Grades(["a", "b", None, "c"], [True, True, False, False], [True, True, True, False], [], [])
OF_CLOSED = replace(OF_FREE, gold_labels=[0, 1, 1, 0], given_labels=[0, 1, -1, 1])


def test_metrics_without_uncertainty() -> None:
    assert condition_metrics(OF_FREE, FREE).keys() == PLAIN | {"anywhere_accuracy"}
    assert condition_metrics(OF_CLOSED, CLOSED).keys() == PLAIN | OF_LABELS


def test_uncertainty_adds_metrics_and_changes_none() -> None:
    more = {"label_entropy", "label_uncertainty"}
    for grades, answers, added in ((OF_FREE, FREE, UNCERTAIN), (OF_CLOSED, CLOSED, UNCERTAIN | more)):
        plain, full = condition_metrics(grades, answers), condition_metrics(grades, answers, True)
        assert full.keys() == plain.keys() | added
        assert {name: full[name] for name in plain} == plain
    said = condition_metrics(OF_FREE, SAID, True, num_generated_tokens=3)
    assert said["response_log_prob"] == -3.0
    assert said["response_entropy"] == pytest.approx(0.25)
    assert "response_entropy" not in condition_metrics(OF_FREE, SAID, False, num_generated_tokens=3)
    assert "response_entropy" not in condition_metrics(OF_FREE, SAID, True, num_generated_tokens=1)


@pytest.mark.parametrize("logs", [np.zeros((2, 2)), np.full((4, 2), np.nan), np.full((4, 2), -np.inf)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_bad_log_probabilities_are_refused(logs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="log_probabilities: want"):
        condition_metrics(OF_CLOSED, replace(FREE, label_log_probabilities=logs))


def test_values_by_hand() -> None:
    numbers = condition_metrics(OF_CLOSED, CLOSED, True)
    assert (numbers["accuracy"], numbers["parse_rate"]) == (50.0, 0.75)
    assert condition_metrics(OF_FREE, FREE)["anywhere_accuracy"] == 75.0
    assert [numbers[f"top{k}_accuracy"] for k in (1, 5, 10)] == [50.0, 75.0, 100.0]
    assert numbers["top1_accuracy"] == numbers["first_token_accuracy"]
    assert numbers["nll"] == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.02]).mean())
    assert numbers["brier"] == pytest.approx((0.02 + 0.06 + 0.7 + 1.36) / 4)  # 1 - 2 p + squares
    # each has a bin of its own: |1 - .9|, |1 - .8|, .4, .6; renormalised .8, .8 (one bin), .8, .8
    assert numbers["ece_equal_count"] == numbers["ece_equal_width"] == pytest.approx((0.1 + 0.2 + 0.4 + 0.6) / 4)
    assert numbers["ece_published"] == pytest.approx(0.3)
    assert numbers["entropy"] == pytest.approx(0.75)
    assert numbers["uncertainty"] == pytest.approx(1 - 2.7 / 4)
    assert numbers["auroc"] == 1.0  # .9 and .8 are right, .4 and .6 wrong
    assert numbers["macro_f1"] == pytest.approx((2 / 3 + 2 / 4) / 2)  # hits 1, 1; gold 2, 2; given 1, 2
    assert numbers["balanced_accuracy"] == 50.0
    # shares .8 .2, .25 .75, .5 .5, .25 .75: the most probable label is the first of equal ones, so 0, 1, 0, 1
    assert numbers["label_accuracy"] == 50.0
    assert numbers["label_nll"] == pytest.approx(-np.log([0.8, 0.75, 0.5, 0.25]).mean())
    assert numbers["label_uncertainty"] == pytest.approx(1 - (0.8 + 0.75 + 0.5 + 0.75) / 4)
    entropies = [-sum(p * math.log(p) for p in shares) for shares in ([0.8, 0.2], [0.25, 0.75], [0.5, 0.5])]
    assert numbers["label_entropy"] == pytest.approx((sum(entropies) + entropies[1]) / 4)


def test_a_perfect_classifier_has_no_label_error() -> None:
    """Trap 14: a softmax of probabilities would leave .73 of the mass, and an error of .27, to a perfect one."""
    logs = np.full((4, 2), -1e9)
    logs[np.arange(4), [0, 1] * 2] = -3.0  # sure among the labels, whatever they have of the vocabulary
    grades = replace(OF_CLOSED, gold_labels=[0, 1] * 2, given_labels=[0, 1] * 2)
    numbers = condition_metrics(grades, replace(FREE, label_log_probabilities=logs), True)
    assert numbers["label_ece_equal_count"] == numbers["label_ece_equal_width"] == 0.0
    assert numbers["label_accuracy"] == 100.0
    assert numbers["label_entropy"] == numbers["label_uncertainty"] == 0.0


@pytest.mark.parametrize("token", [9, 1])
def test_a_number_that_the_examples_do_not_define_is_absent(token: int) -> None:
    alike = replace(FREE, token=np.full(4, token), gold=np.full(4, 9))
    numbers = condition_metrics(OF_FREE, alike, True)
    assert "auroc" not in numbers
    assert not [name for name, value in numbers.items() if math.isnan(value)]


def test_two_conditions_and_one() -> None:
    without, all_right = (replace(OF_CLOSED, correct=correct) for correct in ([True, False] * 2, [True] * 4))
    conditions = {"without_icl": (without, CLOSED), "with_icl": (all_right, CLOSED)}
    both = record_metrics(conditions, ["n", "y"], uncertainty=True, num_generated_tokens=1)
    assert both["metrics"]["accuracy_delta"] == 50.0
    assert both["agreement"] == {"both": 2, "only_with": 2, "only_without": 0, "neither": 0}
    assert both["recall"].keys() == both["confusion"].keys() == both["ece_floor"].keys() == {"with_icl", "without_icl"}
    assert both["confusion"]["with_icl"]["no_label"] == {"n": 0, "y": 1}
    assert both["ece_floor"]["with_icl"] == expected_ece_if_calibrated(FREE.confidence)
    assert both["label_ece_floor"]["with_icl"] == expected_ece_if_calibrated(np.array([0.8, 0.75, 0.5, 0.75]))
    assert sum(one["count"] for one in both["reliability"]["with_icl"]) == 4
    alone = record_metrics({"with_icl": (OF_FREE, FREE)}, [], uncertainty=False, num_generated_tokens=1)
    assert "accuracy_delta" not in alone["metrics"]
    assert [alone[field] for field in ("agreement", "labels", "recall", "confusion")] == [None] * 4
