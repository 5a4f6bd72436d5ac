"""The parsers of responses: each case says what stands in the text and what has to be read."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.errors import UserError
from ia2.tasks.parsers import PARSERS, contains, parse, same
from ia2.tasks.task_spec import ParserName, TaskSpec


def spec(parser: ParserName, *labels: str, marker: str = "####", pattern: str = "a") -> TaskSpec:
    return TaskSpec(
        name="t",
        template="{q}:",
        answer_template="{a}",
        parser=parser,
        labels={label: label for label in labels},
        marker=marker,
        pattern=pattern,
    )


def test_every_parser_has_a_reader() -> None:
    assert set(PARSERS) == set(get_args(ParserName))


@given(st.text(max_size=60), st.sampled_from(sorted(PARSERS)))
def test_no_text_breaks_a_reader(text: str, parser: ParserName) -> None:
    answer = parse(text, spec(parser, "0", "1", pattern="(x)|."))
    assert answer is None or answer == answer.strip() != ""


@given(st.text(max_size=60), st.sampled_from(["choice", "line", "number", "exact"]))
def test_reading_twice_changes_nothing(text: str, parser: ParserName) -> None:
    once = parse(text, spec(parser, "0", "1"))
    assert once is None or parse(once, spec(parser, "0", "1")) == once


@pytest.mark.parametrize("parser", sorted(PARSERS))
def test_the_same_text_is_the_same_answer_and_none_is_the_same_as_nothing(parser: ParserName) -> None:
    assert same("a b", "a b", spec(parser))
    assert not same(None, None, spec(parser))
    assert not same("a", None, spec(parser))
    assert not same(None, "a", spec(parser))


@pytest.mark.parametrize("parser", sorted(set(PARSERS) - {"boxed"}))
def test_only_boxes_hold_what_means_the_same(parser: ParserName) -> None:
    assert not same("1/2", "0.5", spec(parser))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", "1"),
        (" 1", "1"),
        ("\n 0\n\nText:next", "0"),
        ("1.", "1"),
        ("[1] positive", "1"),
        ("**0**", "0"),
        ("10", None),
        ("-1", None),
        ("1.5", None),
        ("2", None),
        ("positive 1", None),
        ("1Text", None),
        ("", None),
        (" \n", None),
    ],
)
def test_choice(text: str, expected: str | None) -> None:
    assert parse(text, spec("choice", "0", "1")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" not sure", "not sure"),
        (" not  sure.\n\nText:", "not sure"),
        (" not\n", "not"),
        (" not surely", "not"),
        (" **not sure** indeed", "not sure"),
        (" R&B/soul, I think", "R&B/soul"),
        (" (other)", "(other)"),
        (" sure", None),
        ("", None),
    ],
)
def test_choice_of_labels_of_several_words(text: str, expected: str | None) -> None:
    assert parse(text, spec("choice", "not", "not sure", "R&B/soul", "(other)")) == expected


def test_choice_of_words_is_exact() -> None:
    assert parse(" Friday.", spec("choice", "apple", "Friday")) == "Friday"
    assert parse(" Fri", spec("choice", "apple", "Friday")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Paris", "paris"),
        (" paris\n", "paris"),
        ("\n\n Paris\nInput: Italy", "paris"),
        (" New   Delhi ", "new delhi"),
        (" Washington, D.C.", "washington, d.c."),
        (" Paris.", "paris."),
        (" The capital of France is Paris.", "the capital of france is paris."),
        ("", None),
        (" \n \n", None),
    ],
)
def test_line(text: str, expected: str | None) -> None:
    assert parse(text, spec("line")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Winds bend to the right.\n#### coriolis effect", "coriolis effect"),
        ("####  Coriolis \t Effect ", "coriolis effect"),
        ("####true", "true"),
        ("A fact.\n####\n \n True\nmore", "true"),
        ("A fact.\n#### true\n\nQuestion:Why?\nAnswer:No.\n#### false", "true"),
        ("A fact.\n#### true\n#### false", "true"),
        ("A fact.\n####\n\nQuestion:Why?", None),
        ("A fact.\n####  \n", None),
        ("A fact.\n### true", None),
        ("true", None),
        ("", None),
    ],
)
def test_after_marker(text: str, expected: str | None) -> None:
    assert parse(text, spec("after_marker")) == expected


def test_the_marker_is_the_tasks_own() -> None:
    assert parse("Think.\nSo: No\n#### yes", spec("after_marker", marker="So:")) == "no"


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"Answer: (\w+)", "Think.\nAnswer: Yes, so\nAnswer: No", "Yes"),
        (r"[A-D]", "it is B or C", "B"),
        (r"^\(([a-d])\)$", "first\n(b)\nlast", "b"),
        (r"(?i)answer (\w)", "ANSWER b", "b"),
        (r"answer (\w)", "ANSWER b", None),
        (r"is (\d+)|equals (\d+)", "it equals 7", "7"),
        (r"so(?: (\d+))?", "so be it", None),
        (r"(\d*) apples", "no apples", None),
        (r":(.*)", ":  two words ", "two words"),
        (r"\d+", "none", None),
        (r"\d+", "", None),
    ],
)
def test_regex(pattern: str, text: str, expected: str | None) -> None:
    assert parse(text, spec("regex", pattern=pattern)) == expected


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "pattern '\\(' is not a regular expression: missing \\)"),
        ("a{99999999999}", "is not a regular expression"),
        ("", "pattern '': the parser regex needs one"),
        (" ", "pattern ' ': the parser regex needs one"),
    ],
)
def test_a_pattern_that_cannot_be_searched_is_refused_with_the_task(pattern: str, problem: str) -> None:
    with pytest.raises(UserError, match=f"^task t: .*{problem}"):
        spec("regex", pattern=pattern)
    assert spec("line", pattern=pattern).pattern == pattern


@pytest.mark.parametrize("marker", ["", " \n"])
def test_a_blank_marker_is_refused_with_the_task(marker: str) -> None:
    with pytest.raises(UserError, match="task t: the parser after_marker needs a marker that is not blank"):
        spec("after_marker", marker=marker)
    assert spec("line", marker=marker).marker == marker


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A  b\n", "A b"),
        ("A\n b", "A b"),
        ("Ａ\u00a0ﬁn", "A fin"),  # a wide letter, a blank that does not break, a ligature
        ("e\u0301", "é"),
        ("Paris.", "Paris."),
        (" \n", None),
        ("", None),
    ],
)
def test_exact(text: str, expected: str | None) -> None:
    assert parse(text, spec("exact")) == expected


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        (" The capital of France is Paris.", "paris", True),
        (" Parisian", "paris", False),
        ("the new\n delhi", " New Delhi", True),
        ("It is Washington, D.C., then", "washington, d.c.", True),
        ("it makes 18 dollars", "18", True),
        ("it makes 18.", "18", True),
        ("it makes 18.5", "18", False),
        ("it makes 118", "18", False),
        ("it makes 0.18", "18", False),
        ("2,000 dollars", "2000", True),
        ("12,000 dollars", "2000", False),
        ("anything", "", False),
        ("", "paris", False),
        ("a+b (c)", "(c)", True),
        ("washington, dxc", "washington, d.c", False),
    ],
)
def test_contains(text: str, gold: str, expected: bool) -> None:
    assert contains(text, gold) is expected
