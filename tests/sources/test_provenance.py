"""Tables: what provenance depends on, what counts as text, and which rows are held out."""

import pytest

from ia2.errors import UserError
from ia2.sources import Table, hold_out

INVENTED = [{"text": "a", "n": 1}, {"text": "b ", "n": 2}]


def test_provenance_follows_the_content() -> None:
    one, other = Table([{"a": "1"}], "s"), Table([{"a": "2"}], "s", revision="r")
    assert one.provenance["sha256"] != other.provenance["sha256"]
    assert "revision" not in one.provenance
    assert other.provenance["revision"] == "r"


def test_texts_are_text_and_name_what_is_missing() -> None:
    assert Table(INVENTED, "s").texts("n", "text")[0] == {"n": "1", "text": "a"}
    with pytest.raises(UserError, match=r"s, row 1: the column 'label' is missing \(there: text, n\)"):
        Table(INVENTED, "s").texts("label")
    with pytest.raises(UserError, match=r"s, row 2: the column 'a' holds NoneType"):
        Table([{"a": "x"}, {"a": None}], "s").texts("a")


def test_hold_out_takes_the_last_of_a_seeded_shuffle() -> None:
    rows = [{"i": str(i)} for i in range(10)]
    train, validation = hold_out(rows, 3)
    # random.Random(42).shuffle(list(range(10))) is 7 3 2 8 5 6 9 4 0 1
    assert [row["i"] for row in train] == ["7", "3", "2", "8", "5", "6", "9"]
    assert [row["i"] for row in validation] == ["4", "0", "1"]
    assert hold_out(rows, 0)[1] == []
