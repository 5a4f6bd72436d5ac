"""The reader of numbers, on what models say and on every rational number, written in many ways."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.tasks.parsers import parse
from ia2.tasks.task_spec import TaskSpec

SPEC = TaskSpec(name="t", template="{q}:", answer_template="{a}", parser="number")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
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
        ("#### The answer is 12 = twelve", "12"),
        ("####\n42\n", "42"),
        ("#### so\nit is 42", "42"),
        ("3+2=<<3+2=5>>5 apples\n#### 5\n#### 9", "5"),
        ("3+2=5\n#### 5\n\nQuestion: 6 pens?\nAnswer: 6\n#### 6", "5"),
        ("2+2=4\n#### none\n\nQuestion: 6 pens?", None),
        ("2+2=4\n####\n\nQuestion: 6 pens?", None),
        ("2+2=4\n####", None),
    ],
)
def test_announced(text: str, expected: str | None) -> None:
    assert parse(text, SPEC) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 + 4 = 7", "7"),
        ("In total 2000", "2000"),
        ("-5", "-5"),
        ("He owes 5, so -5", "-5"),
        ("The answer is 42.", "42"),
        ("So the final answer is **1,250**.", "1250"),
        ("First she has 16 eggs.\nShe eats 3, so 13 are left.\n13 x $2 = $26.", "26"),
        ("9-5", "5"),
        ("(9)-5", "5"),
        ("50%-5", "5"),
        ("from 3 to 12.", "12"),
        ("12,50", None),  # half of it, 50, would make every price right
        ("1,2345", None),
        ("-1.234,56", None),
        ("1 234,56", None),
        ("1\u202f234", None),
        ("1'234.56", None),
        ("it costs 12,50 € or 13 €", "13"),
        ("\u22125", "-5"),
        ("\u20135", "-5"),  # an en dash, as word processors write it
        ("\uff0d5", "-5"),
        ("3\u20135", "5"),
        ("+5", "5"),
        ("it weighs 5kg", "5"),
        ("it costs 5€", "5"),
        ("it costs -€5 in all", "-5"),
        ("it is 20 °C", "20"),
        ("3 tons of CO2", "3"),
        ("version 1.2.3", None),
        ("at 60 km/h", "60"),
        ("on 2024-01-15", "15"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.1"),
        ("0." + "3" * 100, "0." + "3" * 100),
        ("it is 4 and then " + "9" * 50_000, "4"),
        ("no number", None),
        ("", None),
    ],
)
def test_last(text: str, expected: str | None) -> None:
    assert parse(text, SPEC) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#### 1/2", "0.5"),
        ("#### 1/3", "1/3"),
        ("#### 2/6", "1/3"),
        ("#### -7/3", "-7/3"),
        ("#### 10/2", "5"),
        ("#### 3 1/2", "3.5"),
        ("#### -3 1/2", "-3.5"),
        ("#### 3 1/3 cups", "10/3"),
        ("he has 3 5/2", "2.5"),
        ("#### $1/2", "0.5"),
        ("#### 1.5/2", "0.75"),
        ("#### 1,000/8", "125"),
        ("#### 1/3%", "1/3"),
        ("#### 1/1024", "0.0009765625"),
        ("#### 1/125", "0.008"),
        ("#### 5/0", None),
        ("1/2 + 1/4 = 3/4", "0.75"),
        ("1/2+1/4=3/4", "0.75"),
        ("on 12/25/2024", "2024"),
        ("see https://example.com/3/4", "4"),
        ("6 / 2", "2"),
        ("½", "0.5"),
        ("2½ cups", "2.5"),
        ("-¾", "-0.75"),
        ("1⁄2", "0.5"),
    ],
)
def test_fractions(text: str, expected: str | None) -> None:
    assert parse(text, SPEC) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"$\frac{1}{2}$", "0.5"),
        (r"\( -\dfrac{7}{3} \)", "-7/3"),
        (r"\tfrac{ -3 }{ 6 }", "-0.5"),
        (r"\frac12", "0.5"),
        (r"\frac1{4}", "0.25"),
        (r"3\frac{1}{2}", "3.5"),
        (r"3 \frac{1}{2}", "3.5"),
        (r"2\times\frac{1}{4}", "0.25"),
        (r"3\cdot5", "5"),
        (r"\$5", "5"),
        (r"-\$5", "-5"),
        (r"50\%", "50"),
        (r"10{,}000", "10000"),
        (r"10\,000", "10000"),
        (r"1,\!000", "1000"),
        (r"The answer is $\boxed{42}$.", "42"),
        (r"$x = -5$", "-5"),
        (r"x^{2}-5", "5"),
        (r"90^\circ", "90"),
        (r"25 \text{ m}^2", "25"),
        (r"25 cm^{2}", "25"),
        (r"25 s^-2", "25"),
        (r"2^10", "2"),
        (r"a_{1}", None),
    ],
)
def test_latex(text: str, expected: str | None) -> None:
    assert parse(text, SPEC) == expected


@given(number=st.integers(), before=st.sampled_from(["#### ", "so ", "a = ", "1 + 1 = 2\n#### "]))
def test_an_integer_is_read_however_it_is_written(number: int, before: str) -> None:
    for written in (f"{number}", f"{number:,}", f"{number}.00", f"{number:,}%", f"${number}$", f"**{number}**"):
        assert parse(before + written, SPEC) == str(number)


def written(value: Fraction) -> list[str]:
    """Some ways of writing a fraction."""
    sign, size = "-" if value < 0 else "", abs(value)
    top, bottom = size.as_integer_ratio()
    plain = [f"{sign}{top}/{bottom}", f"{sign}{3 * top:,}/{3 * bottom:,}", f"{sign}${top}/{bottom}"]
    latex = [f"${sign}\\frac{{{top}}}{{{bottom}}}$", f"\\dfrac{{{sign}{top}}}{{{bottom}}}"]
    whole, rest = divmod(top, bottom)
    mixed = [f"{sign}{whole} {rest}/{bottom} cups", f"{sign}{whole}\\frac{{{rest}}}{{{bottom}}}"]
    return plain + latex + mixed


@given(value=st.fractions(max_denominator=10**6), before=st.sampled_from(["#### ", "so ", "x = "]))
def test_a_fraction_is_read_however_it_is_written(value: Fraction, before: str) -> None:
    read = {parse(before + one, SPEC) for one in written(value)}
    assert len(read) == 1
    (answer,) = read
    assert answer is not None
    assert Fraction(answer) == value
    assert parse(answer, SPEC) == answer
    ends = 10**20 % value.denominator == 0  # 2 to the 20 is more than any denominator here
    assert ("/" in answer) is not ends


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_a_decimal_is_its_fraction(value: Decimal) -> None:
    assert parse(f"{value:f}", SPEC) == parse(f"{int(value * 10**6)}/{10**6}", SPEC) == parse(f"{value:,f}", SPEC)
