"""The budget of a batch: what a token takes, and how it follows free memory."""

import pytest
import torch
from tiny import SHAPES, tiny_model

from ia2.lm import budget
from ia2.lm.budget import affordable_tokens, bytes_per_token


def test_a_token_of_the_llama_shape_counted_by_hand() -> None:
    """2 layers of 2 heads of width 8 for keys and for values, three widths of 48, eight of 32; 4 bytes each."""
    assert bytes_per_token(tiny_model("llama")) == 4 * (2 * 2 * 2 * 8 + 3 * 48 + 8 * 32)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_a_budget(shape: str) -> None:
    model = tiny_model(shape)
    assert bytes_per_token(model) > 0
    assert bytes_per_token(model.to(torch.bfloat16)) * 2 == bytes_per_token(model.to(torch.float32))  # type: ignore[arg-type]
    assert affordable_tokens(model) == budget.ON_A_CPU


@pytest.mark.parametrize(
    ("free", "tokens"), [(0, budget.FEWEST), (10_000, 6_000), (10**9, budget.MOST)], ids=["none", "some", "much"]
)
def test_a_gpu_affords_what_its_free_memory_holds(free: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    each = bytes_per_token(model)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: ((free - 100) * each, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 150 * each)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 50 * each)
    assert affordable_tokens(model) == tokens
