"""The tables of a task file that say what a row is: columns, label map, choices, forms, and the rows held out."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.items import held_out
from ia2.tasks.own_rows import read_task
from ia2.tasks.registry import DATASETS
from ia2.tasks.task_files import FileSource, checked_task_file, parsed, read_task_file

SENTENCES: dict[str, Any] = {
    "name": "mine",
    "template": "Text:{sentence}\nLabel:",
    "answer": "{label}",
    "parser": "choice",
    "num_generated_tokens": 1,
    "labels": {"0": "bad", "1": "good"},
    "columns": {"sentence": "body", "label": "stars"},
    "label_map": {"1": "0", "3": "", "5": "1"},
    "source": {"file": "rows.jsonl", "keep": {"language": "en"}, "hold_out": "last", "num_validation": 1},
}
ROWS = [
    {"body": f"{language} {stars} {number}", "stars": stars, "language": language}
    for number in range(2)
    for stars in (1, 3, 5)
    for language in ("en", "fr")
]
QUESTIONS: dict[str, Any] = {
    "name": "quiz",
    "template": "{q}\n{choices}\nAnswer:",
    "answer": "{key}",
    "parser": "choice",
    "num_generated_tokens": 1,
    "labels": {"0": "", "1": ""},
    "choices": {"texts": "options.text", "keys": "options.label", "most": 3, "only": 2},
    "source": {"file": "rows.jsonl", "hold_out": "all"},
}
OPTIONS = [
    {
        "q": f"q{number}",
        "key": "a" if number == 2 else "b",
        "options": {"text": list("xyz")[:size], "label": list("abc")[:size]},
    }
    for number, size in enumerate((2, 3, 2, 2))
]


def loaded(folder: Path, described: dict[str, Any], rows: list[dict[str, Any]]) -> list[list[tuple[str, str]]]:
    """Prompts and answers of the training rows, and of those for validation."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mine.json").write_text(json.dumps(described))
    found = read_task(folder / "mine.json")
    parts = found.load()
    return [
        [(found.spec.question(row), found.spec.answer(row)) for row in part] for part in (parts.train, parts.validation)
    ]


def test_columns_labels_and_kept_rows_of_a_persons_file(tmp_path: Path) -> None:
    train, validation = loaded(tmp_path, SENTENCES, ROWS)
    assert train == [
        ("Text:en 1 0\nLabel:", "0"),
        ("Text:en 5 0\nLabel:", "1"),
        ("Text:en 1 1\nLabel:", "0"),
    ]
    assert validation == [("Text:en 5 1\nLabel:", "1")]
    with pytest.raises(UserError, match=r"rows\.jsonl, row 13: unknown label '2'; known: 1, 3, 5 \(task file"):
        loaded(tmp_path, SENTENCES, [*ROWS, {"body": "x", "stars": 2, "language": "en"}])


def test_choices_of_a_persons_file_in_each_form(tmp_path: Path) -> None:
    train, validation = loaded(tmp_path, QUESTIONS, OPTIONS)
    assert train == []
    assert [question[:2] for question, _ in validation] == ["q0", "q2", "q3"]
    assert validation[0] == ("q0\n[0]x\n[1]y\nAnswer:", "1")
    assert loaded(tmp_path, {**QUESTIONS, "form": "hard"}, OPTIONS)[1][0] == ("q0:::x::y:", "1")
    assert loaded(tmp_path, {**QUESTIONS, "form": "remap"}, OPTIONS)[1][0] == (
        "q0\n[apple]x\n[Friday]y\nAnswer:",
        "Friday",
    )


def test_the_answer_alone_is_behind_the_last_marker(tmp_path: Path) -> None:
    hard = {"parser": "number", "num_generated_tokens": 4, "answer_after": "####"}
    described = {**SENTENCES, "labels": {}, "label_map": {}, "parser": "number", "form": "hard", "hard": hard}
    rows = [row | {"stars": f"1 #### 2\n#### {row['stars']} "} for row in ROWS]
    assert loaded(tmp_path, described, rows)[0][1] == ("en 3 0:::", "3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_map": {"1": "9"}}, r"\[label_map\] maps to '9', which is none of \[labels\]"),
        ({"labels": {}, "label_map": {}, "parser": "line", "form": "remap"}, "remap needs 1 to 8 labels"),
        ({"labels": {}, "label_map": {}, "parser": "line", "answer": "{a} {b}", "form": "hard"}, "hard has one column"),
        ({"choices": {"texts": "x"}}, r"\[choices\] are shown where the template has {choices}"),
        ({"source": {"file": "a", "hold_out": "all", "num_validation": 2}}, 'hold_out = "all" and num_validation both'),
        ({"source": {"hub": "a/b", "hold_out": "last", "validation": "dev"}}, "hold_out = \"last\" and 'dev' both"),
        ({"hard": {"parser": "line"}}, "the field hard.num_generated_tokens is missing"),
        (
            {"about": {"license": ""}},
            r"unknown field about.license \(did you mean 'licence'\?\); valid: family, source",
        ),
    ],
)
def test_tables_that_contradict_each_other(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_task_file("mine.toml", SENTENCES | change)


@pytest.mark.parametrize("name", [name for name, file in DATASETS.items() if file.endswith(".toml")])
def test_a_built_in_task_file_can_be_copied_under_another_name(name: str, tmp_path: Path) -> None:
    text = (files("ia2.tasks.datasets") / DATASETS[name]).read_text(encoding="utf-8")
    copy = tmp_path / "copy.toml"
    copy.write_text(text.replace(f'name = "{name}"', 'name = "copy"', 1), encoding="utf-8")
    copied = task(str(copy))
    assert copied.spec == task(name).spec.model_copy(update={"name": "copy"})
    assert (copied.example, copied.source, copied.size) == (task(name).example, task(name).source, task(name).size)
    as_json = tmp_path / "copy.json"
    as_json.write_text(json.dumps(parsed(copy.read_text(encoding="utf-8"), ".toml")))
    assert read_task_file(as_json) == read_task_file(copy)


def test_rows_held_out() -> None:
    rows = [*"0123456789"]
    # random.Random(42).shuffle(list(range(10))) is 7 3 2 8 5 6 9 4 0 1
    shuffled = FileSource(file="t", hold_out="shuffled", num_validation=3)
    assert held_out(rows, shuffled) == ([*"7328569"], [*"401"])
    assert held_out(rows, FileSource(file="t", hold_out="last")) == ([*"01234"], [*"56789"])
    assert held_out(rows, FileSource(file="t", hold_out="all")) == ([], rows)
    with pytest.raises(UserError, match="num_validation = 9 of 10 rows; at most 8 are possible"):
        held_out(rows, FileSource(file="t", hold_out="last", num_validation=9))
