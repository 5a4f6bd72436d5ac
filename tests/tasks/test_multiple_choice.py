"""The multiple-choice sets, to the character, from rows in the hub's schema. All but the row of qasc are invented."""

from pathlib import Path

import pytest
from hub_layout import write_file, write_repository

from ia2.errors import UserError
from ia2.sources import HubError
from ia2.tasks import task
from ia2.tasks.registry import DATASETS
from ia2.tasks.task_spec import Rows

# The row that https://huggingface.co/datasets/allenai/qasc shows.
QASC_ROW = {
    "question": "Climate is generally described in terms of what?",
    "choices": {
        "text": [
            "sand",
            "occurs over a wide range",
            "forests",
            "Global warming",
            "rapid changes occur",
            "local weather conditions",
            "measure of motion",
            "city life",
        ],
        "label": ["A", "B", "C", "D", "E", "F", "G", "H"],
    },
    "answerKey": "F",
    "fact1": "Climate is generally described in terms of temperature and moisture.",
}


def keyed(question: str, texts: list[str], labels: str, key: str) -> dict[str, object]:
    return {"question": question, "choices": {"text": texts, "label": list(labels)}, "answerKey": key}


ARC_ROWS = [
    keyed("Which is a metal?", ["Wood", "Iron", "Glass", "Wool"], "ABCD", "B"),
    keyed("Which floats?", ["Lead", "Iron", "Stone", "Cork"], "1234", "4"),
    keyed("Which melts?", ["Ice", "Fire", "Smoke"], "ABC", "A"),
    keyed("Which burns?", ["Sand", "Salt", "Water", "Stone", "Wood"], "ABCDE", "E"),
]
HELLASWAG_ROW = {
    "ctx": "She cracks an egg. then she",
    "endings": ["paints it.", ", stirs {it}.", "flies\n off.", "sleeps."],
    "label": "1",
}
COSMOSQA_ROW = {
    "context": "It rained .\n\nI stayed in . ",
    "question": "Why did I stay in ?",
    "answer0": "I was tired .",
    "answer1": "None of the above choices .",
    "answer2": "I was ill .",
    "answer3": "It was wet .",
    "label": 3,
}


def mmlupro_row(question: str, category: str, num_choices: int = 10) -> dict[str, object]:
    options = [f"option {letter}" for letter in "abcdefghijk"[:num_choices]]
    return {"question": question, "options": options, "answer_index": num_choices - 1, "category": category}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    return tmp_path


def rendered(name: str, rows: Rows) -> list[tuple[str, str]]:
    spec = task(name).spec
    return [(spec.question(row), spec.answer(row)) for row in (*rows.train, *rows.validation)]


def loaded(name: str) -> list[tuple[str, str]]:
    return rendered(name, task(name).load())


def test_qasc_in_its_three_forms(data: Path) -> None:
    for split in ("train", "validation"):
        write_file(data, "allenai/qasc", split, [QASC_ROW])
    (normal, *_) = loaded("qasc")
    assert normal == (
        "Question:Climate is generally described in terms of what?\nChoices:\n[0]sand\n[1]occurs over a wide range\n"
        "[2]forests\n[3]Global warming\n[4]rapid changes occur\n[5]local weather conditions\n[6]measure of motion\n"
        "[7]city life\n\nAnswer:",
        "5",
    )
    (hard, *_) = loaded("qasc_hard")
    assert hard == (
        "Climate is generally described in terms of what?:::sand::occurs over a wide range::forests::Global warming::"
        "rapid changes occur::local weather conditions::measure of motion::city life:",
        "5",
    )
    (remap, *_) = loaded("qasc_remap")
    assert remap == (
        "Question:Climate is generally described in terms of what?\nChoices:\n[apple]sand\n"
        "[Friday]occurs over a wide range\n[banana]forests\n[Saturday]Global warming\n[Thursday]rapid changes occur\n"
        "[Sunday]local weather conditions\n[Wednesday]measure of motion\n[Monday]city life\n\nAnswer:",
        "Sunday",
    )


