"""Tables: what provenance depends on and what counts as text."""

import pytest

from ia2.errors import UserError
from ia2.sources import Table

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
