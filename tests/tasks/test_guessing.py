"""Guessed task files: which columns, which parser, how many tokens, and that the guess can be written and used."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas
import pytest

from ia2.errors import UserError
from ia2.tasks import guessing
from ia2.tasks.guessing import Guess, guess_task, num_answer_tokens
from ia2.tasks.own_rows import read_task
from ia2.tasks.parsers import parse
from ia2.tasks.sampling import Bounds
from ia2.tasks.task_file_text import task_file_text
from ia2.tasks.task_files import read_task_file

TEXTS = [f"the {number}th ticket says that something is wrong" for number in range(50)]
KINDS = [("billing", "tech", "other")[number % 3] for number in range(50)]


def guessed(at: Path, columns: Mapping[str, Sequence[object]], file: str = "t.csv", /, **given: object) -> Guess:
    pandas.DataFrame(columns).to_csv(at / file, index=False)
    return guess_task(at / file, **given)  # type: ignore[arg-type]


def test_texts_and_labels(tmp_path: Path) -> None:
    guess = guessed(tmp_path, {"id": range(50), "text": TEXTS, "label": KINDS}, "tickets.csv")
    described = guess.task_file
    assert (described.name, described.template, described.answer) == ("tickets", "Text:{text}\nLabel:", " {label}")
    assert described.labels == {"billing": "billing", "other": "other", "tech": "tech"}
    assert (described.parser, described.num_generated_tokens, described.source.num_validation) == ("choice", 4, 15)
    assert guess.sentences == (
        "column 'text' is the text: the longest, 44 characters on average; left out: 'id'",
        "column 'label' is the answer: it has a usual name",
        "'label' holds 3 different values over 50 rows: a closed set of labels, read by parser 'choice'",
        "num_generated_tokens = 4: the longest answer has 7 characters",
        "num_validation = 15: about 30% of 50 rows, at most 500, are held out",
    )


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_guess_can_be_written_read_and_used(tmp_path: Path, suffix: str) -> None:
    guess = guessed(tmp_path, {"text": TEXTS, "label": KINDS})
    path = tmp_path / f"t{suffix}"
    path.write_text(task_file_text(guess.task_file, guess.sentences, suffix))
    assert read_task_file(path) == guess.task_file
    rows = read_task(path).load()
    assert (len(rows.train), len(rows.validation)) == (35, 15)


def test_a_task_file_elsewhere_finds_the_rows(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    guess = guessed(tmp_path, {"text": TEXTS, "label": KINDS}, folder=tmp_path / "tasks")
    (tmp_path / "tasks" / "t.toml").write_text(task_file_text(guess.task_file))
    assert guess.task_file.model_dump()["source"]["file"] == "../t.csv"
    assert len(read_task(tmp_path / "tasks" / "t.toml").load().train) == 35


def test_a_usual_name_goes_before_few_values(tmp_path: Path) -> None:
    table = {"Label": KINDS, "text": TEXTS, "shop": ["A", "B"] * 25}
    assert guessed(tmp_path, table).task_file.answer == " {Label}"


def test_without_a_usual_name_the_last_column_of_few_values(tmp_path: Path) -> None:
    guess = guessed(tmp_path, {"shop": ["A", "B"] * 25, "text": TEXTS, "kind": KINDS})
    assert guess.task_file.answer == " {kind}"
    assert guess.sentences[1] == "column 'kind' is the answer: it has few different values; 'shop' could be it too"


def test_columns_that_were_named(tmp_path: Path) -> None:
    table = {"subject": TEXTS[::-1], "text": TEXTS, "label": KINDS, "shop": ["A", "B"] * 25}
    guess = guessed(tmp_path, table, text_columns=["subject", "text"], label_column="shop", name="mine")
    assert guess.task_file.template == "Subject:{subject}\nText:{text}\nLabel:"
    assert (guess.task_file.answer, guess.task_file.name) == ("{shop}", "mine")
    assert guess.sentences[:2] == (
        "the text is 'subject', 'text': named so",
        "column 'shop' is the answer: it was named so",
    )


@pytest.mark.parametrize(
    ("answers", "parser", "cue", "tokens"),
    [
        (["0", "1"] * 25, "choice", "Label:", 1),
        (["No refund", "new order"] * 25, "choice", "Label:", 5),  # 9 // 3 + 2
        ([f"{number * 7}.5" for number in range(50)], "number", "Answer:", 7),  # 343.5: five characters and 2
        ([f"1+{number}\n#### {number + 1}" for number in range(50)], "number", "Answer:", 13),
        ([f"as it is {'n' * number}" for number in range(50)], "line", "Answer:", 21),  # (9 + 49 - 1) // 3 + 2
        ([f"first\nsecond {number}" for number in range(50)], "exact", "Answer:", 9),
    ],
)
def test_how_answers_are_read(tmp_path: Path, answers: list[str], parser: str, cue: str, tokens: int) -> None:
    described = guessed(tmp_path, {"text": TEXTS, "label": answers}).task_file
    assert (described.parser, described.template, described.num_generated_tokens) == (
        parser,
        f"Text:{{text}}\n{cue}",
        tokens,
    )
    assert bool(described.labels) == (cue == "Label:")


@pytest.mark.parametrize(
    ("form", "parser"),
    [
        ("{0},50", "line"),  # a decimal comma
        ("1.{0:03d},5", "line"),
        ("{0} 000,5", "line"),
        ("{0}\u202f000", "line"),
        ("{0}'000.5", "line"),
        ("{0},250", "line"),  # thousands here, decimals elsewhere
        ("{0}.250", "line"),
        ("1,{0:03d}.50", "number"),
        ("+{0}.5", "number"),
        ("\u2212{0}", "number"),
        ("{0} %", "number"),
        ("-${0}.99", "number"),
        ("{0} €", "number"),
        ("{0} kg", "line"),
    ],
)
def test_numbers_only_where_the_parser_reads_each_and_in_one_way(tmp_path: Path, form: str, parser: str) -> None:
    answers = [form.format(number) for number in range(1, 51)]
    described = guessed(tmp_path, {"text": TEXTS, "label": answers}).task_file
    assert described.parser == parser
    read = {parse(described.spec.answer({"label": answer}), described.spec) for answer in answers}
    assert len(read) == 50
    assert None not in read


def test_numbers_of_two_units_are_no_numbers(tmp_path: Path) -> None:
    answers = [f"{'$' if number % 2 else '€'}{number}" for number in range(50)]
    assert guessed(tmp_path, {"text": TEXTS, "label": answers}).task_file.parser == "line"


def test_indented_answers_follow_the_cue_without_a_blank(tmp_path: Path) -> None:
    codes = [f"    y = {number}\n\n    return y" for number in range(50)]
    guess = guessed(tmp_path, {"text": TEXTS, "label": codes})
    assert guess.task_file.answer == "{label}"
    assert guess.task_file.spec.answer({"label": codes[7]}) == "    y = 7\n    return y"


def test_labels_that_are_nearly_the_same_are_named(tmp_path: Path) -> None:
    labels = ["Positive", "positive", "negative", "not sure", "notsure"] * 10
    guess = guessed(tmp_path, {"text": TEXTS, "label": labels})
    (sentence,) = [one for one in guess.sentences if "'Positive' and 'positive'" in one]
    assert "'not sure' and 'notsure'" in sentence
    assert "negative" not in sentence


@pytest.mark.parametrize(
    "header",
    [
        ["The kettle feels solid.", "good"],
        ["The kettle feels solid", "good"],
        ["0", "the 7th ticket says that something is wrong", "good"],
        ["the way is 3 km", "2.5"],
    ],
)
def test_a_first_line_that_is_a_row_is_refused(tmp_path: Path, header: list[str]) -> None:
    columns: dict[str, list[object]] = {"good": ["good", "bad"] * 25, "0": list(range(1, 51)), "2.5": list(range(50))}
    table = {name: columns.get(name, TEXTS) for name in header}
    with pytest.raises(UserError, match=r"first line looks like a row.*--text_columns.*--label_column") as caught:
        guessed(tmp_path, table)
    assert repr(header[0]) in str(caught.value)


def test_columns_that_were_named_are_names_whatever_they_look_like(tmp_path: Path) -> None:
    table = {"The kettle feels solid": TEXTS, "good": ["good", "bad"] * 25}
    guess = guessed(tmp_path, table, text_columns=["The kettle feels solid"], label_column="good")
    assert guess.task_file.answer == " {good}"


@pytest.mark.parametrize(
    "table",
    [
        {"text": TEXTS, "spam": ["spam", "ham"] * 25},
        {"id": list(range(50)), "text": TEXTS, "2024": [f"{n}.5" for n in range(50)], "kind": KINDS},
        {"How satisfied are you": ["very", "a bit"] * 25, "What would you change": TEXTS},
        {"country": [f"c{number}" for number in range(50)], "capital": [f"k{number}" for number in range(50)]},
    ],
)
def test_unusual_names_of_columns_are_still_names(tmp_path: Path, table: dict[str, list[object]]) -> None:
    guessed(tmp_path, table)


def test_columns_that_hold_more_than_text_are_neither_text_nor_answer(tmp_path: Path) -> None:
    rows = [
        {"text": text, "meta": {"long": text * 3}, "tags": [1], "kind": kind}
        for text, kind in zip(TEXTS, KINDS, strict=True)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    guess = guess_task(tmp_path / "t.jsonl")
    assert (guess.task_file.template, guess.task_file.answer) == ("Text:{text}\nLabel:", " {kind}")
    assert "'meta', 'tags'" in guess.sentences[0]
    with pytest.raises(UserError, match=r"row 1, column 'meta' holds dict"):
        guess_task(tmp_path / "t.jsonl", ["meta"])


@pytest.mark.parametrize("names", [("reviews.text", "reviews.rating"), ("the text", 'a "label"'), ("2024", "été")])
def test_columns_of_unusual_names_can_be_asked(tmp_path: Path, names: tuple[str, str]) -> None:
    text, label = names
    for given in ({}, {"text_columns": [text], "label_column": label}):
        guess = guessed(tmp_path, {text: TEXTS, label: KINDS}, **given)
        (tmp_path / "t.toml").write_text(task_file_text(guess.task_file), encoding="utf-8")
        task = read_task(tmp_path / "t.toml")
        row = task.load().train[0]
        assert task.spec.question(row) == f"Text:{row[text]}\nLabel:"
        assert task.spec.answer(row) == f" {row[label]}"


def test_a_compressed_file_is_called_by_its_own_name(tmp_path: Path) -> None:
    assert guessed(tmp_path, {"text": TEXTS, "label": KINDS}, "tickets.csv.gz").task_file.name == "tickets"


def test_answers_that_are_cut_are_counted() -> None:
    tokens, why = num_answer_tokens({"x" * 9999, "y" * 9999, "z"})
    assert tokens == 256
    assert "2 of 3" in why


@pytest.mark.parametrize(
    ("answers", "tokens"),
    [
        ({"a", "1"}, 1),
        ({"é", "a"}, 4),  # two bytes, and 2
        ({"billing"}, 4),  # 7 // 3 + 2
        ({"account_access"}, 7),  # 13 // 3, the line, and 2
        ({"12345"}, 7),
        ({"x" * 9999}, 256),
    ],
)
def test_tokens_by_hand(answers: set[str], tokens: int) -> None:
    assert num_answer_tokens(answers)[0] == tokens


@pytest.mark.parametrize(
    ("num_rows", "num_values", "closed"),
    [(50, 20, True), (50, 21, False), (90, 30, True), (90, 31, False), (8, 4, True), (8, 5, False), (900, 201, False)],
)
def test_what_counts_as_few_values(num_rows: int, num_values: int, closed: bool) -> None:
    values = tuple(str(number % num_values) for number in range(num_rows))
    assert guessing.SampledColumn("label", values).is_closed_set == closed


def test_two_columns_without_names_or_few_values(tmp_path: Path) -> None:
    guess = guessed(tmp_path, {"en": TEXTS, "fr": [text[::-1] for text in TEXTS]})
    assert (guess.task_file.template, guess.task_file.answer) == ("Text:{en}\nAnswer:", " {fr}")
    assert guess.sentences[1] == "column 'fr' is the answer: it is the second of two"


def test_every_label_of_a_file_that_was_not_looked_at_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "BOUNDS", Bounds(rows=20, characters=9999))
    guess = guessed(tmp_path, {"text": [*TEXTS, "x"], "label": [*KINDS, "rare"]}, text_columns=["text"])
    assert list(guess.task_file.labels) == ["billing", "other", "rare", "tech"]


@pytest.mark.parametrize(
    ("file", "name"),
    [("my tickets (1).csv", "my_tickets_1"), ("sst2.csv", "my_sst2"), ("x-ldr.csv", "x"), ("日本.csv", "task")],
)
def test_the_name_is_the_files(tmp_path: Path, file: str, name: str) -> None:
    assert guessed(tmp_path, {"text": TEXTS, "label": KINDS}, file).task_file.name == name


@pytest.mark.parametrize(
    ("table", "given", "message"),
    [
        (
            {"text": TEXTS, "label": ["a"] * 50},
            {},
            r"the column 'label' holds 'a' in every row; two answers are needed",
        ),
        ({"text": TEXTS, "label": [""] * 50}, {}, r"the column 'label' holds nothing in every row"),
        ({"a": TEXTS, "b": TEXTS, "c": TEXTS}, {}, r"none of the columns 'a', 'b', 'c' is clearly the answer"),
        ({"label": KINDS}, {}, r"there is no column for the text beside the answer's, 'label'"),
        ({"text": TEXTS, "label": KINDS}, {"label_column": "lable"}, r"no column 'lable'; .*did you mean 'label'"),
        ({"text": TEXTS, "label": KINDS}, {"text_columns": ["txt"]}, r"no column 'txt'; .*did you mean 'text'"),
        (
            {"text": TEXTS},
            {"text_columns": ["text"]},
            r"none of the columns left is clearly the answer; .*--label_column",
        ),
        ({"text": TEXTS, "l": KINDS}, {"text_columns": ["l"], "label_column": "l"}, r"'l' cannot be text and answer"),
        ({"a{b": TEXTS, "label": KINDS}, {}, r"t\.csv: rename the column 'a\{b'"),
        ({"text": TEXTS, "a:b": KINDS}, {"label_column": "a:b"}, r"t\.csv: rename the column 'a:b'"),
        ({"text": TEXTS, "label": KINDS}, {"name": "a/b"}, r"name = 'a/b' has to be a folder's name"),
        ({"text": TEXTS, "label": ["a  b", "c"] * 25}, {}, r"'choice' reads the label 'a  b' as None: .* one blank"),
        ({"text": TEXTS, "label": KINDS}, {"name": "sst2"}, r"name = 'sst2' is a built-in dataset's"),
    ],
)
def test_what_cannot_be_guessed(
    tmp_path: Path, table: dict[str, list[str]], given: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        guessed(tmp_path, table, **given)
    assert "\n" not in str(caught.value)
