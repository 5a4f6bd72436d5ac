"""MathQA: its choices are one string."""

from pathlib import Path

import pytest
from hub_layout import write_file

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.datasets.mathqa import options_of

HUB = "allenai/math_qa"
# The row that https://huggingface.co/datasets/allenai/math_qa shows.
CARD_ROW = {
    "Problem": "a multiple choice test consists of 4 questions , and each question has 5 answer choices . in how many "
    "r ways can the test be completed if every question is unanswered ?",
    "options": "a ) 24 , b ) 120 , c ) 625 , d ) 720 , e ) 1024",
    "correct": "c",
}


# The first is quoted as above; the second and the list are those of the test of tensorflow_datasets' own reader,
# https://github.com/tensorflow/datasets/tree/master/tensorflow_datasets/datasets/math_qa; the others are invented.
@pytest.mark.parametrize(
    ("text", "options"),
    [
        (CARD_ROW["options"], ["24", "120", "625", "720", "1024"]),
        ("a ) 1 , 2 , b )3 , c ) none of these", ["1 , 2", "3", "none of these"]),
        ("['a ) 1 , 2', 'b )3', 'c ) none of these']", ["1 , 2", "3", "none of these"]),
        ("[\"a ) the man ' s\", 'b ) none']", ["the man ' s", "none"]),
        (
            "a ) 38 , b ) 27.675 , c ) 30 , d ) data inadequate , e ) none of these",
            ["38", "27.675", "30", "data inadequate", "none of these"],
        ),
        ("a ) rs . 1,024 , b ) rs . 2,048", ["rs . 1,024", "rs . 2,048"]),
        ("a ) $ 1 , 024 , b ) $ 2 , 048 , c ) $ 4 , 096", ["$ 1 , 024", "$ 2 , 048", "$ 4 , 096"]),
        ("a ) 3 hours , 5 min , b ) 4 hours", ["3 hours , 5 min", "4 hours"]),
        ("a ) 5 ( a + b ) , b ) 2 ( b ) , c ) ( a , b )", ["5 ( a + b )", "2 ( b )", "( a , b )"]),
        ("a ) ( 1 , b ) 2 , c ) 3", ["( 1", "2", "3"]),
        ("a )5,b )6,c )7", ["5", "6", "7"]),
        ("a) 5 , b) 6", ["5", "6"]),
        (" a ) 1 / 2 , b ) - 3 , c ) 2 ^ 5 ", ["1 / 2", "- 3", "2 ^ 5"]),
        ("a ) i and ii , b ) ii , c ) , d ) all", ["i and ii", "ii", "", "all"]),
        ("a ) comb ) 5 , b ) 6", ["comb ) 5", "6"]),
        ("a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) e ) 5", ["1", "2", "3", "4", "e ) 5"]),
    ],
)
def test_options(text: str, options: list[str]) -> None:
    assert options_of(text) == options


@pytest.mark.parametrize("text", ["", "24 , 120 , 625", "b ) 1 , c ) 2", "so a ) 1 , b ) 2"])
def test_options_that_do_not_begin(text: str) -> None:
    with pytest.raises(ValueError, match=r"options '.*' do not begin with 'a \)'"):
        options_of(text)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    write_file(tmp_path, HUB, "test", [CARD_ROW])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "question", "answer"),
    [
        ("mathqa", "Question:how many ?\nChoices:\n[0]1 , 024\n[1]5\n[2]none\n\nAnswer:", "1"),
        ("mathqa_hard", "how many ?:::1 , 024::5::none:", "1"),
        ("mathqa_remap", "Question:how many ?\nChoices:\n[apple]1 , 024\n[Friday]5\n[banana]none\n\nAnswer:", "Friday"),
    ],
)
def test_the_three_forms(data: Path, name: str, question: str, answer: str) -> None:
    row = {"Problem": "how many ?", "options": "a ) 1 , 024 , b ) 5 , c ) none", "correct": "b"}
    write_file(data, HUB, "train", [row])
    spec, rows = task(name).spec, task(name).load()
    assert [(spec.question(row), spec.answer(row)) for row in rows.train] == [(question, answer)]
    assert (len(rows.validation), len(spec.labels)) == (1, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct": "f"}, "correct is 'f'; a letter from a to e is needed"),
        ({"correct": "ab"}, "correct is 'ab'"),
        ({"correct": "e", "options": "a ) 1 , b ) 2"}, "unknown label '4'; known: 0, 1"),
        ({"options": "['a ) 1', "}, "cannot be read"),
        ({"options": "a ) 1"}, "1 choices; 2 to 5 are expected"),
        ({"options": "['1', '2', '3', '4', '5', '6']"}, "6 choices; 2 to 5 are expected"),
    ],
)
def test_a_bad_row_is_named(data: Path, change: dict[str, str], message: str) -> None:
    write_file(data, HUB, "train", [CARD_ROW, CARD_ROW | change])
    with pytest.raises(UserError, match=rf"math_qa/train\.jsonl, row 2: .*{message}"):
        task("mathqa").load()
