"""Each rule by hand, on made-up stores of 40 evaluation examples (the interval of 75% is then 62.5 to 87.5)."""

import json

import pytest
from made_up import MadeUpStore, config, rewrite, settings

from ia2.results.advice import RULES, Advice, advice, advice_text

HALVES = ["yes"] * 20 + ["no"] * 20


def advice_of(store: MadeUpStore) -> Advice:
    (found,) = advice(store.summary(), store.selection().records)
    return found


def told(store: MadeUpStore) -> str:
    return advice_text([advice_of(store)])


def three_runs(store: MadeUpStore, method: str, accuracies: tuple[float, ...]) -> None:
    for run_idx, accuracy in enumerate(accuracies):
        store.adapter(config(method, run_idx), accuracy, 0.5, eval=settings(run_idx=run_idx))


# The rules


@pytest.mark.parametrize(
    ("num", "majority", "num_labels", "place"),
    [
        (19, 2.5, 8, 0),
        (20, 2.5, 8, 4),
        (40, 80.0, 8, 1),
        (40, 65.1, 8, 2),
        (40, 65.0, 8, 4),
        (40, 2.5, 3, 3),
        (40, 2.5, 4, 4),
        (40, 2.5, 16, 4),
        (40, 2.5, 17, 5),
    ],
)
def test_the_first_rule_that_holds_counts(
    store: MadeUpStore, num: int, majority: float, num_labels: int, place: int
) -> None:
    changes = {
        "num_examples": num,
        "majority_class_accuracy": majority,
        "eval": settings(num_train_examples=num_labels),
    }
    store.base((0.0, 75.0), **changes)
    found, rule = advice_of(store), RULES[place]
    assert found.method == rule.choice == (None, None, "tok", "act", "a2t", "a2t")[place]
    facts = f"N = {num_labels}, n = {num}, teacher 75.0%, 0.0% without demonstrations, most frequent answer {majority}%"
    head = f"Reasonable: {rule.choice}" if rule.choice else "No recommendation"
    assert found.verdict.startswith(f"{head}, given {rule.when} ({facts}): {rule.because}.")


@pytest.mark.parametrize(
    ("accuracies", "reason", "thin"),
    [
        ((0.0, 30.0), "fewer than 50%", False),  # an interval of 17.5 to 45
        ((0.0, 40.0), "fewer than 50%", True),
        ((70.0, 75.0), "+5.0 points", True),  # 2 of 40 gained: 0 to 12.5
        ((80.0, 75.0), "-5.0 points", False),
        ((70.0, 55.0), "-15.0 points", False),  # certain, whatever 55% are worth
        ((50.0, 70.0), "", True),  # +20, of which 10 are wanted; 8 of 40 gained: 7.5 to 32.5
        ((0.0, 70.0), "", False),
    ],
)
def test_a_weak_teacher_is_called_weak_and_thin_evidence_thin(
    store: MadeUpStore, accuracies: tuple[float, float], reason: str, thin: bool
) -> None:
    store.base(accuracies)
    text = told(store)
    assert ("As a teacher it is weak" in text) == bool(reason)
    assert ("The teacher is good enough" in text) == (not reason)
    assert reason in text
    assert advice_of(store).method == ("tok" if reason else "a2t")
    assert ("The evidence is thin: at n = 40 evaluation examples" in text) == thin


def test_a_teacher_of_one_answer_is_weak_and_so_is_no_student(store: MadeUpStore) -> None:
    content = store.content("base", None, 0, {"without_icl_accuracy": 0.0, "with_icl_accuracy": 70.0})
    content["metrics"]["with_icl_label_accuracy"] = 70.0
    rewrite(store.write(content, "base", ""), gold=HALVES * 2, parsed=(["yes"] * 36 + ["no"] * 4) * 2)
    rewrite(store.adapter(config("act"), 50.0, 0.5), gold=HALVES, parsed=["no"] * 37 + [None] * 3)
    rewrite(store.adapter(config("tok"), 50.0, 0.5), gold=HALVES, parsed=["no"] * 35 + ["yes"] * 5)
    text = told(store)
    assert "weak: 90% of its answers are “yes”, while no gold answer has more than 50%." in text
    assert "! act (IA2) has collapsed: 92% of its answers are “no”" in text
    assert "tok (SFT) has collapsed" not in text
    assert "guessing among the 2 labels that occur 50.0%" in text


