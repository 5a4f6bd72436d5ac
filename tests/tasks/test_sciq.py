"""SciQ: the order of its choices, and its two ways of being asked."""

from collections import Counter
from pathlib import Path

import pytest
from hub_layout import Objects, write_file

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.parsers import parse

HUB = "allenai/sciq"
# The row that https://huggingface.co/datasets/allenai/sciq shows.
CARD_ROW = {
    "question": "What phenomenon makes global winds blow northeast to southwest or the reverse in the northern "
    "hemisphere and northwest to southeast or the reverse in the southern hemisphere?",
    "distractor3": "tropical effect",
    "distractor1": "muon effect",
    "distractor2": "centrifugal effect",
    "correct_answer": "coriolis effect",
    "support": "Without Coriolis Effect the global winds would blow north to south or south to north. But Coriolis "
    "makes them blow northeast to southwest or the reverse in the Northern Hemisphere. The winds blow northwest to "
    "southeast or the reverse in the southern hemisphere.",
}


def invented(question: str, support: str = "") -> dict[str, str]:
    distractors = {f"distractor{number}": f"wrong {number}" for number in (1, 2, 3)}
    return {"question": question, "correct_answer": "right", "support": support, **distractors}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    write_file(tmp_path, HUB, "validation", [CARD_ROW])
    return tmp_path


def loaded(data: Path, name: str, train: Objects) -> list[tuple[str, str]]:
    write_file(data, HUB, "train", train)
    spec = task(name).spec
    return [(spec.question(row), spec.answer(row)) for row in task(name).load().train]


def test_sciq_in_its_three_forms(data: Path) -> None:
    asked = CARD_ROW["question"]
    assert loaded(data, "sciq", [CARD_ROW]) == [
        (
            f"Question:{asked}\nChoices:\n[0]muon effect\n[1]tropical effect\n[2]coriolis effect\n"
            "[3]centrifugal effect\n\nAnswer:",
            "2",
        )
    ]
    assert loaded(data, "sciq_hard", [CARD_ROW]) == [
        (f"{asked}:::muon effect::tropical effect::coriolis effect::centrifugal effect:", "2")
    ]
    assert loaded(data, "sciq_remap", [CARD_ROW]) == [
        (
            f"Question:{asked}\nChoices:\n[apple]muon effect\n[Friday]tropical effect\n[banana]coriolis effect\n"
            "[Saturday]centrifugal effect\n\nAnswer:",
            "banana",
        )
    ]
    assert task("sciq_remap").spec.labels == {
        "apple": "choice 0",
        "Friday": "choice 1",
        "banana": "choice 2",
        "Saturday": "choice 3",
    }


def test_the_order_is_the_questions_own(data: Path) -> None:
    """Pinned: whoever changes the seed changes every file that was ever prepared."""
    rows = [invented(question) for question in ("What is red?", "What is blue?", "What is green?")]
    shown = [question.splitlines()[2:6] for question, _ in loaded(data, "sciq", rows)]
    assert shown == [
        ["[0]right", "[1]wrong 2", "[2]wrong 1", "[3]wrong 3"],
        ["[0]wrong 2", "[1]right", "[2]wrong 1", "[3]wrong 3"],
        ["[0]right", "[1]wrong 3", "[2]wrong 2", "[3]wrong 1"],
    ]
    assert [question.splitlines()[2:6] for question, _ in loaded(data, "sciq", rows[::-1])] == shown[::-1]


def test_the_right_answer_stands_everywhere_alike(data: Path) -> None:
    shown = loaded(data, "sciq", [invented(f"What is number {number}?") for number in range(400)])
    for question, answer in shown:
        assert f"[{answer}]right\n" in question
    counts = Counter(answer for _, answer in shown)
    # Expected 100 each, with a standard deviation of sqrt(400 * 1/4 * 3/4) = 8.7: three of them.
    assert set(counts) == {"0", "1", "2", "3"}
    assert all(74 <= count <= 126 for count in counts.values())


def test_sciqa_answers_with_its_support(data: Path) -> None:
    rows = [invented("What is red?", support="Blood is red.\n\nSo is rust. \n"), invented("What is blue?")]
    shown = loaded(data, "sciqa", rows)
    assert shown == [
        ("Question:What is red?\nAnswer:", "Blood is red.\nSo is rust.\n#### right"),
        ("Question:What is blue?\nAnswer:", "#### right"),
    ]
    spec = task("sciqa").spec
    assert [parse(answer, spec) for _, answer in shown] == ["right", "right"]
    assert (spec.parser, spec.num_generated_tokens, spec.labels) == ("after_marker", 200, {})


def test_sciqa_hard_is_the_answer_alone(data: Path) -> None:
    assert loaded(data, "sciqa_hard", [CARD_ROW]) == [(f"{CARD_ROW['question']}:::", "coriolis effect")]
    spec = task("sciqa_hard").spec
    assert (spec.parser, spec.num_generated_tokens) == ("line", 8)
    with pytest.raises(UserError, match="sciqa answers in free text: it has no labels to remap"):
        task("sciqa_remap")


def test_a_row_without_a_distractor_is_named(data: Path) -> None:
    with pytest.raises(UserError, match=r"sciq/train\.jsonl, row 2: the column 'distractor2' holds NoneType"):
        loaded(data, "sciq", [CARD_ROW, invented("?") | {"distractor2": None}])
