"""Forced activations and their cosines, against plain forwards of one example at a time."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from adapting import random_adapter
from oracles import Model, assert_close, full_forward
from tiny import SHAPES, WINDOW, tiny_model
from torch import Tensor

from ia2.analysis.activations import Turn, cosines, forced_activations, most_held, turns
from ia2.errors import UserError
from ia2.methods import ADAPTERS, Adapter
from ia2.models.hooked_model import HookedModel
from ia2.prompts.tokenization import Ids, TokenizedExample


def made_up(seed: int, length: int) -> Ids:
    return tuple(torch.randint(3, 320, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


def examples(beginning: Ids = ()) -> list[TokenizedExample]:
    """Responses of 1 to 9 tokens after prompts of 1 to 13."""
    own = [(1, 3), (WINDOW, 1), (13, 9), (WINDOW + 1, 2), (2, 5)]
    return [
        TokenizedExample(beginning + made_up(i, prompt), made_up(50 + i, size)) for i, (prompt, size) in enumerate(own)
    ]


EXAMPLES = {
    "nothing shared": examples(),
    "a shared beginning": examples(made_up(77, 11)),
    "one question": [TokenizedExample(made_up(9, 12), made_up(90, 7)[:size]) for size in (7, 7, 5, 4)],
}
"""Of one question more is shared than the prompt: what is predicted there must be read for each row all the same."""


def one_by_one(model: Model, chosen: Sequence[TokenizedExample]) -> Tensor:
    """The last G of each sequence that predicts; virtual tokens stand before it and shift nothing."""
    parts = []
    for example in chosen:
        _, activations = full_forward(model, (example.prompt + example.response)[:-1])
        parts.append(activations[:, -len(example.response) :])
    return torch.cat(parts, dim=1)


def forced(model: Model, chosen: Sequence[TokenizedExample], token_budget: int = 2048) -> Tensor:
    hooked = HookedModel(model)
    return forced_activations(hooked, chosen, token_budget)


@pytest.mark.parametrize("shared", EXAMPLES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_equals_its_examples_one_by_one(shape: str, shared: str) -> None:
    expected = one_by_one(tiny_model(shape, attention="eager"), EXAMPLES[shared])
    assert_close(forced(tiny_model(shape), EXAMPLES[shared]), expected)


@pytest.mark.parametrize("shared", EXAMPLES)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_virtual_tokens_shift_no_position(adapter: Adapter, shared: str) -> None:
    model = tiny_model("llama")
    with random_adapter(model, adapter) as adapted:
        found, expected = forced(adapted, EXAMPLES[shared]), one_by_one(adapted, EXAMPLES[shared])
    assert_close(found, expected)
    assert float((found - forced(model, EXAMPLES[shared])).abs().max()) > 1e-2


@pytest.mark.parametrize("token_budget", [1, 30, 2048])
def test_order_and_the_size_of_batches_change_nothing(token_budget: int) -> None:
    model, chosen = tiny_model("mistral"), [*EXAMPLES["nothing shared"], *EXAMPLES["a shared beginning"]]
    lengths = [len(example.response) for example in chosen]
    turned = forced(model, chosen[::-1], token_budget).split(lengths[::-1], dim=1)
    assert_close(torch.cat(turned[::-1], dim=1), forced(model, chosen))


def test_what_is_shared_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    run = HookedModel.run

    def counted(hooked: HookedModel, **inputs: Any) -> Tensor:
        fed.append(inputs["input_ids"].numel())
        return run(hooked, **inputs)

    monkeypatch.setattr(HookedModel, "run", counted)
    beginning = made_up(3, 40)
    forced(tiny_model("llama"), [TokenizedExample(beginning + made_up(i, 5), made_up(i, 3)) for i in range(6)])
    assert sum(fed) == 40 + 6 * (5 + 2)


def test_what_does_not_fit_the_context_is_refused() -> None:
    model = tiny_model("llama")
    model.config.max_position_embeddings = 22
    assert forced(model, EXAMPLES["nothing shared"]).shape == (2, 20, 32)
    model.config.max_position_embeddings = 21
    with pytest.raises(UserError, match="take 22 tokens"):
        forced(model, EXAMPLES["nothing shared"])


def test_cosines_by_hand() -> None:
    first = torch.tensor([[[3.0, 4.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])
    second = torch.tensor([[[4.0, 3.0], [0.0, 5.0]], [[-3.0, 0.0], [1.0, 1.0]]])
    found = cosines(first, second)
    assert found.shape == (2, 2)
    assert found[0].tolist() == pytest.approx([24 / 25, 0.0])
    assert found[1, 0].item() == pytest.approx(-1)
    assert math.isnan(found[1, 1].item()), "an activation of zero points nowhere"


def test_a_model_is_like_itself() -> None:
    found = forced(tiny_model("llama"), EXAMPLES["nothing shared"])
    assert_close(cosines(found, found), torch.ones(2, found.shape[1]), 1e-6)


def test_cosines_are_worked_out_in_float32() -> None:
    """In float16 the squares of 300 are more than the format holds."""
    large = torch.full((1, 1, 4), 300.0, dtype=torch.float16)
    found = cosines(large, large)
    assert (found.dtype, found.item()) == (torch.float32, pytest.approx(1))


def test_each_pair_is_compared_at_the_turn_of_its_later_model_and_nobody_is_held_longer() -> None:
    """Worked out by hand: b is needed by d alone, c by nobody after its own turn."""
    order = turns(["a", "b", "c", "d"], [("b", "a"), ("a", "c"), ("d", "b")])
    assert order == [
        Turn("a", (), frozenset()),
        Turn("b", (0,), frozenset()),
        Turn("c", (1,), frozenset({"a", "c"})),
        Turn("d", (2,), frozenset({"b", "d"})),
    ]
    assert most_held(order) == 3


def test_who_is_compared_with_one_model_alone_is_held_beside_it_alone() -> None:
    students = [f"student {number}" for number in range(9)]
    assert most_held(turns(["teacher", *students], [(student, "teacher") for student in students])) == 2
