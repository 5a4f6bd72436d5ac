from typing import Any

import pytest
import torch
from oracles import attention_modules
from tiny import SHAPES, tiny_model
from torch import nn

from ia2.errors import UserError
from ia2.models.architecture import attention_blocks
from ia2.models.hooks import record_attention

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


def test_hooks_are_gone_afterwards() -> None:
    model = tiny_model("llama")
    with record_attention(attention_blocks(model), ROWS, COLUMNS):
        assert hooks_of(model) == model.config.num_hidden_layers
    assert hooks_of(model) == 0


def test_hooks_are_gone_after_an_exception() -> None:
    model = tiny_model("llama")
    with pytest.raises(ZeroDivisionError), record_attention(attention_blocks(model), ROWS, COLUMNS):
        raise ZeroDivisionError
    assert hooks_of(model) == 0


def blocks_of_identity() -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.Identity())


def test_only_the_positions_asked_for_are_kept_and_not_the_whole_output() -> None:
    blocks = blocks_of_identity()
    with record_attention(list(blocks), torch.tensor([0]), torch.tensor([5])) as recorded:
        blocks(torch.randn(1, 1000, 3))
    kept = torch.stack(recorded)
    assert kept.untyped_storage().nbytes() == 2 * 3 * 4


def test_an_architecture_that_is_not_listed_is_refused_and_told_what_was_found() -> None:
    model = tiny_model("llama")
    model.config.model_type = "novelty"
    with pytest.raises(UserError, match=r"'novelty' is not supported; known: llama, .*LlamaAttention"):
        attention_blocks(model)
