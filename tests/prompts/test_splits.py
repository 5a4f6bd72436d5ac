import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2 import store
from ia2.errors import UserError
from ia2.prompts.splits import SplitSpec, draw_split, load_split, split_from_json, split_to_json
from ia2.tasks.task_spec import Example

POOL = tuple(Example(100 + index, f"Q{index}:", f"{index % 2}") for index in range(60))
POSITION = {example: position for position, example in enumerate(POOL)}
draws = st.builds(
    SplitSpec,
    num_train_examples=st.integers(1, 40),
    run_idx=st.integers(0, 50),
    max_icl_demos=st.integers(1, 50),
    num_dev_examples=st.integers(0, 30),
)


@given(draws)
def test_training_dev_and_remaining_are_the_pool_taken_apart(draw: SplitSpec) -> None:
    split = draw_split(POOL, draw)
    train, dev = ([POSITION[prompt.query] for prompt in part] for part in (split.train, split.dev))
    assert len(train) == draw.num_train_examples
    assert len(dev) == min(draw.num_dev_examples, draw.num_train_examples // 2)
    assert sorted([*train, *dev, *split.remaining]) == list(range(len(POOL)))
    assert split.train_examples == tuple(POOL[position] for position in train)


@given(draws)
def test_demonstrations_are_other_training_examples_and_at_most_so_many(draw: SplitSpec) -> None:
    split = draw_split(POOL, draw)
    train = set(split.train_examples)
    for part, available in ((split.train, len(train) - 1), (split.dev, len(train))):
        for prompt in part:
            shown = prompt.demonstrations
            assert len(shown) == len(set(shown)) == min(draw.max_icl_demos, available)
            assert set(shown) <= train - {prompt.query}


@given(draws)
def test_the_run_decides_the_split(draw: SplitSpec) -> None:
    assert draw_split(POOL, draw) == draw_split(POOL, draw)
    other = SplitSpec(draw.num_train_examples, draw.run_idx + 1, draw.max_icl_demos, draw.num_dev_examples)
    assert draw_split(POOL, draw) != draw_split(POOL, other)


@given(draws, st.integers(1, 39))
def test_the_training_examples_of_a_smaller_n_are_the_first_of_a_larger_one(draw: SplitSpec, smaller: int) -> None:
    few = draw_split(POOL, SplitSpec(min(smaller, draw.num_train_examples), draw.run_idx))
    assert draw_split(POOL, draw).train_examples[: len(few.train)] == few.train_examples


def test_every_example_has_its_demonstrations_in_an_order_of_its_own() -> None:
    split = draw_split(POOL, SplitSpec(12, run_idx=0))
    orders = {
        tuple(demo for demo in prompt.demonstrations if demo in split.train_examples[6:]) for prompt in split.train[:6]
    }
    assert len(orders) == 6
    assert all(prompt.demonstrations != split.train_examples for prompt in split.dev)


def test_a_row_with_the_querys_question_is_no_demonstration_of_it() -> None:
    """A pool may hold a question twice; the teacher would copy the answer."""
    pool = [Example(index, f"Q{index // 2}:", "1") for index in range(8)]
    for prompt in draw_split(pool, SplitSpec(5, run_idx=0)).train:
        assert prompt.query.question not in {demo.question for demo in prompt.demonstrations}


@pytest.mark.parametrize(
    ("num_train", "num_dev", "fits"), [(40, 20, True), (41, 20, False), (60, 0, True), (61, 0, False)]
)
def test_more_than_the_pool_holds_is_refused_with_the_numbers(num_train: int, num_dev: int, fits: bool) -> None:
    draw = SplitSpec(num_train, run_idx=0, num_dev_examples=num_dev)
    if fits:
        assert not draw_split(POOL, draw).remaining
        return
    with pytest.raises(UserError, match=f"num_train_examples={num_train}: with {num_dev} dev examples .* pool of 60"):
        draw_split(POOL, draw)


# Files


@given(draws)
def test_a_split_comes_back_from_its_file(draw: SplitSpec) -> None:
    split = draw_split(POOL, draw)
    data = json.loads(json.dumps(split_to_json(split, draw)))
    assert split_from_json(data, POOL, "a file") == split
    assert data["demo_type"] == "unique"
    assert data["settings"] == {
        "max_icl_demos": min(draw.max_icl_demos or 0, draw.num_train_examples),
        "num_dev_examples": min(draw.num_dev_examples or 0, draw.num_train_examples // 2),
        "stratified": False,
    }


@given(draws, st.integers(0, 300))
def test_splits_that_are_equal_are_written_alike_however_many_were_asked_for(draw: SplitSpec, more: int) -> None:
    """More demonstrations than the N, or dev examples than half of them, are all there are."""
    num = draw.num_train_examples
    every, rest = (SplitSpec(num, draw.run_idx, num + by, num // 2 + by) for by in (0, more))
    written = [split_to_json(draw_split(POOL, one), one) for one in (every, rest)]
    assert written[0] == written[1]
    own = split_to_json(draw_split(POOL, draw), draw)
    assert (own == written[0]) == (draw.settings == every.settings)


def test_the_published_shape_written_out() -> None:
    pool = [Example(index, f"Q{index}:", "1") for index in range(3)]
    draw = SplitSpec(2, run_idx=0)
    data = split_to_json(draw_split(pool, draw), draw)
    assert {**data, "settings": None} == {
        "train": {
            "examples": [{"idx": 0, "question": "Q0:", "answer": "1"}, {"idx": 2, "question": "Q2:", "answer": "1"}],
            "icl_demos": [["Q2:1"], ["Q0:1"]],
        },
        "dev": {
            "examples": [{"idx": 1, "question": "Q1:", "answer": "1"}],
            "icl_demos": data["dev"]["icl_demos"],
        },
        "remaining_indices": [],
        "demo_type": "unique",
        "settings": None,
    }
    assert sorted(data["dev"]["icl_demos"][0]) == ["Q0:1", "Q2:1"]


def made_by_hand() -> dict[str, Any]:
    """Answers as numbers, one flat list of fixed demonstrations, no settings, and an example the pool does not have."""
    return {
        "train": {
            "examples": [{"idx": 100, "question": "Q0:", "answer": 0}, {"idx": "7", "question": "New:", "answer": 1}],
            "icl_demos": ["Q3:1", "Q4:0"],
        },
        "dev": {"examples": [{"idx": 101, "question": "Q1:", "answer": 1}], "icl_demos": [["New:1", "Q4:0"]]},
        "remaining_indices": [5, 6],
        "demo_type": "fixed",
    }


def written(root: Path, data: object) -> Path:
    path = store.split_path(root, "films", 2, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_file_made_by_hand_loads(tmp_path: Path) -> None:
    split = load_split(written(tmp_path, made_by_hand()), POOL)
    new = Example(7, "New:", "1")
    assert split.train_examples == (POOL[0], new)
    assert [prompt.demonstrations for prompt in split.train] == [(POOL[3], POOL[4])] * 2
    assert [(prompt.query, prompt.demonstrations) for prompt in split.dev] == [(POOL[1], (new, POOL[4]))]
    assert split.remaining == (5, 6)


def without(*keys: str) -> Callable[[dict[str, Any]], object]:
    def change(data: dict[str, Any]) -> object:
        inner = data
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return data

    return change


def with_value(value: object, *keys: str | int) -> Callable[[dict[str, Any]], object]:
    def change(data: dict[str, Any]) -> object:
        inner: Any = data
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        return data

    return change


MALFORMED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no train": (without("train"), "no 'train'; a split holds train and dev"),
    "no dev": (without("dev"), "no 'dev'"),
    "no demonstrations": (without("train", "icl_demos"), "no 'icl_demos'"),
    "no remaining": (without("remaining_indices"), "no 'remaining_indices'"),
    "a list": (lambda data: [data], "holds list, not an object"),
    "an unknown demonstration": (
        with_value([["Never seen:1"]], "dev", "icl_demos"),
        "no 'Never seen:1'.*from them or the pool",
    ),
    "an example without answer": (
        with_value([{"idx": 1, "question": "Q"}], "train", "examples"),
        "the column 'answer' is missing",
    ),
    "an idx that is no number": (
        with_value([{"idx": "one", "question": "Q", "answer": "1"}], "dev", "examples"),
        "not in the shape of a split .*'one'.*create it again",
    ),
    "too few lists of demonstrations": (
        with_value([[]], "train", "icl_demos"),
        r"\(\d examples and 1 lists of icl_demos\)",
    ),
    "no training examples": (
        lambda data: data | {"train": {"examples": [], "icl_demos": []}, "dev": {"examples": [], "icl_demos": []}},
        "no training examples",
    ),
    "null": (with_value(None, "train"), "not in the shape of a split"),
    "text for examples": (with_value("examples", "train", "examples"), "not in the shape of a split"),
    "an index beyond the pool": (with_value([60], "remaining_indices"), "remaining_indices .*60"),
    "a negative index": (with_value([-1], "remaining_indices"), "remaining_indices .*-1"),
    "cut": (lambda data: json.dumps(data)[:-5], "is not valid JSON .*delete it"),
    "empty": (lambda _data: "", "is not valid JSON .*delete it"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_named_with_what_is_wrong(case: str, tmp_path: Path) -> None:
    change, message = MALFORMED[case]
    path = written(tmp_path, change(made_by_hand()))
    with pytest.raises(UserError, match=message) as told:
        load_split(path, POOL)
    assert str(path) in str(told.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"films/train/2_0\.json does not exist"):
        load_split(store.split_path(tmp_path, "films", 2, 0), POOL)


junk = st.sampled_from(
    [None, 3, -1.5, "text", [], [None], ["text"], [[3]], {}, {"examples": [], "icl_demos": "x"}, True, math.inf, 2**63]
)
places = st.sampled_from(
    [
        ("train",),
        ("dev",),
        ("remaining_indices",),
        *((part, key) for part in ("train", "dev") for key in ("examples", "icl_demos")),
        *((part, key, 0) for part in ("train", "dev") for key in ("examples", "icl_demos")),
        *(("train", "examples", 0, key) for key in ("idx", "question", "answer")),
    ]
)


@given(places, junk)
def test_junk_in_any_place_is_refused_or_read_but_never_breaks(place: tuple[str | int, ...], value: object) -> None:
    data = with_value(value, *place)(made_by_hand())
    try:
        split = split_from_json(data, POOL, "a file")  # type: ignore[arg-type]
    except UserError as told:
        assert str(told).startswith("a file: ")  # noqa: PT017
    else:
        assert split.train
