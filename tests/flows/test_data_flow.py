"""`prepare` and `create` as commands: forms and parts, task files, kinds of demonstrations, processes, lengths."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_tokenizer
from tiny_runs import training, write_dataset

from ia2 import store
from ia2.commands.data_files import add_token_lengths, create_all, prepare_all
from ia2.commands.train import resolve, train
from ia2.config import CreateConfig, PrepareConfig
from ia2.errors import UserError
from ia2.models import loading
from ia2.models.loading import ModelCache
from ia2.prompts.splits import load_split
from ia2.tasks.pool import load_pool

TASK_FILE = """
name = "tickets"
template = "Text:{text}\\nLabel:"
answer = " {label}"
parser = "choice"
num_generated_tokens = 3
[labels]
billing = "billing"
technical = "technical"
[source]
file = "tickets.csv"
num_validation = 4
"""


@pytest.fixture
def tickets(tmp_path: Path) -> str:
    """A task file beside invented rows; returns it as a person would write it."""
    labels = ["billing", "technical"]
    rows = [f"ticket number {i},{labels[i % 2]}" for i in range(16)]
    (tmp_path / "tickets.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "tickets.toml").write_text(TASK_FILE)
    return str(tmp_path / "tickets.toml")


def metadata(root: Path, dataset: str) -> dict[str, object]:
    return dict(json.loads(store.pool_path(root, dataset).read_text())["metadata"])


# Prepare


@pytest.fixture
def offline_sst2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "hub" / "stanfordnlp__sst2"
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        rows = [{"sentence": f"invented {split} {i}", "label": i % 2} for i in range(4)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path / "hub"))


@pytest.mark.usefixtures("offline_sst2")
@pytest.mark.parametrize(("flags", "name"), [({"label_template": "remap"}, "sst2_remap"), ({}, "sst2")])
def test_templates_are_names(tmp_path: Path, flags: dict[str, str], name: str) -> None:
    (path,) = prepare_all(PrepareConfig(root=tmp_path, datasets=("sst2",), **flags))
    assert path == store.pool_path(tmp_path, name)
    answers = {example.answer for example in load_pool(tmp_path, name).train}
    assert answers == ({"apple", "Friday"} if flags else {"0", "1"})
    found = metadata(tmp_path, name)
    assert found["remap_dict"] == ({"0": "apple", "1": "Friday"} if flags else None)
    assert found["max_choices"] == 2


def test_a_question_asked_twice_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "hub" / "stanfordnlp__sst2"
    folder.mkdir(parents=True)
    texts = {"train": ["one", "two", "one", "three "], "validation": ["three", "three", "four"]}
    for split, sentences in texts.items():
        rows = [{"sentence": text, "label": i % 2} for i, text in enumerate(sentences)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path / "hub"))
    prepare_all(PrepareConfig(root=tmp_path, datasets=("sst2",)))
    pool = load_pool(tmp_path, "sst2")
    assert sorted((e.idx, e.question) for e in pool.train) == [(0, "Text:one\nLabel:"), (1, "Text:two\nLabel:")]
    assert sorted((e.idx, e.question) for e in pool.validation) == [(0, "Text:three\nLabel:"), (2, "Text:four\nLabel:")]


def test_lengths_are_added_while_no_other_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = prepare_all(PrepareConfig(root=tmp_path, datasets=("capitals",)))
    locked, read, write = list[tuple[str, bool]](), store.read_object, store.write_object

    def reading(target: Path) -> dict[str, Any]:
        locked.append(("read", store.is_locked(path.parent)))
        return read(target)

    def writing(target: Path, content: Mapping[str, Any]) -> None:
        locked.append(("written", store.is_locked(path.parent)))
        write(target, content)

    monkeypatch.setattr(loading, "load_tokenizer", lambda _: tiny_tokenizer("one"))
    monkeypatch.setattr(store, "read_object", reading)
    monkeypatch.setattr(store, "write_object", writing)
    add_token_lengths(path, "tiny")
    assert set(locked) == {("read", True), ("written", True)}
    assert [what for what, _ in locked].count("written") == 1


def test_lengths_in_tokens_are_added_once_asked_for(tmp_path: Path, tiny_model_folder: Path) -> None:
    sizes = {"root": tmp_path, "datasets": ("capitals",), "num_train_samples": 4, "num_val_samples": 2}
    (path,) = prepare_all(PrepareConfig(**sizes))
    before = store.read_object(path)
    assert "question_tokens" not in before["metadata"]
    prepare_all(PrepareConfig(**sizes, model_id=str(tiny_model_folder)))
    after = store.read_object(path)
    lengths = after["metadata"].pop("question_tokens")
    assert lengths["min"] <= lengths["median"] <= lengths["max"] <= after["metadata"]["question_characters"]["max"]
    assert after["metadata"].pop("answer_tokens")["min"] >= 1
    assert after["metadata"].pop("tokenizer") == str(tiny_model_folder)
    assert after.pop("sha256") != before.pop("sha256")
    assert after == before


# Task files


def test_a_task_file_goes_wherever_a_dataset_does(tmp_path: Path, tickets: str, tiny_model_folder: Path) -> None:
    config = training(tmp_path, tiny_model_folder, dataset=tickets, num_generated_tokens=None)
    folder = train(config, ModelCache())
    assert folder.parent == tmp_path / "outputs" / "act" / "tickets"
    assert "tickets.toml" not in (folder / "run.json").read_text()
    assert load_pool(tmp_path, "tickets").spec.num_generated_tokens == 3
    assert train(config.model_copy(update={"dataset": "tickets"}), ModelCache()) == folder
    (made,) = create_all(CreateConfig(root=tmp_path, datasets=(tickets,), num_train_examples=(6,), num_runs=1))
    assert made == store.split_path(tmp_path, "tickets", 6, 0)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("tickets.toml", ("Label:", "Kind:"), r"another version of .*tickets\.toml; .*--overwrite"),
        ("tickets.csv", ("number 3", "number three"), r"other rows than .*tickets\.toml names; .*--overwrite"),
    ],
)
def test_a_changed_task_is_noticed(
    tmp_path: Path, tickets: str, file: str, change: tuple[str, str], message: str
) -> None:
    prepare_all(PrepareConfig(root=tmp_path, datasets=(tickets,)))
    prepare_all(PrepareConfig(root=tmp_path, datasets=(tickets,)))
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(*change))
    with pytest.raises(UserError, match=message):
        prepare_all(PrepareConfig(root=tmp_path, datasets=(tickets,)))
    (path,) = prepare_all(PrepareConfig(root=tmp_path, datasets=(tickets,), overwrite=True))
    assert change[1] in path.read_text()


# Create


@pytest.mark.parametrize(
    ("flags", "place", "num_rows"),
    [
        ({}, "train/4_0.json", 4),
        ({"fixed_demos": True}, "train_fixed/4_0.json", 4),
        ({"shuffle_demos": True, "num_shuffles": 3}, "train/shuffled_3_4_0.json", 12),
    ],
)
def test_every_kind_of_demonstrations_is_made_where_training_looks_for_it(
    tmp_path: Path, tiny_model_folder: Path, flags: dict[str, object], place: str, num_rows: int
) -> None:
    write_dataset(tmp_path, "made_up", [f"q{i}" for i in range(20)])
    common = {"root": tmp_path, "datasets": ("made_up",), "num_train_examples": (4,), "num_runs": 1}
    (path,) = create_all(CreateConfig(**common, **flags))
    assert path == tmp_path / "data" / "made_up" / place
    config = training(tmp_path, tiny_model_folder, dataset="made_up", no_prepare=True, **flags)
    assert store.split_file(tmp_path, resolve(config)) == path
    assert len(load_split(path, load_pool(tmp_path, "made_up").train).train) == num_rows
    folder = train(config, ModelCache())
    assert all(f"+{key}={value}" in folder.name for key, value in flags.items())


def test_both_kinds_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fixed_demos and shuffle_demos exclude each other"):
        create_all(CreateConfig(root=tmp_path, datasets=("capitals",), fixed_demos=True, shuffle_demos=True))
    assert not list((tmp_path / "data").rglob("*.json")) or not (tmp_path / "data" / "capitals" / "train").exists()


def test_processes_draw_the_same_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("one", "two"):
        write_dataset(tmp_path / name, "made_up", [f"q{i}" for i in range(60)])
    common = {"datasets": ("made_up",), "num_train_examples": (4, 8), "num_runs": 3, "stratified": True}
    alone = create_all(CreateConfig(root=tmp_path / "one", num_workers=1, **common))
    alone[2].unlink()  # an interrupted call goes on from what there is
    shared = create_all(CreateConfig(root=tmp_path / "two", num_workers=2, **common))
    with caplog.at_level("INFO", "ia2"):
        create_all(CreateConfig(root=tmp_path / "one", num_workers=2, **common))
    assert caplog.messages[-1] == "6 splits stand, 1 of them new"
    assert all(store.read_object(path)["settings"]["stratified"] for path in alone)
    assert [path.read_bytes() for path in alone] == [path.read_bytes() for path in shared]
