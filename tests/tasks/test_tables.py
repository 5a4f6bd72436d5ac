"""The embedded tables against rules that know nothing of how they were written.

A wrong row would be learnt as truth, so the regular past tenses are rebuilt by a spelling rule, the irregular ones must
escape that rule, and capitals are spot-checked on every continent. The files are read by plain path: what is
tested is the data, not the loader.
"""

import re
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "src/ia2/tasks/data"

HEADERS = {
    "capitals.tsv": ("country", "capital", "well_known"),
    "past_tense.tsv": ("verb", "past"),
    "past_tense_irregular.tsv": ("verb", "past"),
}
MINIMUM_ROWS = {"capitals.tsv": 185, "past_tense.tsv": 420, "past_tense_irregular.tsv": 130}

# One syllable by spelling: consonants ("qu" counts as one), one vowel letter, one final consonant other than w, x, y.
ONE_SYLLABLE_CVC = re.compile(r"(qu|[^aeiou])*[aeiou][^aeiouwxy]")

# Longer verbs double the last consonant when the stress falls on the last syllable, which spelling does not show.
STRESS_FINAL = frozenset(
    {
        "admit",
        "commit",
        "compel",
        "confer",
        "control",
        "defer",
        "deter",
        "equip",
        "excel",
        "expel",
        "incur",
        "infer",
        "occur",
        "omit",
        "patrol",
        "permit",
        "prefer",
        "propel",
        "rebel",
        "recur",
        "refer",
        "regret",
        "repel",
        "submit",
        "transfer",
        "transmit",
    }
)

CAPITALS = {
    "Algeria": "Algiers",
    "Burkina Faso": "Ouagadougou",
    "Burundi": "Gitega",
    "Ethiopia": "Addis Ababa",
    "Ivory Coast": "Yamoussoukro",
    "Kenya": "Nairobi",
    "Nigeria": "Abuja",
    "Tanzania": "Dodoma",
    "Bangladesh": "Dhaka",
    "Bhutan": "Thimphu",
    "Indonesia": "Jakarta",
    "Japan": "Tokyo",
    "Kazakhstan": "Astana",
    "Mongolia": "Ulaanbaatar",
    "Myanmar": "Naypyidaw",
    "Pakistan": "Islamabad",
    "South Korea": "Seoul",
    "Turkey": "Ankara",
    "Vietnam": "Hanoi",
    "France": "Paris",
    "Iceland": "Reykjavik",
    "Liechtenstein": "Vaduz",
    "Montenegro": "Podgorica",
    "Slovakia": "Bratislava",
    "Slovenia": "Ljubljana",
    "Switzerland": "Bern",
    "Canada": "Ottawa",
    "Costa Rica": "San Jose",
    "Jamaica": "Kingston",
    "Mexico": "Mexico City",
    "United States": "Washington, D.C.",
    "Brazil": "Brasilia",
    "Colombia": "Bogota",
    "Ecuador": "Quito",
    "Paraguay": "Asuncion",
    "Suriname": "Paramaribo",
    "Australia": "Canberra",
    "Fiji": "Suva",
    "New Zealand": "Wellington",
    "Palau": "Ngerulmud",
    "Papua New Guinea": "Port Moresby",
}


def read_rows(name: str) -> list[tuple[str, str]]:
    """The first two cells of the rows below the header."""
    rows = [line.split("\t") for line in (DATA / name).read_text(encoding="ascii").splitlines()[1:]]
    return [(row[0], row[1]) for row in rows]


def form_regular_past(verb: str) -> str:
    """The simple past that English spelling rules (American where they differ) give a regular verb."""
    if verb.endswith("e"):
        return verb + "d"
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    if verb.endswith("ic"):
        return verb + "ked"
    if verb in STRESS_FINAL or ONE_SYLLABLE_CVC.fullmatch(verb):
        return verb + verb[-1] + "ed"
    return verb + "ed"


@pytest.mark.parametrize("name", HEADERS)
def test_file_is_plain_ascii_with_unix_lines(name: str) -> None:
    content = (DATA / name).read_bytes()
    assert content.isascii()  # which also excludes a byte order mark
    assert b"\r" not in content
    assert content.endswith(b"\n")
    assert not content.endswith(b"\n\n")


@pytest.mark.parametrize("name", HEADERS)
def test_header_and_cells(name: str) -> None:
    header, *lines = (DATA / name).read_text(encoding="ascii").splitlines()
    assert tuple(header.split("\t")) == HEADERS[name]
    for line in lines:
        cells = line.split("\t")
        assert len(cells) == len(HEADERS[name]), line
        assert all(cells), line
        assert cells == [cell.strip() for cell in cells], line


@pytest.mark.parametrize("name", HEADERS)
def test_keys_are_enough_sorted_and_unique(name: str) -> None:
    keys = [key for key, _ in read_rows(name)]
    assert len(keys) >= MINIMUM_ROWS[name]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("name", ["past_tense.tsv", "past_tense_irregular.tsv"])
def test_verb_tables_hold_single_lowercase_words(name: str) -> None:
    assert [row for row in read_rows(name) if not re.fullmatch(r"[a-z]+ [a-z]+", " ".join(row))] == []


def test_verb_tables_are_disjoint() -> None:
    regular, irregular = dict(read_rows("past_tense.tsv")), dict(read_rows("past_tense_irregular.tsv"))
    assert regular.keys() & irregular.keys() == set()


@pytest.mark.parametrize(
    ("verb", "past"),
    [
        ("love", "loved"),
        ("agree", "agreed"),
        ("carry", "carried"),
        ("play", "played"),
        ("panic", "panicked"),
        ("stop", "stopped"),
        ("quiz", "quizzed"),
        ("fix", "fixed"),
        ("bow", "bowed"),
        ("walk", "walked"),
        ("rain", "rained"),
        ("prefer", "preferred"),
        ("offer", "offered"),
        ("travel", "traveled"),
    ],
)
def test_rule_by_hand(verb: str, past: str) -> None:
    assert form_regular_past(verb) == past


def test_rule_reproduces_every_regular_past() -> None:
    wrong = {verb: past for verb, past in read_rows("past_tense.tsv") if past != form_regular_past(verb)}
    assert wrong == {}


def test_stress_list_names_only_verbs_of_the_table() -> None:
    assert STRESS_FINAL - dict(read_rows("past_tense.tsv")).keys() == set()


def test_rule_reproduces_no_irregular_past() -> None:
    regular = [verb for verb, past in read_rows("past_tense_irregular.tsv") if past == form_regular_past(verb)]
    assert regular == []


def test_capitals_across_continents() -> None:
    table = dict(read_rows("capitals.tsv"))
    assert {country: table.get(country) for country in CAPITALS} == CAPITALS


@pytest.mark.parametrize("country", ["Bolivia", "Equatorial Guinea", "Israel", "Nauru", "Palestine", "South Africa"])
def test_states_without_one_capital_are_left_out(country: str) -> None:
    assert country not in dict(read_rows("capitals.tsv"))
