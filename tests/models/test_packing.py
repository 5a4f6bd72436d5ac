"""Prefixes that prompts share, packed rows and batches, and their budget: by hand, and as laws."""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import SHAPES, tiny_model
from torch import nn
from transformers import DynamicCache

from ia2.models import generation, packing
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import (
    PackedRow,
    Suffix,
    TokenBudget,
    affordable,
    batch_size,
    bytes_per_token,
    common_length,
    halved,
    pack_rows,
    prefill_prefixes,
    prefix_groups,
)
from ia2.prompts.prompt import Ids

# Prefixes

LONG_A, LONG_B = tuple(range(10)), tuple(range(20, 30))


def test_two_lists_of_demonstrations_and_a_stray_prompt() -> None:
    prompts = [(*LONG_A, 1), (*LONG_B, 1), (*LONG_A, 2), (*LONG_B, 2), (99, 98), (*LONG_A, 3), (*LONG_B, 3, 4)]
    prompts += [(*LONG_A, 4), (*LONG_B, 4)]
    assert prefix_groups(prompts) == [(10, [0, 2, 5, 7]), (10, [1, 3, 6, 8]), (0, [4])]


def test_equal_prompts_keep_a_token_each() -> None:
    assert prefix_groups([LONG_A] * 4) == [(9, [0, 1, 2, 3])]


def test_a_short_common_cue_is_not_worth_a_pass() -> None:
    assert prefix_groups([(1, 2, 3, token) for token in range(6)]) == [(0, [*range(6)])]


def test_teacher_prompts_in_orders_of_their_own_stay_together() -> None:
    prompts = [(7, *range(start, start + 12)) for start in range(0, 120, 12)]
    assert prefix_groups(prompts) == [(0, [*range(10)])]


def test_common_length_leaves_each_a_token() -> None:
    assert common_length((1, 2, 3), (1, 2, 3), 9) == 2
    assert common_length((1, 2, 3), (1, 2), 9) == 1
    assert common_length((1,), (1, 2), 9) == 0


prompts_strategy = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=24).map(tuple), min_size=1, max_size=30)


@given(prompts_strategy)
def test_every_prompt_once_and_the_prefix_is_shared(prompts: list[Ids]) -> None:
    groups = prefix_groups(prompts)
    assert sorted(row for _, rows in groups for row in rows) == list(range(len(prompts)))
    for length, rows in groups:
        assert len({prompts[row][:length] for row in rows}) == 1
        assert all(len(prompts[row]) > length for row in rows)


@pytest.mark.parametrize(
    ("token_budget", "together"),
    [(200, [[100, 90], [50, 40], [0]]), (150, [[100], [90], [50, 40], [0]]), (1, [[100], [90], [50], [40], [0]])],
)
def test_prefixes_are_read_together_as_far_as_the_budget_goes(
    token_budget: int, together: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[int]] = []

    def counted(hooked: HookedModel, prefixes: Sequence[Ids]) -> DynamicCache:
        read.append(list(map(len, prefixes)))
        return prefill_prefixes(hooked, prefixes)

    monkeypatch.setattr(generation, "prefill_prefixes", counted)
    groups = [(*[first] * length, row) for first, length in enumerate((50, 100, 90, 40), 10) for row in range(3, 7)]
    generate(HookedModel(tiny_model("llama")), [*groups, (1, 2), (2, 2)], GenerationConfig(1, None, token_budget))
    assert read == together


# Packed rows and batches

ENOUGH = 10_000


def packed(
    shared: Sequence[int], sizes: Sequence[Sequence[int]], num_new_tokens: int = 1, budget: int = ENOUGH
) -> list[PackedRow]:
    """Packed rows of suffixes of these sizes for each prefix, numbered in their order."""
    owners = [(prefix, size) for prefix, of_one in enumerate(sizes) for size in of_one]
    suffixes = [Suffix(row, (7,) * size, prefix, shared[prefix]) for row, (prefix, size) in enumerate(owners)]
    return pack_rows(suffixes, num_new_tokens, TokenBudget(budget))


