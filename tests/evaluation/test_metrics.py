"""Which measures stand in which set; what each of them is, is tested where it is defined."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from ia2.evaluation.calibration import ece_floor
from ia2.evaluation.metrics import Labels, Scored, metrics
from ia2.evaluation.passes import numbers_of_passes

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


@dataclass(frozen=True)
class First:
    """Four made-up first tokens; the third one's gold token is the second most probable, the last one's the sixth."""

    confidence = np.array([0.9, 0.8, 0.4, 0.6])
    gold_log_probability = np.log([0.9, 0.8, 0.3, 0.02])
    gold_rank = np.array([0, 0, 1, 5])
    sum_of_squares = np.array([0.82, 0.66, 0.3, 0.4])
    entropy = np.array([0.3, 0.5, 1.2, 1.0])
    top_confidence = np.array([0.95, 0.85, 0.5, 0.7])

    @property
    def correct(self) -> np.ndarray:
        return self.gold_rank == 0


@dataclass(frozen=True)
class Said:
    log_probability = np.array([-1.0, -2.0, -3.0, -6.0])
    entropy = np.array([0.1, 0.2, 0.3, 0.4])


LABELS = Labels(np.log([[0.4, 0.1], [0.1, 0.3], [0.2, 0.2], [0.01, 0.03]]), gold=[0, 1, 1, 0], given=[0, 1, -1, 1])
FREE = Scored([True, True, False, False], [True] * 3 + [False], ["a", "b", None, "c"], First(), None, None)
CLOSED = replace(FREE, labels=LABELS)


def test_what_is_always_there() -> None:
    assert metrics(FREE, False).keys() == PLAIN | {"anywhere_accuracy"}
    assert metrics(CLOSED, False).keys() == PLAIN | OF_LABELS


def test_what_uncertainty_adds_and_what_it_leaves_as_it_was() -> None:
    more = {"label_entropy", "label_uncertainty"}
    for scored, added in ((FREE, UNCERTAIN), (CLOSED, UNCERTAIN | more)):
        plain, full = metrics(scored, False), metrics(scored, True)
        assert full.keys() == plain.keys() | added
        assert {name: full[name] for name in plain} == plain
    said = metrics(replace(FREE, responses=Said()), True)
    assert said["response_log_prob"] == -3.0
    assert said["response_entropy"] == pytest.approx(0.25)
    assert "response_entropy" not in metrics(replace(FREE, responses=Said()), False)


def test_values_by_hand() -> None:
    numbers = metrics(CLOSED, True)
    assert (numbers["accuracy"], numbers["parse_rate"]) == (50.0, 0.75)
    assert [numbers[f"top{k}_accuracy"] for k in (1, 5, 10)] == [50.0, 75.0, 100.0]
    assert numbers["top1_accuracy"] == numbers["first_token_accuracy"]
    assert numbers["entropy"] == pytest.approx(0.75)
    assert numbers["uncertainty"] == pytest.approx(1 - 2.7 / 4)
    assert numbers["auroc"] == 1.0  # .9 and .8 are right, .4 and .6 wrong
    assert numbers["macro_f1"] == pytest.approx((2 / 3 + 2 / 4) / 2)  # hits 1, 1; gold 2, 2; given 1, 2
    assert numbers["balanced_accuracy"] == 50.0
    # shares .8 .2, .25 .75, .5 .5, .25 .75: the label given is the first of equal ones, so 0, 1, 0, 1
    assert numbers["label_accuracy"] == 50.0
    assert numbers["label_nll"] == pytest.approx(-np.log([0.8, 0.75, 0.5, 0.25]).mean())
    assert numbers["label_uncertainty"] == pytest.approx(1 - (0.8 + 0.75 + 0.5 + 0.75) / 4)
    entropies = [-sum(p * math.log(p) for p in shares) for shares in ([0.8, 0.2], [0.25, 0.75], [0.5, 0.5])]
    assert numbers["label_entropy"] == pytest.approx((sum(entropies) + entropies[1]) / 4)


def test_a_perfect_classifier_has_no_label_error() -> None:
    """Trap 14: a softmax of probabilities would leave .73 of the mass, and an error of .27, to a perfect one."""
    logs = np.full((40, 2), -1e9)
    logs[np.arange(40), [0, 1] * 20] = -3.0  # sure among the labels, whatever they have of the vocabulary
    numbers = metrics(replace(CLOSED, labels=Labels(logs, [0, 1] * 20, [0, 1] * 20)), True)
    assert numbers["label_ece_equal_count"] == numbers["label_ece_equal_width"] == 0.0
    assert numbers["label_accuracy"] == 100.0
    assert numbers["label_entropy"] == numbers["label_uncertainty"] == 0.0


@pytest.mark.parametrize("rank", [0, 3])
def test_what_the_examples_do_not_define_is_absent(rank: int) -> None:
    class Alike(First):
        gold_rank = np.full(4, rank)

    numbers = metrics(replace(FREE, first=Alike()), True)
    assert "auroc" not in numbers
    assert not [name for name, value in numbers.items() if math.isnan(value)]


def test_two_passes_and_one() -> None:
    other = replace(CLOSED, correct=[True, False, True, False])
    both = numbers_of_passes({"without_icl": other, "with_icl": replace(CLOSED, correct=[True] * 4)}, ["n", "y"], True)
    assert both["metrics"]["accuracy_delta"] == 50.0
    assert both["agreement"] == {"both": 2, "only_with": 2, "only_without": 0, "neither": 0}
    assert both["recall"].keys() == both["confusion"].keys() == both["ece_floor"].keys() == {"with_icl", "without_icl"}
    assert both["confusion"]["with_icl"]["no_label"] == {"n": 0, "y": 1}
    assert both["ece_floor"]["with_icl"] == ece_floor(First.confidence)
    assert sum(one["count"] for one in both["reliability"]["with_icl"]) == 4
    alone = numbers_of_passes({"with_icl": FREE}, [], False)
    assert "accuracy_delta" not in alone["metrics"]
    assert [alone[field] for field in ("agreement", "labels", "recall", "confusion")] == [None] * 4
