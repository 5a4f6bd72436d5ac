"""movies, tweets, amazon and nyt: the real sentences of the package (fetched with pip where they are not cached)."""

import hashlib
from collections import Counter

import pytest

from ia2.tasks import task
from ia2.tasks.datasets.vader import _balanced, _item
from ia2.tasks.task_spec import Rows

NAMES = ("movies", "tweets", "amazon", "nyt")


@pytest.fixture(scope="module")
def loaded() -> dict[str, Rows]:
    return {name: task(name).load() for name in NAMES}


@pytest.mark.parametrize(
    ("name", "num_rows", "num_train", "digest"),
    [
        ("movies", 10605, 8648, "d8e48aaa7d2e33b5e4e88634e44557057b7c991cfb03ab27826d58434381ef19"),
        ("tweets", 4200, 1024, "f9f876cd036f803773c4ad20364551fe5ec13aa378b74b037f416ba4c2c86012"),
        ("amazon", 3708, 1374, "4b6d83ad0e1454fc895b725cf2c0ec0d0a4f50bf95a77ffcf8cf45e2510d5165"),
        ("nyt", 5190, 606, "d31c2c15caf4bb31aba0504b1de4dd8cd54e6968b82e7e91ef18a1f18619b609"),
    ],
)
def test_the_rows_are_balanced_and_the_same_everywhere(
    loaded: dict[str, Rows], name: str, num_rows: int, num_train: int, digest: str
) -> None:
    rows, spec = loaded[name], task(name).spec
    assert Counter(map(spec.answer, rows.train)) == {"0": num_train // 2, "1": num_train // 2}
    assert Counter(map(spec.answer, rows.validation)) == {"0": 250, "1": 250}
    text = "\x00".join(spec.question(row) + spec.answer(row) for row in (*rows.train, *rows.validation))
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    assert rows.provenance["rows"] == str(num_rows)
    assert rows.provenance["source"].startswith("package vaderSentiment 3.3.2, hutto_ICWSM_2014/")
    assert task(name).size == f"{num_train:,} / 500"


@pytest.mark.parametrize("name", NAMES)
def test_no_sentence_is_in_both_splits_in_any_spelling(loaded: dict[str, Rows], name: str) -> None:
    rows = (*loaded[name].train, *loaded[name].validation)
    spelled = ["".join(filter(str.isalnum, row["sentence"].casefold())) for row in rows]
    assert len(set(spelled)) == len(spelled)


@pytest.mark.parametrize("name", NAMES)
def test_sentences_are_plain_text_on_one_line(loaded: dict[str, Rows], name: str) -> None:
    for row in (*loaded[name].train, *loaded[name].validation):
        assert row["sentence"] == " ".join(row["sentence"].split())
        assert not [entity for entity in ("&amp;", "&lt;", "&gt;", "\ufffd", "Ã") if entity in row["sentence"]]


@pytest.mark.parametrize(
    ("name", "question", "answer"),
    [
        ("movies", "Text:Witty, touching and well paced.\nLabel:", "1"),
        ("tweets", "Text:Bad bus! Smelly bus! Bad, bad bus. No biscuit!\nLabel:", "0"),
        ("amazon", "Text:the moveable lcd screen is great.\nLabel:", "1"),
        ("nyt", "Text:Their objection defies reason.\nLabel:", "0"),
        ("nyt_hard", "Their objection defies reason.:::", "0"),
        ("nyt_remap", "Text:Their objection defies reason.\nLabel:", "apple"),
        # amp;amp; in the file
        (
            "nyt",
            "Text:Skadden, Arps, Slate, Meagher & Flom, the huge New York law firm, announced recently that it would "
            "create a $10 million endowment to provide public legal services.\nLabel:",
            "1",
        ),
    ],
)
def test_real_rows_to_the_character(loaded: dict[str, Rows], name: str, question: str, answer: str) -> None:
    rows, spec = loaded.get(name) or task(name).load(), task(name).spec
    assert (question, answer) in [(spec.question(row), spec.answer(row)) for row in (*rows.train, *rows.validation)]


def test_movies_are_utf8(loaded: dict[str, Rows]) -> None:
    sentences = [row["sentence"] for row in (*loaded["movies"].train, *loaded["movies"].validation)]
    assert sum("é" in sentence for sentence in sentences) > 30


@pytest.mark.parametrize(
    ("rating", "label"),
    [("1", "1"), ("1.0", "1"), ("3.9", "1"), ("0.99", None), ("0", None), ("-0.95", None), ("-1.0", "0"), ("-4", "0")],
)
def test_what_lies_between_the_ratings_is_left_out(rating: str, label: str | None) -> None:
    item = _item({"id": "1", "rating": rating, "text": "invented"})
    assert (item and item.answer) == label


def test_a_rating_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="'good'"):
        _item({"id": "1", "rating": "good", "text": "invented"})


def test_of_the_same_words_one_sentence_is_taken_and_the_classes_take_turns() -> None:
    texts = {"So bad.": -2, "so BAD!!": -3, "Awful.": -1, "Good.": 2, "Great.": 3, "Fine.": 1, "Not so bad": 1}
    items = [_item({"rating": str(rating), "text": text}) for text, rating in texts.items()]
    drawn = _balanced([item for item in items if item])
    assert [item.answer for item in drawn] == ["0", "1", "0", "1"]
    assert {item.fields["sentence"] for item in drawn} >= {"Awful."}
    assert len({item.fields["sentence"] for item in drawn} & {"So bad.", "so BAD!!"}) == 1
