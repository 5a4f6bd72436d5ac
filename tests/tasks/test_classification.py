"""finsen, poems and agnews, from rows in the hub's format: through files, and through `datasets` itself.

Quoted rows: finsen from the corpus's own Sentences_50Agree.txt (https://github.com/pkatwate/finBERT), poems from
https://github.com/google-research-datasets/poem-sentiment data/train.tsv, agnews from the train.csv shown at
https://github.com/mhjabreel/CharCNN; labels are numbered as the hub does. All others are invented.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hub_layout import Objects, write_file, write_repository

from ia2.errors import UserError
from ia2.tasks import task

GAIN = "Sales have risen in other export markets ."
LOSS = "Operating profit decreased to EUR 11.2 mn from EUR 16.6 mn ."
UMLAUTS = "Clothing retail chain Sepp+ñl+ñ 's sales increased by 8 % to EUR 155.2 mn"  # the beginning of a row
FINSEN: Objects = [
    {"sentence": "The winner does not have to be present to win .", "label": 1},
    {"sentence": GAIN, "label": 2},
    {"sentence": LOSS, "label": 0},
    {"sentence": UMLAUTS, "label": 2},
]
POEMS: Objects = [
    {"id": 1, "verse_text": "it flows so long as falls the rain,", "label": 2},
    {"id": 2, "verse_text": "and that is why, the lonesome day,", "label": 0},
    {"id": 5, "verse_text": "the red sword sealed their vows!", "label": 3},
    {"id": 16, "verse_text": "that has a charmingly bourbon air.", "label": 1},
]
BEARS = (
    "Wall St. Bears Claw Back Into the Black (Reuters) Reuters - Short-sellers, Wall Street's dwindling\\band of "
    "ultra-cynics, are seeing green again."
)
AGNEWS: Objects = [
    {"text": BEARS, "label": 2},
    {"text": "Invented cup final\n\nends in a draw ", "label": 1},
    {"text": "Invented summit opens", "label": 0},
    {"text": "Invented probe lands", "label": 3},
]
FINSEN_HUB, POEMS_HUB, AGNEWS_HUB = (
    "takala/financial_phrasebank",
    "google-research-datasets/poem_sentiment",
    "fancyzhx/ag_news",
)
CUP = "Text:Invented cup final\nends in a draw\nLabel:"
EXPECTED = {
    "finsen": [(f"Text:{GAIN}\nLabel:", "1"), (f"Text:{LOSS}\nLabel:", "0"), (f"Text:{UMLAUTS}\nLabel:", "1")],
    "finsen_hard": [(f"{GAIN}:::", "1"), (f"{LOSS}:::", "0"), (f"{UMLAUTS}:::", "1")],
    "finsen_remap": [
        (f"Text:{GAIN}\nLabel:", "Friday"),
        (f"Text:{LOSS}\nLabel:", "apple"),
        (f"Text:{UMLAUTS}\nLabel:", "Friday"),
    ],
    "poems": [
        ("Text:and that is why, the lonesome day,\nLabel:", "0"),
        ("Text:that has a charmingly bourbon air.\nLabel:", "1"),
    ],
    "poems_hard": [("and that is why, the lonesome day,:::", "0"), ("that has a charmingly bourbon air.:::", "1")],
    "poems_remap": [
        ("Text:and that is why, the lonesome day,\nLabel:", "apple"),
        ("Text:that has a charmingly bourbon air.\nLabel:", "Friday"),
    ],
    "agnews": [
        (f"Text:{BEARS}\nLabel:", "2"),
        (CUP, "1"),
        ("Text:Invented summit opens\nLabel:", "0"),
        ("Text:Invented probe lands\nLabel:", "3"),
    ],
    "agnews_hard": [
        (f"{BEARS}:::", "2"),
        ("Invented cup final\nends in a draw:::", "1"),
        ("Invented summit opens:::", "0"),
        ("Invented probe lands:::", "3"),
    ],
    "agnews_remap": [
        (f"Text:{BEARS}\nLabel:", "banana"),
        (CUP, "Friday"),
        ("Text:Invented summit opens\nLabel:", "apple"),
        ("Text:Invented probe lands\nLabel:", "Saturday"),
    ],
}
SIZES = {"finsen": (2, 1), "poems": (0, 2), "agnews": (3, 1)}


def write_all(root: Path, write: Callable[..., None]) -> None:
    write(root, FINSEN_HUB, "train", FINSEN, config="sentences_50agree")
    write(root, POEMS_HUB, "train", POEMS)
    write(root, AGNEWS_HUB, "train", AGNEWS[:3])
    write(root, AGNEWS_HUB, "test", AGNEWS[3:])


def check(name: str) -> None:
    rows, spec = task(name).load(), task(name).spec
    assert [(spec.question(row), spec.answer(row)) for row in (*rows.train, *rows.validation)] == EXPECTED[name]
    assert (len(rows.train), len(rows.validation)) == SIZES[name.partition("_")[0]]
    assert (spec.parser, spec.num_generated_tokens) == ("choice", 4 if name.endswith("remap") else 1)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_form_to_the_character(name: str, offline: Path) -> None:
    write_all(offline, write_file)
    check(name)


def test_through_datasets_itself(hub_folders: Path) -> None:
    write_all(hub_folders, write_repository)
    for name in SIZES:
        check(name)
    assert task("finsen").load().provenance["source"] == f"folder {FINSEN_HUB} (sentences_50agree) train"


def test_the_last_500_polar_sentences_are_held_out_in_their_order(offline: Path) -> None:
    rows = [{"sentence": f"invented {number}", "label": number % 3} for number in range(1800)]
    write_file(offline, FINSEN_HUB, "train", rows, config="sentences_50agree")
    found = task("finsen").load()
    polar = [row["sentence"] for row in rows if row["label"] != 1]
    assert [row["sentence"] for row in found.train] == polar[:700]
    assert [row["sentence"] for row in found.validation] == polar[700:]


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("finsen", {"sentence": "invented", "label": 3}, r"unknown label '3'; known: 0, 1, 2$"),
        ("finsen", {"text": "invented", "label": 1}, r"the column 'sentence' is missing \(there: text, label\)"),
        ("poems", {"verse_text": "invented", "label": -1}, r"unknown label '-1'; known: 0, 1, 2, 3$"),
        ("poems", {"verse_text": None, "label": 2}, r"the column 'verse_text' holds NoneType"),
        ("agnews", {"text": "invented", "label": 4}, r"unknown label '4'; known: 0, 1, 2, 3$"),
        ("agnews", {"title": "invented", "label": 0}, r"the column 'text' is missing"),
    ],
)
def test_a_row_of_another_kind_is_named(name: str, row: dict[str, object], message: str, offline: Path) -> None:
    write_all(offline, write_file)
    source, rows, config = {
        "finsen": (FINSEN_HUB, FINSEN, "sentences_50agree"),
        "poems": (POEMS_HUB, POEMS, ""),
        "agnews": (AGNEWS_HUB, AGNEWS, ""),
    }[name]
    write_file(offline, source, "train", [*rows, row], config)
    with pytest.raises(UserError, match=r"/train\.jsonl, row 5: " + message):
        task(name).load()
