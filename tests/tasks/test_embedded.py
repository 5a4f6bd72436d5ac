"""The tasks that come with the package: capitals and past tense."""

import pytest

from ia2.tasks import task
from ia2.tasks.task_spec import Row


def keys(rows: list[Row] | tuple[Row, ...], column: str) -> set[str]:
    return {row[column] for row in rows}


def test_the_prompt_of_capitals_to_the_character() -> None:
    spec = task("capitals").spec
    row = {"country": "France", "capital": "Paris"}
    assert spec.question(row) == "Input: France\nOutput:"
    assert spec.answer(row) == " Paris"
    assert (spec.num_generated_tokens, spec.parser) == (8, "line")


@pytest.mark.parametrize("name", ["past_tense", "past_tense_irregular"])
def test_the_prompt_of_past_tense_to_the_character(name: str) -> None:
    spec = task(name).spec
    row = {"verb": "walk", "past": "walked"}
    assert spec.question(row) == "Input: walk\nOutput:"
    assert spec.answer(row) == " walked"
    assert (spec.num_generated_tokens, spec.parser) == (8, "line")


@pytest.mark.parametrize(
    ("name", "column", "sizes"), [("capitals", "country", (30, 54)), ("past_tense", "verb", (576, 200))]
)
def test_splits_are_disjoint_fixed_and_shuffled(name: str, column: str, sizes: tuple[int, int]) -> None:
    rows = task(name).load()
    train, validation = keys(list(rows.train), column), keys(list(rows.validation), column)
    assert (len(rows.train), len(rows.validation)) == sizes
    assert not train & validation
    assert rows == task(name).load()
    # A table is sorted: validation from its end alone would hold only the last letters of the alphabet.
    assert min(validation).casefold() < "d"


def test_well_known_and_other_states_make_up_the_table() -> None:
    known, rare = task("capitals").load(), task("capitals_rare").load()
    assert list(rare.train) == []
    countries = keys([*known.train, *known.validation], "country")
    assert not countries & keys(list(rare.validation), "country")
    assert len(countries) + len(rare.validation) == int(known.provenance["rows"]) == 188
    assert not [row for row in (*known.train, *known.validation) if row["country"] == row["capital"]]


def test_irregular_verbs_are_for_evaluation_only_and_not_among_the_regular() -> None:
    irregular, regular = task("past_tense_irregular").load(), task("past_tense").load()
    assert list(irregular.train) == []
    assert len(irregular.validation) >= 120
    assert not keys(list(irregular.validation), "verb") & keys([*regular.train, *regular.validation], "verb")
    assert task("past_tense").ood_group == task("past_tense_irregular").ood_group == "past_tense"
