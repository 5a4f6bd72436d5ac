import math

import pytest
from made_up import MadeUpStore, config, settings

from ia2.results.cases import Case, cases
from ia2.results.estimates import Estimate, above_majority, accuracy, difference
from ia2.results.findings import findings
from ia2.results.records import read_results
from ia2.results.runs import read_runs
from ia2.results.select import select
from ia2.results.summary import groups, summarise


def cases_of(store: MadeUpStore) -> list[Case]:
    records = read_results(store.root).records
    selection = select(records, read_runs(store.root, records))
    return [case for group in groups(summarise(selection)) for case in cases(group, selection.records)]


def gains(store: MadeUpStore) -> str:
    return " ".join(finding.text for case in cases_of(store) for finding in findings(case))


# Cases


def test_the_teacher_its_start_and_its_students_are_one_case(full_store: MadeUpStore) -> None:
    (case,) = cases_of(full_store)
    assert case.teacher is not None
    assert case.start is not None
    assert (case.title, case.num_labels, case.wrong_labels) == ("capitals", 8, None)
    assert (case.teacher.row.accuracy, case.start.row.accuracy, case.teacher.num_examples) == (75.0, 0.0, 40)
    assert [student.row.method for student in case.students] == ["tok", "act", "a2t"]


def test_models_and_numbers_of_labels_are_cases_of_their_own(store: MadeUpStore) -> None:
    for model, num in (("a", 8), ("b", 8), ("b", 4)):
        changes = {"eval": settings(model_id=model, num_train_examples=num)}
        run = config("tok", num_train_examples=num).model_copy(update={"model_id": model})
        store.base((0.0, 70.0), **changes)
        store.adapter(run, 60.0, 0.5, **changes)
    found = cases_of(store)
    labels = {"capitals, model_id a, N 8": 8, "capitals, model_id b, N 8": 8, "capitals, model_id b, N 4": 4}
    assert {case.title: case.num_labels for case in found} == labels
    assert all(case.start and len(case.students) == 1 for case in found)


def test_students_go_with_every_teacher_whatever_its_demonstrations(store: MadeUpStore) -> None:
    store.base((0.0, 60.0), eval=settings(icl_max_demos=4))
    store.base((0.0, 70.0))
    store.adapter(config("tok"), 65.0, 0.5, eval=settings(icl_max_demos=256, chat_template=False))
    found = cases_of(store)
    assert [case.title for case in found] == ["capitals, icl_max_demos 4", "capitals, icl_max_demos 8"]
    assert [len(case.students) for case in found] == [1, 1]


def test_a_control_is_no_teacher_and_no_case(store: MadeUpStore) -> None:
    store.base((0.0, 30.0), eval=settings(control="wrong_labels"))
    assert cases_of(store) == []
    store.base((0.0, 70.0), eval=settings(control="none"))
    (case,) = cases_of(store)
    assert case.teacher is not None
    assert case.wrong_labels is not None
    assert (case.teacher.row.accuracy, case.wrong_labels.row.accuracy) == (70.0, 30.0)


def test_a_second_record_with_uncertainty_counts_once(store: MadeUpStore) -> None:
    for uncertainty in (False, True):
        store.base((0.0, 70.0), eval=settings(uncertainty_analysis=uncertainty))
        store.adapter(config("tok"), 65.0, 0.5, eval=settings(uncertainty_analysis=uncertainty))
    (case,) = cases_of(store)
    assert [student.row.method for student in case.students] == ["tok"]


# Estimates


def test_a_difference_is_paired_by_hand(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    (case,) = cases_of(store)
    # 30 of 40 queries are gained. With one gained, one lost and 0 beside: 42, sum 30, squares 31
    expected = 100 * math.sqrt((31 / 42 - (30 / 42) ** 2) / 42)
    gain = difference(case.teacher, case.start)
    assert (gain.points, gain.standard_error) == (75.0, pytest.approx(expected))
    assert str(gain) == "+75.0 points (standard error 7.4)"
    # an accuracy: 30 right of 40, half a query of 42 more on either side, 31 of 42
    right = accuracy(case.teacher)
    assert right.standard_error == pytest.approx(100 * math.sqrt((41 / 42 - (20 / 42) ** 2) / 42) / 2)
    # every gold answer occurs once; the first in order, idx 2 (Bamako), is answered right: 29 gained
    above = above_majority(case.teacher)
    assert (above.points, above.standard_error) == (
        72.5,
        pytest.approx(100 * math.sqrt((30 / 42 - (29 / 42) ** 2) / 42)),
    )


def test_equal_queries_cancel_and_runs_add_their_spread(store: MadeUpStore) -> None:
    for run_idx, right in enumerate((70.0, 80.0)):
        changes = {"eval": settings(run_idx=run_idx)}
        store.adapter(config("tok", run_idx), right, 0.5, **changes)
        store.adapter(config("act", run_idx), 75.0, 0.5, **changes)
    (case,) = cases_of(store)
    tok, act = case.students
    # tok differs from act in 2 queries up in half the runs and 2 down: 4 halves squared make 1; sd over runs 7.07
    queries = 1e4 * 2 / 42**2
    assert difference(tok, act).standard_error == pytest.approx(math.sqrt(queries + 50 / 2))


@pytest.mark.parametrize(("points", "above", "below"), [(4.1, True, False), (-4.1, False, True), (3.9, False, False)])
def test_two_standard_errors_are_needed(points: float, above: bool, below: bool) -> None:
    assert (Estimate(points, 2.0).above(), Estimate(points, 2.0).below()) == (above, below)
    shifted = Estimate(points + 10, 2.0)
    assert (shifted.above(10), shifted.below(10)) == (above, below)


# Findings


def test_the_part_of_a_gain_that_is_format_by_hand(full_store: MadeUpStore) -> None:
    # the base model says the answer anywhere in 12.5% and parses right in 0%; act gains 65 points: 12.5 and 52.5
    assert (
        "act (IA2) answers 65.0% right without demonstrations: +65.0 points, of which up to 12.5 may be format and at "
        "least 52.5 are more."
    ) in gains(full_store)


def test_format_is_never_more_than_the_gain(store: MadeUpStore) -> None:
    store.base((10.0, 75.0))
    store.adapter(config("tok"), 15.0, 0.5)
    assert "+5.0 points, of which up to 5.0 may be format and at least 0.0 are more" in gains(store)


def test_no_gain_is_told_without_a_start(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 15.0, 0.5)
    assert gains(store) == ""