def test_arc_has_four_choices_however_their_keys_are_called(data: Path) -> None:
    write_file(data, "allenai/ai2_arc", "train", ARC_ROWS, "ARC-Challenge")
    write_file(data, "allenai/ai2_arc", "test", ARC_ROWS[:1], "ARC-Challenge")
    assert len(task("arc").load().validation) == 1
    assert loaded("arc") == [
        ("Question:Which is a metal?\nChoices:\n[0]Wood\n[1]Iron\n[2]Glass\n[3]Wool\n\nAnswer:", "1"),
        ("Question:Which floats?\nChoices:\n[0]Lead\n[1]Iron\n[2]Stone\n[3]Cork\n\nAnswer:", "3"),
        ("Question:Which is a metal?\nChoices:\n[0]Wood\n[1]Iron\n[2]Glass\n[3]Wool\n\nAnswer:", "1"),
    ]
    (hard, *_) = loaded("arc_hard")
    assert hard == ("Which is a metal?:::Wood::Iron::Glass::Wool:", "1")
    (_, remap, _) = loaded("arc_remap")
    assert remap == (
        "Question:Which floats?\nChoices:\n[apple]Lead\n[Friday]Iron\n[banana]Stone\n[Saturday]Cork\n\nAnswer:",
        "Saturday",
    )


def test_nested_columns_through_datasets_itself(hub_folders: Path) -> None:
    for split in ("train", "test"):
        write_repository(hub_folders, "allenai/ai2_arc", split, ARC_ROWS, "ARC-Challenge")
    rows = task("arc").load()
    assert [answer for _, answer in rendered("arc", rows)] == ["1", "3", "1", "3"]
    assert rows.provenance["train_source"] == "folder allenai/ai2_arc (ARC-Challenge) train"


def test_hellaswag_in_its_three_forms(data: Path) -> None:
    for split in ("train", "validation"):
        write_file(data, "Rowan/hellaswag", split, [HELLASWAG_ROW])
    (normal, *_) = loaded("hellaswag")
    assert normal == (
        "Sentence:She cracks an egg. then she\nContinuation:\n[0]paints it.\n[1], stirs {it}.\n[2]flies off.\n"
        "[3]sleeps.\nAnswer:",
        "1",
    )
    (hard, *_) = loaded("hellaswag_hard")
    assert hard == ("She cracks an egg. then she:::paints it.::, stirs {it}.::flies off.::sleeps.:", "1")
    (remap, *_) = loaded("hellaswag_remap")
    assert remap == (
        "Sentence:She cracks an egg. then she\nContinuation:\n[apple]paints it.\n[Friday], stirs {it}.\n"
        "[banana]flies off.\n[Saturday]sleeps.\nAnswer:",
        "Friday",
    )


def test_cosmosqa_in_its_three_forms_with_none_of_the_above_last(data: Path) -> None:
    write_file(data, "allenai/cosmos_qa", "train", [COSMOSQA_ROW])
    write_file(data, "allenai/cosmos_qa", "validation", [COSMOSQA_ROW | {"label": 1}])
    (normal, none) = loaded("cosmosqa")
    assert normal == (
        "Context:It rained .\nI stayed in .\nQuestion:Why did I stay in ?\nChoices:\n[0]I was tired .\n"
        "[1]I was ill .\n[2]It was wet .\n[3]None of the above choices .\nAnswer:",
        "2",
    )
    assert none == (normal[0], "3")
    (hard, _) = loaded("cosmosqa_hard")
    assert hard == (
        "It rained .\nI stayed in .\nWhy did I stay in ?:::I was tired .::I was ill .::It was wet .::"
        "None of the above choices .:",
        "2",
    )
    (remap, _) = loaded("cosmosqa_remap")
    assert remap == (
        "Context:It rained .\nI stayed in .\nQuestion:Why did I stay in ?\nChoices:\n[apple]I was tired .\n"
        "[Friday]I was ill .\n[banana]It was wet .\n[Saturday]None of the above choices .\nAnswer:",
        "banana",
    )


def test_cosmosqa_without_none_of_the_above_keeps_its_order(data: Path) -> None:
    for split in ("train", "validation"):
        write_file(data, "allenai/cosmos_qa", split, [COSMOSQA_ROW | {"answer1": "I was late ."}])
    (shown, _) = loaded("cosmosqa")
    assert shown[0].endswith("[0]I was tired .\n[1]I was late .\n[2]I was ill .\n[3]It was wet .\nAnswer:")
    assert shown[1] == "3"