def test_near_one_class_macro_f1_is_shown_where_it_was_measured(store: MadeUpStore) -> None:
    content = store.content("base", None, 0, {"without_icl_accuracy": 0.0, "with_icl_accuracy": 97.5})
    content |= {"majority_class_accuracy": 95.0}
    path = store.write(content, "base", "")
    assert "! The evaluation is near one class (95.0% of it" in told(store)
    assert "compare macro F1 (not in these records)" in told(store)
    content["metrics"]["with_icl_macro_f1"] = 0.487
    path.write_text(json.dumps(content))
    assert "compare macro F1 (Base + demonstrations (teacher) 0.49)" in told(store)
    assert "guessing" not in told(store)


# What was measured against what the rule says


def test_a_clear_difference_wins(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    three_runs(store, "a2t", (50.0, 50.0, 50.0))
    three_runs(store, "tok", (75.0, 75.0, 75.0))
    found = advice_of(store)
    # 10 of 40 queries, all with one sign: 2 of 2^10 patterns are as far
    assert found.method == "tok"
    assert found.verdict.startswith("Reasonable: tok, though a good teacher and 4 to 16 labels (N = 8, ")
    assert "The measurement decides: a2t (IA2 → SFT) 50.0% against tok (SFT) 75.0%: -25.0 points" in found.verdict
    assert found.verdict.endswith(", p 0.002 (3 runs, 40 examples), labels 8 + 4 against 8 + 4.")


def test_a_difference_that_chance_explains_is_a_tie(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    three_runs(store, "a2t", (70.0, 70.0, 70.0))
    three_runs(store, "tok", (75.0, 75.0, 75.0))
    three_runs(store, "act", (60.0, 60.0, 60.0))
    found = advice_of(store)
    assert found.method == "a2t"
    assert "Measured, it is a tie: a2t (IA2 → SFT) 70.0% against tok (SFT) 75.0%: -5.0 points" in found.verdict


def test_a_measurement_can_agree_and_single_runs_are_said(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    store.adapter(config("a2t"), 80.0, 0.5)
    store.adapter(config("tok"), 50.0, 0.5)
    verdict = advice_of(store).verdict
    assert "The measurement agrees: a2t (IA2 → SFT) 80.0% against tok (SFT) 50.0%: +30.0 points" in verdict
    assert verdict.endswith("Single runs hide how much runs differ.")


def test_what_the_rule_says_may_not_be_measured(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    assert advice_of(store).verdict.endswith("measured: train and evaluate a2t and another method to know.")
    store.adapter(config("tok"), 70.0, 0.5)
    assert advice_of(store).method == "a2t"
    assert advice_of(store).verdict.endswith("a2t was not measured; the best that was is tok (SFT) 70.0%.")


@pytest.mark.parametrize(
    ("a2t", "method", "says"),
    [
        (80.0, "a2t", "The measurement decides"),
        (55.0, None, "Measured, it is a tie"),
        (None, None, "Of the adapters only"),
    ],
)
def test_without_a_teacher_only_measurements_speak(
    store: MadeUpStore, a2t: float | None, method: str | None, says: str
) -> None:
    store.adapter(config("tok"), 50.0, 0.5)
    if a2t is not None:
        store.adapter(config("a2t"), a2t, 0.5)
    found = advice_of(store)
    assert found.method == method
    assert f", without a teacher measured. {says}" in found.verdict
    assert found.findings[0].text.endswith("was not measured: nothing is said of it.")
    assert "good enough" not in told(store)


# What it rests on


def test_what_was_not_measured_is_said_and_never_invented(store: MadeUpStore) -> None:
    metrics = {"with_icl_accuracy": 75.0}
    content = store.content("base", None, 0, metrics) | {"majority_class_accuracy": None, "ece_floor": {}}
    store.write(content, "base", "")
    text = told(store)
    assert "Without demonstrations it was not measured" in text
    assert "The evidence is thin: what demonstrations add was not measured." in text
    assert "The teacher's calibration was not measured." in text
    assert "control=wrong_labels" in text
    assert "most frequent" not in text
    assert "nan" not in text


@pytest.mark.parametrize(("ece", "believed"), [(0.15, True), (0.17, False)])
def test_calibration_is_held_against_its_floor(store: MadeUpStore, ece: float, believed: bool) -> None:
    content = store.content("base", None, 0, {"with_icl_accuracy": 75.0, "with_icl_ece_equal_count": ece})
    store.write(content, "base", "")  # the floor is 0.11
    text = told(store)
    assert f"The teacher's calibration error is {ece:.2f}; a calibrated model would show 0.11 at this n" in text
    assert ("no evidence against its confidence" in text) == believed
    assert ("! The teacher's calibration" in text) == (not believed)


@pytest.mark.parametrize(("wrong", "matter"), [(40.0, True), (70.0, False)])
def test_wrong_labels_tell_labels_from_format(store: MadeUpStore, wrong: float, matter: bool) -> None:
    store.base((0.0, 75.0))
    store.base((0.0, wrong), eval=settings(control="wrong_labels"))
    text = told(store)
    assert f"the teacher answers {wrong}% right, with the right ones 75.0%: +{75 - wrong} points" in text
    assert ("The labels matter" in text) == matter
    assert ("no clear difference" in text) == (not matter)


def test_labels_used_stand_beside_those_there_are(full_store: MadeUpStore) -> None:
    text = told(full_store)
    assert (
        "There are N = 8 labels to learn from. Used, for training (or as demonstrations) + dev: tok (SFT) 8 + 4" in text
    )


def test_the_demo_reads_as_one_would_tell_it(full_store: MadeUpStore) -> None:
    lines = told(full_store).splitlines()
    assert lines[0] == "capitals"
    assert lines[1].startswith("Reasonable: a2t, given a good teacher and 4 to 16 labels (N = 8, n = 40, teacher 75.0%")
    assert "a2t (IA2 → SFT) 85.0% against tok (SFT) 75.0%: +10.0 points" in lines[1]
    assert "n = 40 evaluation examples, 3 runs), and 0.0% without them: +75.0 points" in lines[2]
    assert {line[0] for line in lines[2:]} == {"-", "!"}


def test_the_figures_of_the_paper_are_counted_right() -> None:
    """tok, act and a2t of the paper's table for Qwen3-4B-Base, N = 4, and the ECE of tok and a2t where there is one."""
    table = [
        (65.2, 82.7, 90.4), (68.4, 71.3, 82.4), (56.5, 62.4, 68.4), (67.4, 63.1, 78.7), (27.9, 24.0, 31.8),
        (88.3, 90.4, 91.7), (76.5, 71.2, 79.4), (52.4, 62.2, 62.4), (70.9, 77.4, 73.6), (64.5, 66.2, 68.8),
        (50.4, 47.8, 55.3), (35.0, 6.9, 40.8),
    ]  # fmt: skip
    errors = [(22, 6), (30, 11), (33, 30), (31, 16), (52, 35), (7, 5), (9, 8), (29, 29)]
    over_tok, over_act = sum(a2t > tok for tok, _, a2t in table), sum(a2t > act for _, act, a2t in table)
    better = sum(a2t < tok for tok, a2t in errors)
    assert f"than tok on {over_tok} of {len(table)} evaluations and than act on {over_act}" in RULES[4].because
    assert f"below that of tok on {better} of {len(errors)}" in RULES[4].because
