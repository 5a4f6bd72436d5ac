"""The budget of a batch: what a token and a row take, and how it follows the free memory of every GPU of a model."""

from collections.abc import Mapping

import pytest
import torch
from tiny import SHAPES, tiny_model
from torch import nn

from ia2.models import token_budget
from ia2.models.packing import BatchScheduler, Suffix
from ia2.models.token_budget import TokenBudget, affordable, bytes_per_token, cache_bytes, logit_bytes

CACHE, WORKING, LOGITS = 4 * 2 * 8 * 2, 4 * (3 * 48 + 8 * 32), 328 * (4 + 4)
"""Of the tiny Llama in float32, by hand: 2 heads of width 8, keys and values, of one layer; three widths of 48 and
eight of 32; logits of 328 ids as the head makes them, and in float32."""


def on_gpus(monkeypatch: pytest.MonkeyPatch, free: Mapping[int, int], layers: tuple[int, ...]) -> None:
    """The layers of a model lie on these GPUs, which have so many bytes; 150 are reserved of which 50 are in use."""
    devices = iter(layers)

    def device_of(_: nn.Module) -> torch.device:
        return torch.device("cuda", next(devices))

    monkeypatch.setattr(token_budget, "device_of", device_of)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.index] - 100, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 150)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 50)


def test_what_a_token_and_a_row_take_counted_by_hand() -> None:
    model = tiny_model("llama")
    assert cache_bytes(model, 2) == 2 * CACHE
    assert bytes_per_token(model, 2) == 2 * CACHE + WORKING
    assert logit_bytes(model) == LOGITS
    assert logit_bytes(model.to(torch.bfloat16)) == 328 * (2 + 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_a_budget(shape: str) -> None:
    model = tiny_model(shape)
    assert bytes_per_token(model, 1) > cache_bytes(model, 1) > 0
    assert affordable(model, 8) == TokenBudget(token_budget.ON_A_CPU)


@pytest.mark.parametrize(
    ("free", "tokens"),
    [(0, token_budget.FEWEST), (10_000, 6_000), (10**9, token_budget.MOST)],
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
    """Rests of 4 tokens: 30 of them are 120 slots; with 336 more for each row, memory of 4096 holds 12."""
    rests = [Suffix(row, (7,) * 4, 0) for row in range(30)]
    assert len(BatchScheduler(rests, [0], 1, TokenBudget(120)).next()) == 30
    held = TokenBudget(4_096, 4_096, per_row=336)  # 12 x (4 + 336) = 4080
    assert len(BatchScheduler(rests, [0], 1, held).next()) == 12


def test_halving_a_batch_keeps_what_rows_take() -> None:
    queue = BatchScheduler(
        [Suffix(row, (7,) * 4, 0) for row in range(30)], [0], 1, TokenBudget(4_096, 4_096, per_row=336)
    )
    queue.halve(queue.next())
    assert queue.budget == TokenBudget(24, 4_096, 336)
    assert len(queue.next()) == 6
