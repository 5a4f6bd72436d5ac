"""sst2 and gsm8k from invented rows in the hub's schema, both through files and through `datasets` itself."""

from pathlib import Path

import pytest

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.parsers import parse
from ia2.tasks.task_spec import Rows

PLACES = ["offline", "hub_folders"]


def rendered(name: str, rows: Rows) -> list[tuple[str, str]]:
    spec = task(name).spec
    return [(spec.question(row), spec.answer(row)) for row in (*rows.train, *rows.validation)]


@pytest.mark.parametrize("place", PLACES)
def test_sst2_to_the_character(place: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(place)
    rows = task("sst2").load()
    assert len(rows.train) == 2
    assert rendered("sst2", rows) == [
        ("Text:a gripping and generous film\nLabel:", "1"),
        ("Text:two hours of {empty} noise\nLabel:", "0"),
        ("Text:it 's neither warm nor funny .\nLabel:", "0"),
    ]
    assert (task("sst2").spec.num_generated_tokens, task("sst2").spec.labels["1"]) == (1, "positive")


@pytest.mark.parametrize("place", PLACES)
def test_gsm8k_to_the_character(place: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(place)
    rows = task("gsm8k").load()
    assert len(rows.train) == 2
    assert rendered("gsm8k", rows) == [
        (
            "Question:Ann has 3 apples and buys 2. How many has she?\nAnswer:",
            "She has 3+2=<<3+2=5>>5 apples.\n#### 5",
        ),
        (
            "Question:A pit.\nHow deep?\nAnswer:",
            "It is dug 1,000 m down.\nSo below ground: -1000\n#### -1,000",
        ),
        ("Question:Half of 33?\nAnswer:", "33/2=<<33/2=16.5>>16.5\n#### 16.5"),
    ]
    assert [parse(answer, task("gsm8k").spec) for _, answer in rendered("gsm8k", rows)] == ["5", "-1000", "16.5"]
    assert task("gsm8k").spec.num_generated_tokens == 200


def test_both_ways_give_the_same_content(offline: Path, hub_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    through_datasets = task("sst2").load()
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(offline))
    from_files = task("sst2").load()
    assert through_datasets.train == from_files.train
    for split in ("train", "validation"):
        assert through_datasets.provenance[f"{split}_sha256"] == from_files.provenance[f"{split}_sha256"]
    assert through_datasets.provenance["train_source"] == "folder stanfordnlp/sst2 train"
    assert from_files.provenance["train_source"] == "file stanfordnlp__sst2/train.parquet"


def test_a_label_of_no_meaning_is_an_error(offline: Path) -> None:
    (offline / "stanfordnlp__sst2" / "train.parquet").unlink()
    (offline / "stanfordnlp__sst2" / "train.jsonl").write_text('{"sentence": "invented", "label": -1}\n')
    with pytest.raises(UserError, match=r"sst2/train\.jsonl, row 1: unknown label '-1'; known: 0, 1"):
        task("sst2").load()


def test_a_missing_column_is_an_error(offline: Path) -> None:
    (offline / "openai__gsm8k__main" / "test.jsonl").write_text('{"question": "invented"}\n')
    with pytest.raises(UserError, match=r"gsm8k__main/test\.jsonl, row 1: the column 'answer' is missing"):
        task("gsm8k").load()