def test_mmlupro_whole_and_by_category(data: Path) -> None:
    sorted_by_category = [
        *(mmlupro_row(f"law {number}?", "law") for number in range(5)),
        *(mmlupro_row(f"bits {number}?", "computer science", num_choices=3) for number in range(6)),
    ]
    write_file(data, "TIGER-Lab/MMLU-Pro", "test", sorted_by_category)
    whole = task("mmlupro").load()
    assert (len(whole.train), len(whole.validation)) == (6, 5)
    # The smallest and the largest sha256 of the eleven questions.
    assert rendered("mmlupro", whole)[0][0].startswith("Question:law 1?\n")
    assert rendered("mmlupro", whole)[-1][0].startswith("Question:bits 3?\n")
    bits = task("mmlupro_computer_science").load()
    assert (len(bits.train), len(bits.validation)) == (3, 3)
    assert {answer for _, answer in rendered("mmlupro_computer_science", bits)} == {"2"}
    law = rendered("mmlupro_law", task("mmlupro_law").load())
    listed = "\n".join(f"[{index}]option {letter}" for index, letter in enumerate("abcdefghij"))
    assert sorted(law)[0] == (f"Question:law 0?\nChoices:\n{listed}\n\nAnswer:", "9")
    hard = rendered("mmlupro_law_hard", task("mmlupro_law_hard").load())
    listed = "::".join(f"option {letter}" for letter in "abcdefghij")
    assert sorted(hard)[0] == (f"law 0?:::{listed}:", "9")


def test_mmlupro_copies_are_neighbours_and_the_order_of_the_file_is_no_matter(data: Path) -> None:
    questions = [mmlupro_row(f"{number % 8}?", "law") for number in range(16)]
    write_file(data, "TIGER-Lab/MMLU-Pro", "test", questions)
    rows = task("mmlupro").load()
    assert not {row["question"] for row in rows.train} & {row["question"] for row in rows.validation}
    write_file(data, "TIGER-Lab/MMLU-Pro", "test", questions[::-1])
    assert task("mmlupro").load().validation == rows.validation


def test_mmlupro_has_more_labels_than_words() -> None:
    for name in ("mmlupro", "mmlupro_computer_science"):
        with pytest.raises(UserError, match=f"{name} has 10 labels, more than there are words"):
            task(f"{name}_remap")
    assert len([name for name in DATASETS if name.startswith("mmlupro_")]) == 14
    assert (task("mmlupro").size, task("mmlupro_history").size) == ("11,532 / 500", "191 / 190")


@pytest.mark.parametrize(
    ("source", "name", "row", "message"),
    [
        ("allenai/qasc", "qasc", QASC_ROW | {"answerKey": ""}, "answerKey '' and the labels A, B, .* of 8 choices"),
        ("allenai/qasc", "qasc", keyed("?", ["a", "b"], "ABC", "C"), "answerKey 'C' and the labels A, B, C of 2"),
        ("allenai/qasc", "qasc", keyed("?", list("abcdefghi"), "ABCDEFGHI", "A"), "9 choices; 2 to 8 are expected"),
        ("allenai/qasc", "qasc", keyed("?", ["a"], "A", "A"), "1 choices; 2 to 8 are expected"),
        ("allenai/qasc", "qasc", {"question": "?", "answerKey": "A"}, "the column 'choices' is missing"),
        ("Rowan/hellaswag", "hellaswag", HELLASWAG_ROW | {"label": ""}, "unknown label ''; known: 0, 1, 2, 3"),
        ("Rowan/hellaswag", "hellaswag", HELLASWAG_ROW | {"endings": "a"}, "'endings' holds str; a list of texts"),
        ("allenai/cosmos_qa", "cosmosqa", COSMOSQA_ROW | {"label": -1}, "unknown label '-1'; known: 0, 1, 2, 3"),
        ("TIGER-Lab/MMLU-Pro", "mmlupro", mmlupro_row("?", "law", 11), "11 choices; 2 to 10 are expected"),
        ("TIGER-Lab/MMLU-Pro", "mmlupro", mmlupro_row("?", "law") | {"answer_index": 10}, "unknown label '10'"),
        ("TIGER-Lab/MMLU-Pro", "mmlupro_law", mmlupro_row("?", "Law"), "unknown label 'Law'; known: biology, "),
    ],
)
def test_a_bad_row_is_named(data: Path, source: str, name: str, row: dict[str, object], message: str) -> None:
    for split in ("train", "validation", "test"):
        write_file(data, source, split, [row])
    with pytest.raises(UserError, match=rf"file {source.replace('/', '__')}/\w+\.jsonl, row 1: .*{message}"):
        task(name).load()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("sst2", "movies"),
        ("gsm8k", "gsm8ks"),
        ("sciq", "capitals"),
        ("cosmosqa", "capitals"),
        ("mathqa", "gsm8ks"),
        ("hmath_geometry", "gsm8ks"),
    ],
)
def test_without_data_the_nearest_task_is_named(data: Path, name: str, nearest: str) -> None:
    with pytest.raises(HubError, match=f"the nearest task is {nearest}"):
        task(name).load()
