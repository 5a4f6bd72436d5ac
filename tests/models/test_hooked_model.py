"""Right-padded batches, with and without adapters, against one sequence at a time; hooks on attention."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from adapting import ADAPTERS, NUM_VIRTUAL_TOKENS, random_adapter, trainable_parameters
from oracles import Model, assert_close, attention_modules, full_forward, relative_error
from peft import PeftModel
from tiny import SHAPES, tiny_model
from torch import Tensor, nn

from ia2.errors import UserError
from ia2.methods import Adapter
from ia2.models.generation import check_context
from ia2.models.hooked_model import HookedModel, attention_blocks, record_attention
from ia2.prompts.prompt import TokenizedExample
from ia2.training.dataset import collate

EXAMPLES = [
    TokenizedExample((5, 9, 30, 41, 7, 8, 22, 50, 61), (4,)),
    TokenizedExample((70,), (8, 15, 22)),
    TokenizedExample(tuple(range(10, 30)), tuple(range(40, 47))),
    TokenizedExample((31, 32, 33), (34, 35)),
]
BATCH = collate(EXAMPLES)


def one_by_one(model: Model) -> tuple[Tensor, Tensor]:
    """Logits and activations of full forwards of prompt + response, at the G positions that predict the response."""
    logits, activations = zip(
        *(full_forward(model, example.prompt + example.response) for example in EXAMPLES), strict=True
    )
    ends = [len(example.response) for example in EXAMPLES]
    return (
        torch.cat([seen[-end - 1 : -1] for seen, end in zip(logits, ends, strict=True)]),
        torch.cat([seen[:, -end - 1 : -1] for seen, end in zip(activations, ends, strict=True)], dim=1),
    )


@torch.no_grad()
def batched(model: Model) -> tuple[Tensor, Tensor]:
    hooked = HookedModel(model)
    hidden_states, activations = hooked.outputs(BATCH.rows, BATCH.columns, activations=True, input_ids=BATCH.input_ids)
    assert activations is not None
    return hooked.logits(hidden_states), activations


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_reads_as_its_examples_one_by_one(shape: str, attention: str) -> None:
    expected = one_by_one(tiny_model(shape, attention="eager"))
    for ours, right in zip(batched(tiny_model(shape, attention=attention)), expected, strict=True):  # type: ignore[arg-type]
        assert_close(ours, right)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_reads_as_pefts_own_forward_of_each_example(shape: str, adapter: Adapter) -> None:
    model = tiny_model(shape)
    untouched = batched(model)
    with random_adapter(model, adapter) as adapted:
        found = batched(adapted)
        for ours, right in zip(found, one_by_one(adapted), strict=True):
            assert_close(ours, right)
    assert relative_error(found[0], untouched[0]) > 0.01


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
        of_ours = partial(hooked.outputs, BATCH.rows, BATCH.columns, activations=False, input_ids=BATCH.input_ids)
        found = gradients(adapted, lambda: hooked.logits(of_ours()[0]))
        expected = gradients(adapted, lambda: plainly(adapted))
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, tolerance=1e-4)


def test_softcapped_logits_stay_below_the_cap() -> None:
    """Gemma's final soft-capping lies outside its decoder and its head."""
    model = tiny_model("gemma3_text")
    model.config.final_logit_softcapping = 0.5
    logits, _ = batched(model)
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


# Recording attention outputs

ROWS, COLUMNS = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 8, 4, 0])
IDS = torch.arange(3, 33).view(3, 10)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_activations_are_the_blocks_output_recomputed_from_its_own_inputs(shape: str) -> None:
    model = tiny_model(shape)
    blocks = attention_blocks(model)
    inputs: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    handles = [
        block.register_forward_pre_hook(
            lambda module, args, kwargs: inputs.__setitem__(module, (args, kwargs)), with_kwargs=True
        )
        for block in blocks
    ]
    with record_attention(blocks, ROWS, COLUMNS) as recorded:
        model(input_ids=IDS, use_cache=False)
    taken = torch.stack(recorded)
    for handle in handles:
        handle.remove()
    again = [block.forward(*inputs[block][0], **inputs[block][1])[0][ROWS, COLUMNS] for block in blocks]
    assert taken.shape == (model.config.num_hidden_layers, 4, model.config.hidden_size)
    torch.testing.assert_close(taken, torch.stack(again), rtol=0, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_blocks_are_every_attention_module_in_the_order_of_the_layers(shape: str) -> None:
    model = tiny_model(shape)
    blocks = attention_blocks(model)
    assert blocks == attention_modules(model)
    assert [block.layer_idx for block in blocks] == list(range(model.config.num_hidden_layers))


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_what_the_block_puts_out_is_what_the_residual_takes_in(shape: str) -> None:
    """Adding a constant to what is captured changes the model; zeroing it leaves the layer to its MLP alone."""
    model = tiny_model(shape)
    block = attention_blocks(model)[0]
    before = model(input_ids=IDS).logits
    zeroed = block.register_forward_hook(lambda _module, _inputs, output: (output[0] * 0, *output[1:]))
    without = model(input_ids=IDS).logits
    zeroed.remove()
    last: Any = getattr(block, {"gpt2": "c_proj", "gpt_neox": "dense"}.get(shape, "o_proj"))
    silenced = last.register_forward_hook(lambda _module, _inputs, output: output * 0)
    with_projection_silenced = model(input_ids=IDS).logits
    silenced.remove()
    assert not torch.allclose(before, without)
    assert torch.equal(without, with_projection_silenced)


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_hooks_are_gone_afterwards_whatever_happens() -> None:
    model = tiny_model("llama")
    with pytest.raises(ZeroDivisionError), record_attention(attention_blocks(model), ROWS, COLUMNS):
        _ = 1 / (hooks_of(model) - model.config.num_hidden_layers)  # one hook a layer
    assert hooks_of(model) == 0


def blocks_of_identity() -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.Identity())


def test_only_the_positions_asked_for_are_kept_and_not_the_whole_output() -> None:
    blocks = blocks_of_identity()
    with record_attention(list(blocks), torch.tensor([0]), torch.tensor([5])) as recorded:
        blocks(torch.randn(1, 1000, 3))
    kept = torch.stack(recorded)
    assert kept.untyped_storage().nbytes() == 2 * 3 * 4
