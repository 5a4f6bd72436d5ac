"""Steps on a cache of full size, as a GPU replays them, against one prompt at a time; recorded where there is a GPU."""

from itertools import product

import pytest
from decoded import (
    DEVICE,
    LANES,
    NUM_TOKENS,
    PROMPTS,
    assert_decodes,
    ends_at_different_steps,
    plainly,
    random_prompts,
    stop_at,
)
from tiny import SHAPES, tiny_model

from ia2.models import generation
from ia2.models.decoding_graphs import FEWEST_STEPS, Replay, steps_after
from ia2.models.decoding_state import DecodingState, read_prefixes
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import Suffix


@pytest.fixture(autouse=True)
def always_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "steps_after", Replay)


@pytest.mark.parametrize("prompts", PROMPTS | LANES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_one_by_one(shape: str, prompts: str) -> None:
    assert_decodes(shape, "sdpa", prompts, GenerationConfig(NUM_TOKENS, None), plainly(shape, prompts))


@pytest.mark.parametrize(
    ("shape", "attention", "prompts"),
    [*product(SHAPES, ["sdpa"], [*PROMPTS, *LANES]), *product(["gemma3_text", "mistral"], ["eager"], LANES)],
)
def test_equals_one_by_one_when_rows_end_at_different_steps(shape: str, attention: str, prompts: str) -> None:
    ends = ends_at_different_steps(plainly(shape, prompts))
    expected = [response.until(ends) for response in plainly(shape, prompts)]
    assert_decodes(shape, attention, prompts, GenerationConfig(NUM_TOKENS, stop_at(ends)), expected)


@pytest.mark.parametrize("on_one_gpu", [False, True])
def test_only_steps_on_a_gpu_are_replayed_and_only_enough_of_them(
    on_one_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked = HookedModel(tiny_model("qwen3").to(DEVICE))
    monkeypatch.setattr(hooked, "on_one_gpu", on_one_gpu)
    prompt = random_prompts((5,))[0]
    state = DecodingState(hooked, read_prefixes(hooked, [()]), [[Suffix(0, prompt, 0)]])
    state.first(activations=False)
    assert steps_after(state, FEWEST_STEPS - 1) is state
    assert isinstance(steps_after(state, FEWEST_STEPS), Replay if on_one_gpu else DecodingState)


def test_kernels_are_recorded_on_a_single_gpu_alone() -> None:
    hooked = HookedModel(tiny_model("qwen3").to(DEVICE))
    assert hooked.on_one_gpu == (DEVICE == "cuda")
