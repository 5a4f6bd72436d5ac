"""Names of models: what tells those of one name apart."""

import pytest

from ia2.errors import UserError
from ia2.results.label import STYLES, details, style_of


def test_methods_have_distinct_looks_and_a_stable_order() -> None:
    assert len({style.colour for style in STYLES.values()}) == len({s.marker for s in STYLES.values()}) == len(STYLES)
    methods = ["base", "tok", "tokl", "act", "tna", "a2t", "t2a", "ia3-tok", "prefix-act"]
    places = [style_of(method, with_icl).order for method in methods for with_icl in (False, True)]
    assert places == sorted(set(places))
    assert style_of("ia3-act").label.startswith("(IA)3 ")
    with pytest.raises(UserError, match="unknown method"):
        style_of("telepathy")


def test_only_what_differs_among_models_of_one_name_is_told() -> None:
    settings = [{"r": 8, "T": 1}, {"r": 16, "T": 1}, {"r": 8, "T": 2}]
    assert details(settings, ["tok", "tok", "act"]) == ["r 8", "r 16", ""]


def test_what_is_absent_false_or_none_is_one_and_not_told() -> None:
    settings = [{"chat": False, "reader": None}, {}, {"chat": "none", "reader": "line"}]
    assert details(settings, ["tok"] * 3) == ["", "", "reader line"]


def test_what_differs_on_another_line_alone_is_not_told() -> None:
    settings = [{"T": 1}, {"T": 8}, {"T": 8, "r": 4}]
    assert details(settings, ["tok"] * 3, ["sst2", "gsm8k", "gsm8k"]) == ["", "", "r 4"]
