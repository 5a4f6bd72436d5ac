"""The laws of the low-data split, and its file."""

import itertools
import math
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import training, write_dataset

from ia2 import store
from ia2.commands.data_files import create_all
from ia2.commands.train import resolve
from ia2.config import CreateConfig
from ia2.errors import UserError
from ia2.prompts.splits import (
    LowDataSplitSpec,
    SplitSpec,
    distinct_orders,
    draw_low_data_split,
    draw_split,
    load_split,
    split_from_json,
    split_to_json,
)
from ia2.tasks.pool import load_pool
from ia2.tasks.task_spec import Example

POOL = tuple(Example(i, f"Input: {i}\nOutput:", f" {i * i}") for i in range(40))
draws = st.builds(
    LowDataSplitSpec,
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30)),
    run_idx=st.integers(0, 3),
    num_dev_examples=st.integers(0, 20),
)


@given(draws)
def test_labelled_dev_unlabelled_and_remaining_are_the_pool_taken_apart(draw: LowDataSplitSpec) -> None:
    split = draw_low_data_split(POOL, draw)
    num_labelled, num_unlabelled, _ = draw.sizes
    unlabelled = {prompt.query.idx for prompt in split.train}
    parts = [{example.idx for example in split.labelled}, {prompt.query.idx for prompt in split.dev}, unlabelled]
    parts.append(set(split.remaining))
    assert set().union(*parts) == set(range(40))
    assert sum(map(len, parts)) == 40
    assert len(split.labelled) == num_labelled
    num_dev = min(draw.num_dev_examples, num_unlabelled // 2)
    assert len(split.dev) == num_dev
    assert len(unlabelled) == min(num_unlabelled, 40 - num_labelled - num_dev)


@given(draws)
def test_every_unlabelled_query_stands_once_after_every_order(draw: LowDataSplitSpec) -> None:
    split = draw_low_data_split(POOL, draw)
    num_labelled, num_unlabelled, most = draw.sizes
    num_orders = min(most, math.factorial(num_labelled))
    assert len(split.train) <= num_unlabelled * most
    rows = [(prompt.query.idx, prompt.demonstrations) for prompt in split.train]
    orders = {demonstrations for _, demonstrations in rows}
    queries = {query for query, _ in rows}
    assert len(orders) == num_orders
    assert len(set(rows)) == len(rows) == len(queries) * num_orders
    assert all(sorted(order, key=POOL.index) == sorted(split.labelled, key=POOL.index) for order in orders)
    assert {prompt.demonstrations for prompt in split.dev} <= orders
    # order by order: the demonstrations of one order are read for all of its queries before the next
    assert len([key for key, _ in itertools.groupby(demonstrations for _, demonstrations in rows)]) == num_orders


@given(draws)
def test_the_run_decides_the_draw(draw: LowDataSplitSpec) -> None:
    assert draw_low_data_split(POOL, draw) == draw_low_data_split(POOL, draw)
    other = LowDataSplitSpec(draw.sizes, draw.run_idx + 1, draw.num_dev_examples)
    assert draw_low_data_split(POOL, draw).train != draw_low_data_split(POOL, other).train


@given(draws.filter(lambda draw: draw.sizes[0] >= 2))
def test_the_labelled_are_those_of_the_standard_split(draw: LowDataSplitSpec) -> None:
    """So that both regimes, and evaluation with demonstrations, look at the same labels."""
    standard = draw_split(POOL, SplitSpec(draw.sizes[0], draw.run_idx))
    assert draw_low_data_split(POOL, draw).labelled == standard.train_examples


@pytest.mark.parametrize(
    ("num", "most", "found"), [(1, 24, 1), (3, 24, 6), (3, 6, 6), (3, 5, 5), (4, 24, 24), (9, 7, 7)]
)
def test_there_are_no_more_orders_than_there_are(num: int, most: int, found: int) -> None:
    orders = distinct_orders(POOL[:num], most, Random(0))
    assert len(orders) == len(set(orders)) == found


def test_orders_are_drawn_and_not_counted_through() -> None:
    """Counted through, 24 orders of 8 would all begin with the same four."""
    orders = distinct_orders(POOL[:8], 24, Random(0))
    assert len({order[0] for order in orders}) > 4
    assert orders != distinct_orders(POOL[:8], 24, Random(1))


def test_a_pool_with_nothing_left_is_refused() -> None:
    with pytest.raises(UserError, match="num_labelled_samples=38 and 2 dev queries leave nothing of the pool of 40"):
        draw_low_data_split(POOL, LowDataSplitSpec((38, 5, 2), 0, num_dev_examples=2))


def test_no_query_is_shown_its_own_answer() -> None:
    """A pool made by hand may ask the same twice, labelled here and to be answered there."""
    twice = [Example(i, f"Input: {i % 5}\nOutput:", f" {i % 5}") for i in range(10)]
    split = draw_low_data_split(twice, LowDataSplitSpec((5, 4, 3), run_idx=0, num_dev_examples=1))
    shown = {(demo.question, prompt.query.question) for prompt in split.train for demo in prompt.demonstrations}
    assert shown
    assert not [question for question, asked in shown if question == asked]


@given(draws)
def test_a_split_comes_back_from_its_file(draw: LowDataSplitSpec) -> None:
    split = draw_low_data_split(POOL, draw)
    data = split_to_json(split, draw)
    assert [row["idx"] for row in data["labelled"]] == [example.idx for example in split.labelled]
    again = split_from_json(data, POOL, "file")
    assert (again.train, again.dev, again.remaining) == (split.train, split.dev, split.remaining)
    assert again.labelled == split.labelled


# In the store


def test_paths_and_names(tmp_path: Path) -> None:
    write_dataset(tmp_path, "towns", [f"town {i}" for i in range(40)])
    config = CreateConfig(
        root=tmp_path,
        datasets=("towns",),
        ldr_mode=True,
        num_labelled_samples=3,
        num_unlabelled_samples=5,
        max_permutations=4,
        num_runs=2,
        num_dev_examples=1,
    )
    paths = create_all(config)
    assert paths == [tmp_path / "data" / "towns-ldr" / "train" / f"3_5_4_{run}.json" for run in range(2)]
    split = load_split(paths[0], load_pool(tmp_path, "towns").train)
    assert (len(split.labelled), len(split.dev), len(split.train)) == (3, 1, 20)
    assert store.read_json(paths[0]).keys() == {
        *("train", "dev", "remaining_indices", "demo_type", "labelled", "settings", "sha256")
    }
    sizes = {"num_labelled_samples": 3, "num_unlabelled_samples": 5, "max_permutations": 4}
    run = training(tmp_path, Path("org/some-model"), dataset="towns", ldr_mode=True, **sizes)
    assert store.split_file(tmp_path, run) == paths[0]
    # {model}_{letters}_{r}_{alpha}_{T}_{N}_{lr}_{run}, then the regime, then the tail
    assert store.run_name(run) == "some-model_qkv_8_8_3_3_0.01_0_ldr3_5_4+num_train_epochs=2"
    tok = run.model_copy(update={"training_method": "tok", "num_train_epochs": 50})
    assert store.run_name(tok) == "some-model_qkv_8_8_3_3_0.01_0_ldr3_5_4_icl_outputs"


def test_a_split_that_is_there_stays_and_has_to_agree(tmp_path: Path) -> None:
    write_dataset(tmp_path, "towns", [f"town {i}" for i in range(40)])
    sizes = {"num_labelled_samples": 3, "num_unlabelled_samples": 5, "max_permutations": 4}
    run = training(tmp_path, Path("m"), dataset="towns", ldr_mode=True, **sizes)
    resolve(run)
    before = store.split_file(tmp_path, run).read_bytes()
    resolve(run)
    assert store.split_file(tmp_path, run).read_bytes() == before
    with pytest.raises(UserError, match=r"num_dev_examples=2, not 1; .*--overwrite"):
        resolve(run.model_copy(update={"num_dev_examples": 1}))


def test_no_prepare_says_what_makes_it(tmp_path: Path) -> None:
    write_dataset(tmp_path, "towns", [f"town {i}" for i in range(40)])
    with pytest.raises(UserError, match="ia2 create --datasets towns --ldr_mode"):
        resolve(training(tmp_path, Path("m"), dataset="towns", ldr_mode=True, no_prepare=True))
