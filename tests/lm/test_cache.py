"""The growing cache holds what transformers' own holds, whatever is done to it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache

from ia2.lm import cache as caches
from ia2.lm.cache import GrowingCache, grown

LAYERS = 2


def drawn(rows: int, tokens: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(rows, 2, tokens, 3, generator=generator), torch.randn(rows, 2, tokens, 3, generator=generator))
        for _ in range(LAYERS)
    ]


def assert_same(one: DynamicCache, other: DynamicCache) -> None:
    assert one.get_seq_length() == other.get_seq_length()
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        assert torch.equal(mine.keys, theirs.keys)  # type: ignore[arg-type]
        assert torch.equal(mine.values, theirs.values)  # type: ignore[arg-type]


ACTIONS = st.one_of(
    st.tuples(st.just("feed"), st.integers(1, 5)),
    st.tuples(st.just("back"), st.integers(1, 3)),
    st.tuples(st.just("keep"), st.integers(0, 3)),
)


@settings(deadline=None, max_examples=60)
@given(start=st.integers(0, 6), actions=st.lists(ACTIONS, max_size=12))
def test_it_holds_what_the_plain_cache_holds(start: int, actions: list[tuple[str, int]]) -> None:
    first = DynamicCache()
    for index, pair in enumerate(drawn(1, start, 0) if start else []):
        first.update(*pair, index)
    plain = DynamicCache()
    for index, layer in enumerate(first.layers):
        plain.update(layer.keys.repeat(4, 1, 1, 1), layer.values.repeat(4, 1, 1, 1), index)  # type: ignore[union-attr]
    growing, rows, fed = grown(first, torch.zeros(4, dtype=torch.long)), 4, start
    for number, (action, amount) in enumerate([("feed", 3), *actions]):
        match action:
            case "feed":
                for index, pair in enumerate(drawn(rows, amount, number + 1)):
                    returned, expected = growing.update(*pair, index), plain.update(*pair, index)
                    assert all(torch.equal(*both) for both in zip(returned, expected, strict=True))
                fed += amount
            case "back" if amount < fed:
                for one in (growing, plain):
                    one.crop(-amount)
                fed -= amount
            case "keep" if rows > 1:
                left = torch.tensor([row for row in range(rows) if row != amount % rows])
                for one in (growing, plain):
                    one.batch_select_indices(left)
                rows -= 1
        assert_same(growing, plain)


def test_what_is_held_is_copied_for_many_tokens_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "ROOM", 4)
    cache, places = GrowingCache(), []
    for number in range(12):
        for index, pair in enumerate(drawn(2, 1, number)):
            cache.update(*pair, index)
        places.append(cache.layers[0].keys.data_ptr())  # type: ignore[union-attr]
    assert len(set(places)) == 4  # as it came; then 2 + 4, 7 + 4, and 12 + 4 slots
    assert places[1:6] == [places[1]] * 5