def batches(waiting: list[PackedRow], budget: int) -> Iterator[list[PackedRow]]:
    while waiting:
        size = batch_size(waiting, TokenBudget(budget))
        yield waiting[:size]
        waiting = waiting[size:]


def rows(batch: Sequence[PackedRow]) -> list[list[int]]:
    return [[suffix.row for suffix in one] for one in batch]


def test_a_packed_row_takes_no_more_for_its_suffixes_than_for_its_prefix() -> None:
    # 10 + 8 + 7 + 7 + 5 + 5 + 1 + 1 tokens and one more each are 52 slots; dealt out to two packed rows, 27 and 25
    sizes = [10, 8, 7, 7, 5, 5, 1, 1]
    assert rows(packed([52], [sizes])) == [[*range(8)]]
    assert rows(packed([51], [sizes])) == rows(packed([27], [sizes])) == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_what_suffixes_will_grow_by_counts() -> None:
    assert rows(packed([20], [[2, 2, 2, 2]], num_new_tokens=3)) == [[0, 1, 2, 3]]
    assert rows(packed([20], [[2, 2, 2, 2]], num_new_tokens=4)) == [[0], [1], [2], [3]]


def test_few_suffixes_have_rows_of_their_own() -> None:
    assert rows(packed([90], [[2, 2, 2]])) == [[0], [1], [2]]
    assert rows(packed([26], [[10, 8, 7, 7, 5, 5, 1, 1]])) == [[row] for row in range(8)]


def test_a_batch_keeps_within_the_budget_with_its_padding() -> None:
    # packed rows of 10 shared slots and 4, 5 and 4 of their own: two take 2 x 15, three would take 3 x 15
    waiting = packed([10, 10, 10], [[1] * 4, [2, 1, 1, 1], [1] * 4])
    assert batch_size(waiting, TokenBudget(44)) == 2
    assert batch_size(waiting, TokenBudget(45)) == 3


def test_half_of_the_packed_rows_or_half_of_one_that_memory_did_not_hold() -> None:
    two, budget = packed([40, 40], [[3] * 10, [3] * 10]), TokenBudget(ENOUGH)
    budget = halved(budget, two)
    assert budget.tokens == 40 + 30
    assert batch_size(two, budget) == 1
    assert halved(budget, two[:1]).tokens == 40 + 15
    assert rows(packed([40], [[3] * 10], budget=40 + 15)) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


@pytest.mark.parametrize("seed", range(20))
def test_every_prompt_is_read_once_and_within_bounds(seed: int) -> None:
    draw = Random(seed)
    shared = [draw.choice([0, 10, 60, 200]) for _ in range(draw.randint(1, 4))]
    sizes = [[draw.randint(1, 20) for _ in range(draw.randint(1, 30))] for _ in shared]
    num_new_tokens, budget = draw.randint(0, 5), draw.choice([1, 50, 300, ENOUGH])
    seen: list[int] = []
    for batch in batches(packed(shared, sizes, num_new_tokens, budget), budget):
        fed = [sum(len(suffix.ids) for suffix in one) for one in batch]
        padded = len(batch) * (max(fed) + max(shared[one[0].prefix] for one in batch))
        assert padded <= budget or [len(one) for one in batch] == [1]
        for one, size in zip(batch, fed, strict=True):
            assert {suffix.prefix for suffix in one} == {one[0].prefix}
            assert len(one) == 1 or size + len(one) * num_new_tokens <= shared[one[0].prefix]
        seen += [row for one in rows(batch) for row in one]
    assert sorted(seen) == [*range(sum(map(len, sizes)))]


@pytest.mark.parametrize("seed", range(20))
def test_a_halved_batch_has_fewer_prompts_and_at_last_one(seed: int) -> None:
    draw = Random(seed)
    shared, sizes = draw.choice([0, 30, 90]), [draw.randint(1, 20) for _ in range(draw.randint(2, 40))]
    budget, before = TokenBudget(ENOUGH), len(sizes) + 1
    while True:
        waiting = packed([shared], [sizes], budget=int(budget.tokens))
        batch = waiting[: batch_size(waiting, budget)]
        now = sum(map(len, batch))
        assert now < before
        if now == 1:
            break
        before, budget = now, halved(budget, batch)


