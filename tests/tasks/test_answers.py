"""The readers of responses: each case says what stands in the text and what has to be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.tasks.answers import contains, parse
from ia2.tasks.base import ParserName, TaskSpec


def spec(parser: ParserName, *labels: str) -> TaskSpec:
    return TaskSpec(
        name="t", template="{q}:", answer_template="{a}", parser=parser, labels={label: label for label in labels}
    )


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
        # announced
        ("#### 5", "5"),
        ("####5", "5"),
        ("#### -5", "-5"),
        ("#### −5", "-5"),  # the minus sign of typesetting
        ("#### 3 + 4 = 7", "7"),
        ("#### In total 2000", "2000"),
        ("#### 7 apples in 2 boxes", "7"),
        ("#### 1,234,567.50", "1234567.5"),
        ("#### $18.00", "18"),
        ("#### -$3", "-3"),
        ("#### $-3", "-3"),
        ("#### $−3", "-3"),
        ("#### 25%", "25"),
        ("#### 16.0", "16"),
        ("#### .5", "0.5"),
        ("#### 007", "7"),
        ("#### -0.0", "0"),
        ("#### 5.", "5"),
        ("#### **42**", "42"),
        ("####\n42\n", "42"),
        ("3+2=<<3+2=5>>5 apples\n#### 5\n#### 9", "5"),
        ("2+2=4\n#### none\n\nQuestion: 6 pens?", None),
        ("2+2=4\n####", None),
        # not announced
        ("3 + 4 = 7", "7"),
        ("In total 2000", "2000"),
        ("He owes 5, so -5", "-5"),
        ("9-5", "5"),
        ("(9)-5", "5"),
        ("from 3 to 12.", "12"),
        ("1,2", "2"),
        ("12,34", "34"),
        ("1,2345", "2345"),
        ("it weighs 5kg", "5"),
        ("3 tons of CO2", "3"),
        ("version 1.2.3", "1.2"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.1"),
        ("no number", None),
        ("", None),
    ],
)
def test_number(text: str, expected: str | None) -> None:
    assert parse(text, spec("number")) == expected


@given(number=st.integers(), before=st.sampled_from(["#### ", "so ", "a = ", "1 + 1 = 2\n#### "]))
def test_a_number_is_read_however_it_is_written(number: int, before: str) -> None:
    for written in (f"{number}", f"{number:,}", f"{number}.00", f"{number:,}%"):
        assert parse(before + written, spec("number")) == str(number)


@given(st.text(max_size=60))
def test_no_text_breaks_a_reader_and_reading_twice_changes_nothing(text: str) -> None:
    for parser in ("choice", "line", "number", "exact"):
        once = parse(text, spec(parser, "0", "1"))  # type: ignore[arg-type]
        assert once is None or parse(once, spec(parser, "0", "1")) == once  # type: ignore[arg-type]


def test_exact() -> None:
    assert parse("  A  b\n", spec("exact")) == "A  b"
    assert parse(" \n", spec("exact")) is None


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
