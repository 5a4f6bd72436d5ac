"""What a summary says of chance: whose answers are resampled, and which `tok` a model is compared with."""

import math

import numpy as np
import pandas as pd
import pytest
from made_up import ROWS, MadeUpStore, config, rewrite, settings
from scipy.stats import binomtest

from ia2.errors import UserError
from ia2.evaluation.statistics import bootstrap_interval, paired_permutation_test
from ia2.results.advice import advice
from ia2.results.compare import of_scores
from ia2.results.records import examine_records
from ia2.tables import text_table

NUM = len(ROWS)
ODD = np.arange(NUM) % 2 == 1
THIRD = np.arange(NUM) % 3 == 0


def p_of(store: MadeUpStore, method: str) -> float:
    (row,) = [row for row in store.rows() if row.method == method]
    return row.p_value


def answered(store: MadeUpStore, method: str, correct: np.ndarray, run_idx: int = 0, **changes: object) -> None:
    """A run that answered as `correct` says."""
    asked = settings(run_idx=run_idx, num_train_examples=changes.get("num_train_examples", 8))
    path = store.adapter(config(method, run_idx, **changes), 100 * float(correct.mean()), 0.5, eval=asked)
    rewrite(path, correct=correct)


def test_interval_and_p_of_a_row_are_over_its_runs_and_examples(store: MadeUpStore) -> None:
    for run_idx, (ours, theirs) in enumerate([(ODD | THIRD, ODD), (ODD, THIRD)]):
        answered(store, "act", ours, run_idx)
        answered(store, "tok", theirs, run_idx)
    tok, act = store.rows()
    ours, theirs = np.stack([ODD | THIRD, ODD]), np.stack([ODD, THIRD])
    interval = bootstrap_interval(ours)
    assert (act.low, act.high) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert act.low < act.accuracy < act.high
    assert act.p_value == paired_permutation_test(ours, theirs)
    assert act.difference == pytest.approx(act.accuracy - tok.accuracy)
    assert math.isnan(tok.p_value)
    assert math.isnan(tok.difference)
    of_pairs = bootstrap_interval(100 * (ours * 1.0 - theirs))
    assert (act.difference_low, act.difference_high) == pytest.approx((of_pairs.low, of_pairs.high))


def test_only_runs_of_the_same_splits_are_compared(store: MadeUpStore) -> None:
    for run_idx in (0, 1):
        answered(store, "tok", ODD, run_idx)
    for run_idx in (1, 2):
        answered(store, "act", ODD | THIRD if run_idx == 1 else ~ODD, run_idx)
    act = next(row for row in store.rows() if row.method == "act")
    assert act.p_value == paired_permutation_test(ODD | THIRD, ODD)
    assert act.difference == pytest.approx(100 * np.mean((ODD | THIRD) * 1.0 - ODD))


def test_methods_of_other_label_budgets_are_compared_and_both_budgets_shown(store: MadeUpStore) -> None:
    """Real runs of `act` use no dev labels."""
    answered(store, "tok", ODD)
    answered(store, "act", ODD | THIRD)
    tok, act = store.rows()
    assert (act.labels, tok.labels, act.tok_labels) == ("8 + 0", "8 + 4", "8 + 4")
    assert act.p_value < 0.1
    text = text_table(store.summary())
    (line,) = (line for line in text.splitlines() if line.startswith("act"))
    assert all(part in line for part in (f"{act.difference:+.1f}", "8 + 0", "8 + 4"))
    assert "8 + 0" in line


