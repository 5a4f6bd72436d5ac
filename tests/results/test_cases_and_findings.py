from made_up import MadeUpStore, config, settings

from ia2.results.advice import Case, cases, findings


def cases_of(store: MadeUpStore) -> list[Case]:
    return cases(store.summary(), store.selection().records)


def gains(store: MadeUpStore) -> str:
    return " ".join(finding.text for case in cases_of(store) for finding in findings(case))


# Cases


def test_the_teacher_its_start_and_its_students_are_one_case(full_store: MadeUpStore) -> None:
    (case,) = cases_of(full_store)
    assert case.teacher is not None
    assert case.start is not None
    assert (case.title, case.num_labels, case.wrong_labels) == ("capitals", 8, None)
    assert (case.teacher.accuracy, case.start.accuracy, case.teacher.num_examples) == (75.0, 0.0, 40)
    assert [student.method for student in case.students] == ["tok", "act", "a2t"]


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
    assert (case.teacher.accuracy, case.wrong_labels.accuracy) == (70.0, 30.0)


def test_a_second_record_with_uncertainty_counts_once(store: MadeUpStore) -> None:
    for uncertainty in (False, True):
        store.base((0.0, 70.0), eval=settings(uncertainty_analysis=uncertainty))
        store.adapter(config("tok"), 65.0, 0.5, eval=settings(uncertainty_analysis=uncertainty))
    (case,) = cases_of(store)
    assert [student.method for student in case.students] == ["tok"]


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
