"""Steps on a cache of full size, as a GPU replays them, against one prompt at a time; recorded where there is a GPU."""

from itertools import product

import decoded
import pytest
from decoded import (
    DEVICE,
    NUM_TOKENS,
    PACKED,
    PROMPTS,
    assert_decodes,
    ends_at_different_steps,
    plainly,
    random_prompts,
    stop_at,
)
from tiny import SHAPES, tiny_model
from torch import Tensor

from ia2.models import generation
from ia2.models.cuda_graphs import FEWEST_STEPS, ReplayedSteps
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.packing import DecodingState, StepOutput


class GpuModel(HookedModel):
    """A model whose steps are replayed as on a single GPU, wherever it is."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.on_one_gpu = True


@pytest.fixture(autouse=True)
def always_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "HookedModel", GpuModel)
    following = DecodingState.next

    def prefilled(state: DecodingState, token: Tensor | None = None) -> StepOutput:
        assert token is None, "not a step is computed the ordinary way"
        return following(state)

    monkeypatch.setattr(DecodingState, "next", prefilled)


@pytest.mark.parametrize(
    ("shape", "attention", "prompts"),
    [*product(SHAPES, ["sdpa"], [*PROMPTS, *PACKED]), *product(["gemma3_text", "mistral"], ["eager"], PACKED)],
)
def test_equals_one_by_one_when_rows_end_at_different_steps(shape: str, attention: str, prompts: str) -> None:
    ends = ends_at_different_steps(plainly(shape, prompts))
    expected = [response.until(ends) for response in plainly(shape, prompts)]
    assert_decodes(shape, attention, prompts, GenerationConfig(NUM_TOKENS, stop_at(ends)), expected)


@pytest.mark.parametrize("on_one_gpu", [False, True])
@pytest.mark.parametrize("num_steps", [FEWEST_STEPS - 1, FEWEST_STEPS])
def test_only_steps_on_a_gpu_are_replayed_and_only_enough_of_them(
    on_one_gpu: bool, num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    replayed: list[int] = []

    def counted(state: DecodingState, num_steps: int) -> ReplayedSteps:
        replayed.append(num_steps)
        return ReplayedSteps(state, num_steps)

    monkeypatch.setattr(generation, "ReplayedSteps", counted)
    hooked = HookedModel(tiny_model("qwen3").to(DEVICE))  # type: ignore[arg-type]
    hooked.on_one_gpu = on_one_gpu
    generate(hooked, random_prompts((5,)), GenerationConfig(num_steps + 1))
    assert replayed == ([num_steps] if on_one_gpu and num_steps == FEWEST_STEPS else [])


def test_kernels_are_recorded_on_a_single_gpu_alone() -> None:
    hooked = HookedModel(tiny_model("qwen3").to(DEVICE))
    assert hooked.on_one_gpu == (DEVICE == "cuda")
