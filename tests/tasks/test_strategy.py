"""strategytf and strategyreason, from rows in the hub's format: through a file, and through `datasets` itself.

The rows are quoted from https://github.com/wicsaax/strategy-qa strategyQA_train.json, from which the hub's are made.
"""

from pathlib import Path

import pytest
from hub_layout import Objects, write_file, write_repository

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.parsers import parse

HUB = "wics/strategy-qa"
ROWS: Objects = [
    {
        "question": "Can you buy Casio products at Petco?",
        "answer": False,
        "facts": [
            "Casio is a manufacturer of consumer electronics and watches",
            "Petco is a chain store that sells pet supplies like food, bowls, litter, toys, cages and grooming "
            "equipment",
        ],
    },
    {
        "question": "Would the top of Mount Fuji stick out of the Sea of Japan? ",
        "answer": True,
        "facts": [
            "The average depth of the Sea of Japan is  5,748 feet (1,752 metres) and its maximum depth is 12,276 feet "
            "(3,742 metres)",
            "Mount Fuji is 3,776.24 metres (12,389.2 ft) tall. ",
        ],
    },
]
CASIO, FUJI = "Can you buy Casio products at Petco?", "Would the top of Mount Fuji stick out of the Sea of Japan?"
CASIO_FACTS = (
    "Casio is a manufacturer of consumer electronics and watches Petco is a chain store that sells pet supplies like "
    "food, bowls, litter, toys, cages and grooming equipment"
)
FUJI_FACTS = (
    "The average depth of the Sea of Japan is 5,748 feet (1,752 metres) and its maximum depth is 12,276 feet "
    "(3,742 metres) Mount Fuji is 3,776.24 metres (12,389.2 ft) tall."
)
PROMPTS = (f"Question:{CASIO}\nAnswer:", f"Question:{FUJI}\nAnswer:")
BARE = (f"{CASIO}:::", f"{FUJI}:::")
EXPECTED = {
    "strategytf": (PROMPTS, ("0", "1"), ("choice", 1)),
    "strategytf_hard": (BARE, ("0", "1"), ("choice", 1)),
    "strategytf_remap": (PROMPTS, ("apple", "Friday"), ("choice", 4)),
    "strategyreason": (
        PROMPTS,
        (f"{CASIO_FACTS}\n#### false", f"{FUJI_FACTS}\n#### true"),
        ("after_marker", 200),
    ),
    "strategyreason_hard": (BARE, ("false", "true"), ("line", 4)),
}


def check(name: str) -> None:
    questions, answers, reading = EXPECTED[name]
    rows, spec = task(name).load(), task(name).spec
    assert (len(rows.train), len(rows.validation)) == (1, 1)
    assert tuple(spec.question(row) for row in (*rows.train, *rows.validation)) == questions
    assert tuple(spec.answer(row) for row in (*rows.train, *rows.validation)) == answers
    assert (spec.parser, spec.num_generated_tokens) == reading


@pytest.mark.parametrize("name", EXPECTED)
def test_every_form_to_the_character(name: str, offline: Path) -> None:
    write_file(offline, HUB, "test", ROWS)
    check(name)


def test_through_datasets_itself(hub_folders: Path) -> None:
    write_repository(hub_folders, HUB, "test", ROWS)
    for name in EXPECTED:
        check(name)


@pytest.mark.parametrize("name", ["strategyreason", "strategyreason_hard"])
def test_what_is_read_is_the_truth_alone(name: str) -> None:
    spec = task(name).spec
    assert [parse(answer, spec) for answer in EXPECTED[name][1]] == ["false", "true"]


def test_free_text_has_no_labels_to_remap() -> None:
    with pytest.raises(UserError, match="strategyreason answers in free text"):
        task("strategyreason_remap")


def test_the_last_500_are_held_out(offline: Path) -> None:
    rows = [{"question": f"Invented {number}?", "answer": number % 2 == 0, "facts": []} for number in range(1100)]
    write_file(offline, HUB, "test", rows)
    found = task("strategytf").load()
    assert [row["question"] for row in found.train] == [f"Invented {number}?" for number in range(600)]
    assert [row["question"] for row in found.validation] == [f"Invented {number}?" for number in range(600, 1100)]


def test_a_truth_written_as_a_word_is_the_same(offline: Path) -> None:
    write_file(offline, HUB, "test", [{**ROWS[0], "answer": "False"}, {**ROWS[1], "answer": "true"}])
    check("strategytf")
    check("strategyreason")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("strategytf", {"answer": "maybe"}, "unknown label 'maybe'; known: false, true"),
        ("strategyreason", {"answer": 1}, "unknown label '1'; known: false, true"),
        ("strategyreason", {"facts": "one text"}, "the column 'facts' holds str; a list of texts is needed"),
        ("strategytf", {"question": None}, "the column 'question' holds NoneType"),
    ],
)
def test_a_row_of_another_kind_is_named(name: str, change: dict[str, object], message: str, offline: Path) -> None:
    write_file(offline, HUB, "test", [ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(UserError, match=rf"wics__strategy-qa/test\.jsonl, row 2: {message}"):
        task(name).load()
