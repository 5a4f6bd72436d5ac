"""`prepare` and `create`: what they write, what they find there, and what they refuse."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import files_of, write_dataset

from ia2 import store
from ia2.commands.data_files import create, prepare, render_pool
from ia2.errors import UserError
from ia2.prompts.splits import SplitSpec, load_split
from ia2.tasks import task
from ia2.tasks.pool import load_pool, read_provenance
from ia2.tasks.task_spec import Row


def test_a_prepared_dataset_is_the_sampled_rows(tmp_path: Path) -> None:
    path = prepare(tmp_path, "capitals", 10, 20)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert set(data) == {"metadata", "train_examples", "val_examples", "sha256"}
    pool, rows = load_pool(tmp_path, "capitals"), task("capitals").load()
    assert (len(pool.train), len(pool.validation)) == (10, 20)
    for examples, source in ((pool.train, rows.train), (pool.validation, rows.validation)):
        for example in examples:
            row = source[example.idx]
            assert example.question == f"Input: {row['country']}\nOutput:"
            assert example.answer == f" {row['capital']}"
    assert not {one.question for one in pool.train} & {one.question for one in pool.validation}


ROWS = st.lists(st.fixed_dictionaries({"country": st.sampled_from("abcdef"), "capital": st.sampled_from("XY")}))


@given(train=ROWS, validation=ROWS, num_train=st.integers(0, 9), num_val=st.integers(0, 9))
def test_no_question_is_in_a_pool_twice(train: list[Row], validation: list[Row], num_train: int, num_val: int) -> None:
    settings = {"num_train_samples": num_train, "num_val_samples": num_val, "seed": 42}
    pool = render_pool(task("capitals"), train, validation, settings)
    questions = [example.question for example in (*pool.train, *pool.validation)]
    assert len(set(questions)) == len(questions)
    asked = {row["country"] for row in validation}
    assert len(pool.validation) == min(num_val, len(asked))
    shown = {example.question for example in pool.validation}
    free = {task("capitals").spec.question(row) for row in train} - shown
    assert len(pool.train) == min(num_train, len(free))
    for examples, rows in ((pool.train, train), (pool.validation, validation)):
        for one in examples:
            first = next(i for i, row in enumerate(rows) if task("capitals").spec.question(row) == one.question)
            assert one.idx == first


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (prepare(tmp_path / name, "capitals", 10, 20).read_bytes() for name in "ab")
    assert first == second


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    path = prepare(tmp_path, "capitals", 10, 20)
    before = path.stat().st_mtime_ns
    assert prepare(tmp_path, "capitals", 10, 20) == path
    assert path.stat().st_mtime_ns == before


def test_other_settings_need_overwrite(tmp_path: Path) -> None:
    path = prepare(tmp_path, "capitals", 10, 20)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"num_val_samples=20, not 21; --overwrite"):
        prepare(tmp_path, "capitals", 10, 21)
    assert path.read_bytes() == before
    prepare(tmp_path, "capitals", 10, 21, overwrite=True)
    assert len(load_pool(tmp_path, "capitals").validation) == 21


def test_an_unknown_dataset_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'capital' \(did you mean capitals"):
        prepare(tmp_path, "capital", 10, 20)
    assert files_of(tmp_path) == {}


def test_a_split_is_written_once(tmp_path: Path) -> None:
    prepare(tmp_path, "capitals", 30, 5)
    path = create(tmp_path, "capitals", SplitSpec(4, 0))
    assert path == tmp_path / "data" / "capitals" / "train" / "4_0.json"
    before = path.stat().st_mtime_ns
    create(tmp_path, "capitals", SplitSpec(4, 0))
    assert path.stat().st_mtime_ns == before
    pool = load_pool(tmp_path, "capitals")
    split = load_split(path, pool.train)
    assert (len(split.train), len(split.dev), len(split.remaining)) == (4, 2, 24)


@pytest.mark.parametrize("changed", [{"max_icl_demos": 2}, {"num_dev_examples": 1}])
def test_a_split_drawn_otherwise_needs_overwrite(tmp_path: Path, changed: dict[str, int]) -> None:
    prepare(tmp_path, "capitals", 30, 5)
    path = create(tmp_path, "capitals", SplitSpec(4, 0))
    before = path.read_bytes()
    ((field, value),) = changed.items()
    with pytest.raises(UserError, match=rf"{field}=\d+, not {value}; .*--overwrite"):
        create(tmp_path, "capitals", SplitSpec(4, 0, **changed))
    assert path.read_bytes() == before
    create(tmp_path, "capitals", SplitSpec(4, 0, **changed), overwrite=True)
    assert path.read_bytes() != before


@pytest.mark.parametrize("changed", [{"max_icl_demos": 4}, {"max_icl_demos": 9}, {"num_dev_examples": 2}])
def test_a_split_with_all_there_are_is_the_same_whatever_the_number(tmp_path: Path, changed: dict[str, int]) -> None:
    """Also one of the first edition, which wrote the number that was asked for."""
    prepare(tmp_path, "capitals", 30, 5)
    path = create(tmp_path, "capitals", SplitSpec(4, 0))
    before = path.read_bytes()
    create(tmp_path, "capitals", SplitSpec(4, 0, **changed))
    create(tmp_path, "capitals", SplitSpec(4, 0, **changed), overwrite=True)
    assert path.read_bytes() == before
    older = {key: value for key, value in store.read_object(path).items() if key != "sha256"}
    older["settings"] |= {"max_icl_demos": 256, "num_dev_examples": 50}
    store.write_json(path, older)
    create(tmp_path, "capitals", SplitSpec(4, 0, **changed))
    with pytest.raises(UserError, match="max_icl_demos=256, not 3"):
        create(tmp_path, "capitals", SplitSpec(4, 0, max_icl_demos=3))


@pytest.mark.parametrize("num", [1, 0, -3])
def test_fewer_than_two_examples_are_no_training_set(tmp_path: Path, num: int) -> None:
    prepare(tmp_path, "capitals", 30, 5)
    with pytest.raises(UserError, match=f"num_train_examples={num}: .*at least 2"):
        create(tmp_path, "capitals", SplitSpec(num, 0))
    assert not (tmp_path / "data" / "capitals" / "train").exists()


@pytest.mark.parametrize(("num", "fits"), [(20, True), (21, False), (31, False)])
def test_a_training_set_has_to_fit_the_pool(tmp_path: Path, num: int, fits: bool) -> None:
    prepare(tmp_path, "capitals", 30, 5)  # 20 + 10 dev examples are all there are
    if fits:
        assert len(load_split_of(tmp_path, num)) == num
        return
    with pytest.raises(UserError, match=rf"num_train_examples={num}: .* pool of 30; choose a smaller N"):
        create(tmp_path, "capitals", SplitSpec(num, 0))
    assert not list((tmp_path / "data" / "capitals" / "train").glob("[!.]*"))


def load_split_of(root: Path, num: int) -> tuple[object, ...]:
    path = create(root, "capitals", SplitSpec(num, 0))
    return load_split(path, load_pool(root, "capitals").train).train


def test_a_dataset_for_evaluation_only_is_refused_by_name(tmp_path: Path) -> None:
    prepare(tmp_path, "past_tense_irregular", 30, 5)
    with pytest.raises(UserError, match="'past_tense_irregular' is for evaluation only"):
        create(tmp_path, "past_tense_irregular", SplitSpec(4, 0))


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"metadata": {}, "train_examples": [1]}', "{"])
def test_a_malformed_dataset_is_named(tmp_path: Path, content: str) -> None:
    path = store.pool_path(tmp_path, "capitals")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=r"main\.json"):
        create(tmp_path, "capitals", SplitSpec(4, 0))
    assert list(files_of(tmp_path)) == ["data/capitals/main.json"]


@pytest.mark.parametrize(
    ("part", "content", "told"),
    [
        ("train_examples", [{"idx": 0, "question": "Q:", "answer": None}], "the column 'answer' holds NoneType"),
        ("val_examples", [{"idx": 0, "question": ["Q:"], "answer": "A"}], "the column 'question' holds list"),
        ("metadata", {"task": {"name": "towns", "parser": "first"}}, "3 validation errors for TaskSpec"),
        ("val_examples", [{"idx": float("inf"), "question": "Q:", "answer": "A"}], "inf"),
        ("train_examples", [{"idx": 2**63, "question": "Q:", "answer": "A"}], str(2**63)),
    ],
)
def test_what_is_wrong_in_a_dataset_is_one_line(tmp_path: Path, part: str, content: object, told: str) -> None:
    write_dataset(tmp_path, "towns", ["a", "b", "c"])
    path = store.pool_path(tmp_path, "towns")
    store.write_json(path, {**store.read_json(path), part: content})
    with pytest.raises(UserError, match=told) as caught:
        load_pool(tmp_path, "towns")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", [None, [], "text", 1, {"provenance": [1]}, {"provenance": "text"}])
def test_settings_that_are_no_object_are_none(tmp_path: Path, odd: object) -> None:
    write_dataset(tmp_path, "capitals", [f"q{i}" for i in range(20)])
    path = store.pool_path(tmp_path, "capitals")
    store.write_json(path, {**store.read_json(path), "metadata": odd})
    assert prepare(tmp_path, "capitals", 4, 4) == path
    assert read_provenance(tmp_path, "capitals") == {"source": None, "licence": None}


@pytest.mark.parametrize("odd", [None, [], "text", 1])
def test_a_split_whose_settings_are_no_object_is_taken(tmp_path: Path, odd: object) -> None:
    write_dataset(tmp_path, "made_up", [f"q{i}" for i in range(20)])
    path = create(tmp_path, "made_up", SplitSpec(4, 0, max_icl_demos=2))
    store.write_object(path, {**store.read_object(path), "settings": odd})
    assert create(tmp_path, "made_up", SplitSpec(4, 0, max_icl_demos=2)) == path


@pytest.mark.parametrize("content", ["", "[]", "null", "{"])
def test_prepare_names_a_malformed_dataset_that_is_there(tmp_path: Path, content: str) -> None:
    path = store.pool_path(tmp_path, "capitals")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=r"main\.json"):
        prepare(tmp_path, "capitals", 4, 4)
    assert path.read_text() == content
    prepare(tmp_path, "capitals", 4, 4, overwrite=True)
    assert len(load_pool(tmp_path, "capitals").train) == 4


@pytest.mark.parametrize("content", ["", "[]", "null", "{"])
def test_create_names_a_malformed_split_that_is_there(tmp_path: Path, content: str) -> None:
    write_dataset(tmp_path, "made_up", [f"q{i}" for i in range(20)])
    path = store.split_path(tmp_path, "made_up", 4, 0)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=r"4_0\.json"):
        create(tmp_path, "made_up", SplitSpec(4, 0))


@pytest.mark.parametrize("name", ["main.json", "train/4_0.json"])
def test_data_that_were_changed_are_refused_by_name(tmp_path: Path, name: str) -> None:
    """Of the remedies that are named, deleting it makes it again, and without the field it is read as it is."""
    prepare(tmp_path, "capitals", 30, 20)
    load_split_of(tmp_path, 4)
    path = tmp_path / "data" / "capitals" / name
    whole = path.read_bytes()
    text = whole.decode()
    path.write_text(re.sub(r"\d", lambda digit: str(9 - int(digit[0])), text, count=1), encoding="utf-8")
    with pytest.raises(UserError, match=rf"{path} is damaged .*; delete it .*, or, .* delete its field sha256$"):
        load_split_of(tmp_path, 4)
    edited = store.read_json(path)
    store.write_json(path, {key: value for key, value in edited.items() if key != "sha256"})
    load_split_of(tmp_path, 4)
    assert store.read_json(path) == {key: value for key, value in edited.items() if key != "sha256"}
    path.unlink()
    prepare(tmp_path, "capitals", 30, 20)
    load_split_of(tmp_path, 4)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_the_versions_that_made_data_decide_nothing(tmp_path: Path, content: bytes) -> None:
    prepare(tmp_path, "capitals", 30, 20)
    split = load_split_of(tmp_path, 4)
    before = files_of(tmp_path)
    path = tmp_path / "data" / "capitals" / "provenance.json"
    path.write_bytes(content)
    prepare(tmp_path, "capitals", 30, 20)
    assert load_split_of(tmp_path, 4) == split
    assert files_of(tmp_path) == {**before, str(path.relative_to(tmp_path)): content}
