"""Memory that runs out makes batches smaller and changes nothing else; it is simulated, since no test may fill it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from oracles import Witness, assert_same, plain_greedy
from tiny import tiny_model
from transformers import DynamicCache

from ia2.errors import MachineError, ran_out_of_memory
from ia2.evaluation.scoring import sequence_log_probabilities
from ia2.models import generation
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import DecodingState, Suffix, TokenBudget, batch_size, pack_rows, prefill_prefixes
from ia2.prompts.prompt import Ids
from ia2.training.targets import collect

ERRORS: dict[str, Callable[[], BaseException]] = {
    "gpu": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "driver": lambda: RuntimeError("CUDA error: out of memory"),
    "cpu": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    "python": MemoryError,
}
NUM_TOKENS = 4


def made_up(*lengths: int, beginning: Ids = ()) -> list[Ids]:
    generator = torch.Generator().manual_seed(3)
    return [(*beginning, *torch.randint(3, 320, (length,), generator=generator).tolist()) for length in lengths]


PROMPTS = [*made_up(5, 1, 9, 4, 3), *made_up(1, 2, 9, 4, 3, beginning=made_up(11)[0])]


class Memory:
    """Holds batches of so many rows; what is more runs out, at the prompt or at a later step."""

    def __init__(self, most: int, step: int, error: Callable[[], BaseException]) -> None:
        self.most = most
        self.step = step
        self.error = error
        self.tried: list[int] = []

    def run(self, state: DecodingState) -> None:
        if state.step == 0:
            self.tried.append(len(state.rows))
        if state.step == self.step and len(state.rows) > self.most:
            raise self.error()


@contextmanager
def memory(
    monkeypatch: pytest.MonkeyPatch, most: int, step: int = 0, error: Callable[[], BaseException] = ERRORS["gpu"]
) -> Iterator[tuple[HookedModel, Memory]]:
    """A reader whose memory holds `most` rows."""
    limited, run = Memory(most, step, error), DecodingState.forward

    def seen(state: DecodingState, *arguments: object, **named: object) -> object:
        limited.run(state)
        return run(state, *arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        hooked = HookedModel(tiny_model("llama"))
        patch.setattr(DecodingState, "forward", seen)
        yield hooked, limited


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("step", [0, 2])
def test_smaller_batches_give_the_same(kind: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    witness, finished = Witness(), list[int]()
    how = GenerationConfig(NUM_TOKENS, None, token_budget=1000)
    with memory(monkeypatch, 2, step, ERRORS[kind]) as (hooked, limited):
        responses = generate(hooked, PROMPTS, how, witness.see, activations=True, progress=finished.append)
    assert [size for size in limited.tried if size > 2] == [5, 4, 3]  # long rows, then ever shorter ones
    assert sum(finished) == sum(size for size in limited.tried if size <= 2) == len(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        expected = plain_greedy(tiny_model("llama"), prompt, NUM_TOKENS)
        assert_same(witness.plain(row, responses[row]), expected)


def test_targets_hold_every_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    how = GenerationConfig(NUM_TOKENS, None, token_budget=1000)
    hooked = HookedModel(tiny_model("llama"))
    expected = collect(hooked, PROMPTS, how, {"activations", "distributions"})
    with memory(monkeypatch, 2, step=2) as (hooked, _):
        found = collect(hooked, PROMPTS, how, {"activations", "distributions"})
    assert found.responses == expected.responses
    for ours, theirs in zip(
        (found.activations, found.hidden_states), (expected.activations, expected.hidden_states), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_labels_are_scored_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[Ids] = [(40, 7), (40, 41, 7), (40,)]
    hooked = HookedModel(tiny_model("llama"))
    expected = sequence_log_probabilities(hooked, PROMPTS, labels, 1000)
    with memory(monkeypatch, 1, step=1) as (hooked, limited):
        found = sequence_log_probabilities(hooked, PROMPTS, labels, 1000)
    assert max(limited.tried) > 1
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_prompt_that_does_not_fit_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        memory(monkeypatch, 0) as (hooked, limited),
        pytest.raises(MachineError, match=r"out of memory: a single prompt of 20 tokens .* on cpu; lower --max_icl"),
    ):
        generate(hooked, made_up(20, 3, 4), GenerationConfig(NUM_TOKENS, None, token_budget=1000))
    assert limited.tried == [3, 1]


LONG = [made_up(length, beginning=beginning) for beginning in made_up(50, 40) for length in (3, 1, 2, 5)]


@pytest.mark.parametrize("most", [1, 0])
def test_prefixes_that_do_not_fit_together_are_read_alone(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def limited(hooked: HookedModel, prefixes: Sequence[Ids]) -> DynamicCache:
        tried.append(len(prefixes))
        if len(prefixes) > most:
            raise ERRORS["gpu"]()
        return prefill_prefixes(hooked, prefixes)

    prompts = [prompt for (prompt,) in LONG]
    hooked = HookedModel(tiny_model("llama"))
    expected = generate(hooked, prompts, GenerationConfig(NUM_TOKENS, None))
    monkeypatch.setattr(generation, "prefill_prefixes", limited)
    if most:
        assert generate(hooked, prompts, GenerationConfig(NUM_TOKENS, None)) == expected
    else:
        with pytest.raises(MachineError, match="a single prompt of 50 tokens"):
            generate(hooked, prompts, GenerationConfig(NUM_TOKENS, None))
    assert tried == [2, 1, 1][: 3 if most else 2]


def test_what_prompts_share_is_not_held_for_each() -> None:
    """64 prompts behind 200 shared tokens take the slots of few of them, also when they have grown."""
    suffixes = [Suffix(row, ids, 0, 200) for row, (ids,) in enumerate(made_up(9) for _ in range(64))]
    budget = TokenBudget(2048)
    waiting = pack_rows(suffixes, 3, budget)
    hooked = HookedModel(tiny_model("llama"))
    prefixes = prefill_prefixes(hooked, made_up(200))
    state = DecodingState(hooked, prefixes, waiting[: batch_size(waiting, budget)])
    seen = state.next()
    for _ in range(3):
        seen = state.next(seen.logits.argmax(-1))
    keys = state.cache.layers[0].keys
    assert keys is not None
    assert len(state.rows) == 64
    # 16 prompts a packed row: 4 x (200 + 16 x 12) slots, where one for each would be 64 x (200 + 12)
    assert keys.shape[0] * keys.shape[2] == 4 * 392


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        memory(monkeypatch, 0, error=lambda: RuntimeError("shapes do not match")) as (hooked, limited),
        pytest.raises(RuntimeError, match="shapes"),
    ):
        generate(hooked, PROMPTS, GenerationConfig(NUM_TOKENS, None))
    assert len(limited.tried) == 1
    assert not ran_out_of_memory(ValueError("out of memory"))