# The budget

CACHE, WORKING, LOGITS = 4 * 2 * 8 * 2, 4 * (3 * 48 + 8 * 32), 328 * (4 + 4)
"""Of the tiny Llama in float32, by hand: 2 heads of width 8, keys and values, of one layer; three widths of 48 and
eight of 32; logits of 328 ids as the head makes them, and in float32."""


def on_gpus(monkeypatch: pytest.MonkeyPatch, free: Mapping[int, int], layers: tuple[int, ...]) -> None:
    """The layers of a model lie on these GPUs, which have so many bytes; 150 are reserved of which 50 are in use."""
    devices = iter(layers)

    def device_of(_: nn.Module) -> torch.device:
        return torch.device("cuda", next(devices))

    monkeypatch.setattr(packing, "device_of", device_of)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.index] - 100, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 150)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 50)


def test_memory_of_a_token_counted_by_hand() -> None:
    model = tiny_model("llama")
    assert bytes_per_token(model, 2) == (2 * CACHE, WORKING)
    assert bytes_per_token(model.to(torch.bfloat16), 2) == (CACHE, WORKING // 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_a_budget(shape: str) -> None:
    model = tiny_model(shape)
    assert min(bytes_per_token(model, 1)) > 0
    assert affordable(model, 8) == TokenBudget(packing.ON_A_CPU)


@pytest.mark.parametrize(
    ("free", "tokens"),
    [(0, packing.FEWEST), (10_000, 6_000), (10**9, packing.MOST)],
    ids=["none", "some", "much"],
)
def test_a_gpu_affords_what_its_free_memory_holds(free: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    each = 2 * CACHE + WORKING
    on_gpus(monkeypatch, {0: free * each}, (0, 0))
    found = affordable(tiny_model("llama"))
    assert found.tokens == tokens
    assert found.per_row == -(-LOGITS // each)


def test_what_the_cache_grows_by_and_the_logits_count_for_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    each = 2 * CACHE + WORKING
    on_gpus(monkeypatch, {0: 10_000 * each}, (0, 0))
    found = affordable(tiny_model("llama"), num_new_tokens=200)
    assert found == TokenBudget(6_000, 6_000, -(-(200 * 2 * CACHE + LOGITS) // each))
    assert found.allows(6_000 - 100 * found.per_row, 100)
    assert not found.allows(6_000 - 100 * found.per_row + 1, 100)


@pytest.mark.parametrize(("free", "scarcest"), [((100, 1), 1), ((1, 100), 0)])
def test_the_scarcest_of_several_gpus_decides(
    free: tuple[int, int], scarcest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds the cache of its own layer, and the working set of one."""
    each = CACHE + WORKING
    on_gpus(monkeypatch, {number: 10_000 * each * size for number, size in enumerate(free)}, (0, 1))
    found = affordable(tiny_model("llama"), num_new_tokens=50)
    assert free[scarcest] == 1
    assert found == TokenBudget(6_000, 6_000, -(-(50 * CACHE + LOGITS) // each))


def test_a_batch_has_fewer_rows_where_they_take_memory_of_their_own() -> None:
    """Suffixes of 4 tokens: 30 of them are 120 slots; with 336 more for each row, memory of 4096 holds 12."""
    waiting = packed([0], [[4] * 30])
    assert batch_size(waiting, TokenBudget(120)) == 30
    held = TokenBudget(4_096, 4_096, per_row=336)  # 12 x (4 + 336) = 4080
    assert batch_size(waiting, held) == 12


def test_halving_a_batch_keeps_what_rows_take() -> None:
    waiting, budget = packed([0], [[4] * 30]), TokenBudget(4_096, 4_096, per_row=336)
    budget = halved(budget, waiting[: batch_size(waiting, budget)])
    assert budget == TokenBudget(24, 4_096, 336)
    assert batch_size(waiting, budget) == 6