def test_the_advice_and_the_table_say_one_p(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    for run_idx, share in enumerate((0.3, 0.5)):
        answered(store, "tok", ODD, run_idx)
        answered(store, "a2t", ODD | (np.arange(NUM) < share * NUM), run_idx)
    p = p_of(store, "a2t")
    summary = store.summary()
    (found,) = advice(summary, examine_records(store.root).found)
    for text in (found.verdict, text_table(summary)):
        assert f"{p:.3f}" in text
    assert ("a tie" in found.verdict) == (p >= 0.05)


@pytest.mark.parametrize("num_better", [0, 2])
def test_few_different_answers_are_not_certain(num_better: int) -> None:
    """By hand: of n = 40, none is worse, so at most 1 - 0.025^(1/n) is; and as many better as Clopper and Pearson."""
    other = np.zeros((1, 40))
    one = (np.arange(40) < num_better)[None].astype(float)
    found = of_scores(one, other)
    assert found.low == pytest.approx(-100 * (1 - 0.025 ** (1 / 40)))
    assert found.high == pytest.approx(100 * binomtest(num_better, 40).proportion_ci(0.95, "exact").high)


def test_18_of_18_right_is_not_certain(store: MadeUpStore) -> None:
    store.base((0.0, 100.0))
    start, teacher = store.rows()
    assert (start.low, start.high) == pytest.approx((0, 100 * (1 - 0.025 ** (1 / NUM))))
    assert (teacher.low, teacher.high) == pytest.approx((100 * 0.025 ** (1 / NUM), 100))


def test_examples_are_matched_by_idx_and_not_by_place(store: MadeUpStore) -> None:
    answered(store, "tok", ODD)
    answered(store, "act", ODD | THIRD)
    expected = p_of(store, "act")
    parquet = store.written[-1].with_suffix(".parquet")
    pd.read_parquet(parquet).sample(frac=1, random_state=0).to_parquet(parquet)
    assert p_of(store, "act") == expected
    assert expected < 0.1


def test_each_pass_has_its_own_answers(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    start, teacher = store.rows()
    assert (start.low, start.high) == pytest.approx((0, 8.8), abs=0.05)
    assert 55 < teacher.low < 75 < teacher.high < 92
    assert math.isnan(teacher.p_value)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "cities"},
        {"lora_r": 16},
        {"num_train_examples": 4},
    ],
    ids=str,
)
def test_another_cell_is_no_reference(store: MadeUpStore, changes: dict) -> None:
    answered(store, "tok", ODD, **changes)
    answered(store, "act", ODD | THIRD)
    assert math.isnan(p_of(store, "act"))
    answered(store, "tok", ODD)
    assert p_of(store, "act") < 0.1


def test_every_adapter_has_a_tok_of_its_own(store: MadeUpStore) -> None:
    answered(store, "tok", ODD | THIRD)
    answered(store, "ia3-tok", ODD)
    answered(store, "ia3-act", ODD | THIRD)
    assert p_of(store, "ia3-act") < 0.1
    assert math.isnan(p_of(store, "ia3-tok"))


def test_of_two_the_tok_of_the_same_label_type_is_compared_with(store: MadeUpStore) -> None:
    """`act` has no label type: it is trained on the teacher's outputs."""
    answered(store, "tok", ODD, label_type="ground_truth")
    answered(store, "tok", ODD | THIRD, label_type="icl_outputs")
    answered(store, "act", ODD | THIRD)
    answered(store, "a2t", ODD | THIRD, label_type="ground_truth")
    assert p_of(store, "act") == 1
    assert p_of(store, "a2t") < 0.1


def test_methods_that_differ_in_fields_of_their_own_are_compared(store: MadeUpStore) -> None:
    answered(store, "tok", ODD)
    answered(store, "act", ODD, layers="4-11")
    assert p_of(store, "act") == 1


def test_a_tok_that_answered_other_examples_is_no_reference(store: MadeUpStore) -> None:
    answered(store, "tok", ODD)
    rewrite(store.written[-1], idx=range(1, NUM + 1))
    answered(store, "act", ODD)
    assert math.isnan(p_of(store, "act"))


def test_runs_of_one_configuration_on_different_examples_are_an_error(store: MadeUpStore) -> None:
    for run_idx in range(2):
        answered(store, "act", ODD, run_idx)
    rewrite(store.written[-1], idx=range(1, NUM + 1))
    with pytest.raises(UserError, match=r"record000\.json and .*record001\.json are runs of one .* different examples"):
        store.rows()
