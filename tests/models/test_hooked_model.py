"""Teacher-forced reading of right-padded batches, with and without adapters, against one sequence at a time."""

from collections.abc import Callable

import pytest
import torch
from adapting import ADAPTERS, NUM_VIRTUAL_TOKENS, random_adapter
from oracles import Model, assert_close, full_forward, relative_error
from peft import PeftModel
from tiny import SHAPES, tiny_model

from ia2.errors import UserError
from ia2.methods import Adapter
from ia2.models.adapters import trainable_parameters
from ia2.models.generation import check_context
from ia2.models.hooked_model import HookedModel, ModelOutputs
from ia2.prompts.tokenization import TokenizedExample
from ia2.training.dataset import collate

EXAMPLES = [
    TokenizedExample((5, 9, 30, 41, 7, 8, 22, 50, 61), (4,)),
    TokenizedExample((70,), (8, 15, 22)),
    TokenizedExample(tuple(range(10, 30)), tuple(range(40, 47))),
    TokenizedExample((31, 32, 33), (34, 35)),
]
BATCH = collate(EXAMPLES)


def one_by_one(model: Model) -> ModelOutputs:
    """Full forwards of prompt + response, read at the G positions that predict the response."""
    logits, activations = zip(
        *(full_forward(model, example.prompt + example.response) for example in EXAMPLES), strict=True
    )
    ends = [len(example.response) for example in EXAMPLES]
    return ModelOutputs(
        activations=torch.cat([seen[:, -end - 1 : -1] for seen, end in zip(activations, ends, strict=True)], dim=1),
        hidden=torch.empty(0),  # compared through the logits
        logits=torch.cat([seen[-end - 1 : -1] for seen, end in zip(logits, ends, strict=True)]),
    )


@torch.no_grad()
def batched(model: Model) -> ModelOutputs:
    hooked = HookedModel(model)
    return hooked.outputs(BATCH.input_ids, BATCH.rows, BATCH.columns, activations=True, logits=True)


def assert_readings_equal(found: ModelOutputs, expected: ModelOutputs) -> None:
    assert found.logits is not None
    assert found.activations is not None
    assert expected.logits is not None
    assert expected.activations is not None
    assert_close(found.logits, expected.logits)
    assert_close(found.activations, expected.activations)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_reads_as_its_examples_one_by_one(shape: str, attention: str) -> None:
    expected = one_by_one(tiny_model(shape, attention="eager"))
    assert_readings_equal(batched(tiny_model(shape, attention=attention)), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_reads_as_pefts_own_forward_of_each_example(shape: str, adapter: Adapter) -> None:
    model = tiny_model(shape)
    untouched = batched(model)
    with random_adapter(model, adapter) as adapted:
        found = batched(adapted)
        assert_readings_equal(found, one_by_one(adapted))
    assert found.logits is not None
    assert untouched.logits is not None
    assert relative_error(found.logits, untouched.logits) > 0.01


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("shape", ["llama", "gpt2", "gemma3_text"])
def test_gradients_are_those_of_pefts_own_forward(shape: str, adapter: Adapter) -> None:
    def gradients(adapted: PeftModel, logits_of: Callable[[], torch.Tensor]) -> list[torch.Tensor]:
        adapted.zero_grad()
        logits_of().square().mean().backward()
        return [
            parameter.grad.clone() for parameter in trainable_parameters(adapted).values() if parameter.grad is not None
        ]

    def plainly(adapted: PeftModel) -> torch.Tensor:
        parts = [
            adapted(input_ids=torch.tensor([[*example.prompt, *example.response]]), use_cache=False).logits[
                0, -len(example.response) - 1 : -1
            ]
            for example in EXAMPLES
        ]
        return torch.cat(parts)

    with random_adapter(tiny_model(shape), adapter) as adapted:
        hooked = HookedModel(adapted)
        found = gradients(
            adapted,
            lambda: hooked.outputs(BATCH.input_ids, BATCH.rows, BATCH.columns, activations=False, logits=True).logits,
        )  # type: ignore[arg-type, return-value]
        expected = gradients(adapted, lambda: plainly(adapted))
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, tolerance=1e-4)


@torch.no_grad()
def test_only_what_is_asked_for_is_made() -> None:
    hooked = HookedModel(tiny_model("llama"))
    only_logits = hooked.outputs(BATCH.input_ids, BATCH.rows, BATCH.columns, activations=False, logits=True)
    only_activations = hooked.outputs(BATCH.input_ids, BATCH.rows, BATCH.columns, activations=True, logits=False)
    both = hooked.outputs(BATCH.input_ids, BATCH.rows, BATCH.columns, activations=True, logits=True)
    assert only_logits.activations is None
    assert only_activations.logits is None
    assert torch.equal(only_logits.logits, both.logits)  # type: ignore[arg-type]
    assert torch.equal(only_activations.activations, both.activations)  # type: ignore[arg-type]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_readings_are_float32_whatever_the_model_is_in(adapter: Adapter) -> None:
    model = tiny_model("llama").to(torch.bfloat16)  # type: ignore[arg-type]
    with random_adapter(model, adapter) as adapted:
        found = batched(adapted)
    assert found.logits is not None
    assert found.activations is not None
    assert (found.logits.dtype, found.activations.dtype) == (torch.float32, torch.float32)


def test_softcapped_logits_stay_below_the_cap() -> None:
    """Gemma's final soft-capping lies outside its decoder and its head."""
    model = tiny_model("gemma3_text")
    model.config.final_logit_softcapping = 0.5
    logits = batched(model).logits
    assert logits is not None
    assert 0.4 < logits.abs().max() < 0.5


@pytest.mark.parametrize(
    ("adapter", "num_virtual"), [("prompt", NUM_VIRTUAL_TOKENS), ("prefix", NUM_VIRTUAL_TOKENS), ("lora", 0)]
)
def test_virtual_tokens_take_a_place_in_the_context(adapter: Adapter, num_virtual: int) -> None:
    model = tiny_model("llama")
    model.config.max_position_embeddings = 30
    with random_adapter(model, adapter) as adapted:
        hooked = HookedModel(adapted)
        assert hooked.num_virtual_tokens == num_virtual
        check_context(hooked, 30 - num_virtual)
        with pytest.raises(UserError, match=r"take 31 tokens, the model's context holds 30"):
            check_context(hooked, 31 - num_virtual)
