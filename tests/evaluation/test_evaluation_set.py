"""Evaluation sets, read from a store, and the grades of responses to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import write_dataset

from ia2 import store
from ia2.commands.data_files import create
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import (
    EvaluationSet,
    EvaluationSpec,
    grade,
    read_evaluation_set,
    with_demonstrations,
)
from ia2.evaluation.metrics import Grades
from ia2.prompts.splits import SplitSpec

INVENTED = [("a fine film", "1"), ("a dull film", "0"), ("good", "1"), ("bad", "0"), ("long", "0"), ("kind", "1")]
SPEC: dict[str, Any] = {"name": "mood", "template": "Text:{text}\nLabel:", "answer_template": "{label}"}
NAMED: dict[str, Any] = {**SPEC, "answer_template": " {label}", "parser": "line"}


def write_labels(root: Path, task: dict[str, Any], labels: tuple[str, ...] = ("0", "1"), mark: str = "") -> None:
    rows = [
        {"idx": i, "question": f"Text:{text}\nLabel:", "answer": mark + label}
        for i, (text, label) in enumerate(INVENTED)
    ]
    task = {"parser": "choice", **task, "labels": dict.fromkeys(labels, "a meaning")}
    content = {"metadata": {"task": task}, "train_examples": rows, "val_examples": rows}
    store.write_json(store.pool_path(root, "mood"), content)


def spec(**changes: Any) -> EvaluationSpec:
    datasets = {"eval_dataset": "mood", "icl_source_dataset": "mood"}
    numbers = {"icl_max_demos": 3, "num_train_examples": 4, "run_idx": 0, "num_generated_tokens_eval": 1}
    return EvaluationSpec(**{**datasets, **numbers, "model_id": "tiny", **changes})


@pytest.fixture
def questions(tmp_path: Path) -> EvaluationSet:
    write_labels(tmp_path, SPEC)
    create(tmp_path, "mood", SplitSpec(4, 0, num_dev_examples=0))
    return read_evaluation_set(tmp_path, "mood", None)


def graded(asked: EvaluationSet, responses: Sequence[str]) -> Grades:
    return grade(asked.spec, [query.answer for query in asked.queries[: len(responses)]], responses)


def test_queries_come_alone(questions: EvaluationSet) -> None:
    assert [prompt.query.question for prompt in questions.prompts] == [f"Text:{text}\nLabel:" for text, _ in INVENTED]
    assert not any(prompt.demonstrations for prompt in questions.prompts)


@pytest.mark.parametrize("pool", ["train", "remaining"])
def test_wrong_labels_change_the_answers_of_the_demonstrations_alone(
    tmp_path: Path, questions: EvaluationSet, pool: str
) -> None:
    right = with_demonstrations(tmp_path, questions, spec(icl_pool=pool))
    wrong = with_demonstrations(tmp_path, questions, spec(icl_pool=pool, control="wrong_labels"))
    assert sum(len(prompt.demonstrations) for prompt in right.prompts) > 5
    assert wrong.queries == right.queries == questions.queries
    for one, other in zip(right.prompts, wrong.prompts, strict=True):
        assert [demo.question for demo in one.demonstrations] == [demo.question for demo in other.demonstrations]
        pairs = zip(one.demonstrations, other.demonstrations, strict=True)
        assert all({a.answer, b.answer} == {"0", "1"} for a, b in pairs)


def test_responses_are_graded_by_label_and_what_is_none_apart(questions: EvaluationSet) -> None:
    grades = graded(questions, ["1", " 1.", "", "0", "either 0 or 1", "maybe"])
    assert grades.parsed == ["1", "1", None, "0", None, None]
    assert grades.correct == [True, False, False, True, False, False]
    assert grades.anywhere == [True, False, False, True, True, False]
    assert grades.gold_labels == [1, 0, 1, 0, 0, 1]
    assert grades.given_labels == [1, 1, -1, 0, -1, -1]


def test_a_readable_response_can_be_no_label(tmp_path: Path) -> None:
    write_labels(tmp_path, NAMED, mark=" ")
    grades = graded(read_evaluation_set(tmp_path, "mood", 3), [" 1", " 2", " 0\nand more"])
    assert grades.parsed == ["1", "2", "0"]
    assert grades.gold_labels == [1, 0, 1]
    assert grades.given_labels == [1, -1, 0]


def test_free_text_has_no_labels(tmp_path: Path) -> None:
    write_dataset(tmp_path, "words", [str(i) for i in range(6)])
    grades = graded(read_evaluation_set(tmp_path, "words", None), ["3", "4", ""])
    assert (grades.gold_labels, grades.given_labels) == ([], [])


@pytest.mark.parametrize(("num", "says"), [(3, r"mood/train/3_0\.json does not exist"), (1, "at least 2 training")])
def test_demonstrations_without_a_split_are_refused(
    tmp_path: Path, questions: EvaluationSet, num: int, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        with_demonstrations(tmp_path, questions, spec(num_train_examples=num))


def test_the_few_shot_condition_never_goes_without_demonstrations(tmp_path: Path, questions: EvaluationSet) -> None:
    create(tmp_path, "mood", SplitSpec(6, 0, num_dev_examples=0))
    with pytest.raises(UserError, match=r"icl_pool=remaining: .*mood/train/6_0\.json leaves no examples"):
        with_demonstrations(tmp_path, questions, spec(num_train_examples=6, icl_pool="remaining"))


@pytest.mark.parametrize("pool", ["train", "remaining"])
def test_other_demonstrations_are_as_many_and_others(tmp_path: Path, pool: str) -> None:
    write_dataset(tmp_path, "words", [str(i) for i in range(60)])
    create(tmp_path, "words", SplitSpec(4, 0, num_dev_examples=2))
    asked, source = read_evaluation_set(tmp_path, "words", None), {"icl_source_dataset": "words", "icl_pool": pool}
    ours = with_demonstrations(tmp_path, asked, spec(**source))
    others = with_demonstrations(tmp_path, asked, spec(**source), others=True)
    assert others == with_demonstrations(tmp_path, asked, spec(**source), others=True)
    assert others.queries == ours.queries
    pairs = zip(ours.prompts, others.prompts, strict=True)
    lists = [(one.demonstrations, other.demonstrations) for one, other in pairs]
    assert all(len(one) == len(other) == 3 and set(one) != set(other) for one, other in lists)
    split = store.read_json(store.split_path(tmp_path, "words", 4, 0))
    used = {example["question"] for part in ("train", "dev") for example in split[part]["examples"]}
    assert not {demo.question for _, other in lists for demo in other} & used
    assert len({other for _, other in lists}) == (1 if pool == "train" else len(lists))


def test_other_demonstrations_are_never_fewer(tmp_path: Path, questions: EvaluationSet) -> None:
    """Six examples, of which four train: two are left, and three are shown."""
    assert len(questions.queries) == 6
    with pytest.raises(UserError, match=r"2 examples of 'mood' are neither .*, 3 are needed"):
        with_demonstrations(tmp_path, questions, spec(), others=True)
    create(tmp_path, "mood", SplitSpec(6, 0, num_dev_examples=0))
    with pytest.raises(UserError, match="0 examples"):
        with_demonstrations(tmp_path, questions, spec(num_train_examples=6, icl_pool="remaining"), others=True)
