"""Activations and hidden states of a model at chosen positions, from one forward pass.

An activation is the output of a layer's self-attention block, after its output projection and before the residual is
added. The attribute that holds the block differs by architecture and is listed here; an architecture that is not
listed is refused, since matching the wrong tensor would train without complaint.

The decoder is called without its head, and the head only where logits are wanted. Virtual tokens of prompt and prefix
tuning enter as the beginning of the key-value cache, computed once and shared by all rows. That is the same arithmetic
as PEFT's own forward, and it leaves positions within a batch unchanged.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from peft import PeftModel, PeftType
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2.errors import UserError

Model = PreTrainedModel | PeftModel

ARCHITECTURES = {
    "llama": ("layers", "self_attn", "one mask"),
    "mistral": ("layers", "self_attn", "one mask"),
    "qwen2": ("layers", "self_attn", "a mask for each layer type"),
    "qwen3": ("layers", "self_attn", "a mask for each layer type"),
    "gemma3_text": ("layers", "self_attn", "a mask for each layer type"),
    "phi3": ("layers", "self_attn", "one mask"),
    "gpt2": ("h", "attn", "one mask"),
    "gpt_neox": ("layers", "attention", "one mask"),
}
"""The decoder's list of layers, a layer's attention block, and the form of masks made by hand (`models/packing.py`)."""


def attention_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The L self-attention blocks in the order of the layers.

    Raises UserError for an unknown architecture, with the known ones and the attention modules that were found.
    """
    model_type = model.config.model_type
    if model_type not in ARCHITECTURES:
        found = sorted({type(module).__name__ for module in model.modules() if "Attention" in type(module).__name__})
        num_layers = model.config.get_text_config().num_hidden_layers
        raise UserError(
            f"model type {model_type!r} is not supported; known: {', '.join(ARCHITECTURES)}. "
            f"It has {num_layers} layers and the attention modules {', '.join(found) or 'none'}; "
            "one line in ia2/models/hooked_model.py adds it"
        )
    layers, attention, _ = ARCHITECTURES[model_type]
    return [cast(nn.Module, getattr(layer, attention)) for layer in getattr(model.base_model, layers)]


def select_layers(text: str, num_layers: int) -> tuple[int, ...] | None:
    """The layers that `all` (None), `7`, `4-11` or `::k` mean; UserError for anything else or beyond the model.

    >>> select_layers("4-6", 12), select_layers("::5", 12), select_layers("all", 12)
    ((4, 5, 6), (0, 5, 10), None)
    """
    if text == "all":
        return None
    match = re.fullmatch(r"(\d+)(?:-(\d+))?|::([1-9]\d*)", text)
    if match and match[3]:
        return tuple(range(0, num_layers, int(match[3])))
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last < num_layers:
        raise UserError(
            f"layers={text!r}: give all, one layer as 7, a range as 4-11 or every k-th as ::k, of the "
            f"layers 0 to {num_layers - 1}"
        )
    return tuple(range(first, last + 1))


def device_of(module: nn.Module) -> torch.device:
    """The device that a module computes on, and therefore that of its outputs.

    A model may be spread over several devices by accelerate, which wraps each module's forward: inputs are moved to the
    module's device. A weight kept in the CPU's memory or on the disk is a placeholder without numbers (`meta`), brought
    to that device for each forward. Code that combines outputs of several modules moves them to one device first.
    """
    if not is_spread(module):
        return next(module.parameters()).device
    device: str | int | torch.device = cast(Any, module)._hf_hook.execution_device
    return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)


def is_spread(module: nn.Module) -> bool:
    """True where accelerate has wrapped the forward of this module."""
    return hasattr(module, "_hf_hook")


@contextmanager
def record_attention(blocks: Sequence[nn.Module], rows: Tensor, columns: Tensor) -> Iterator[list[Tensor]]:
    """Record the outputs of `blocks` at the M positions (rows, columns) of a forward pass within the context.

    Yields a list of L tensors [M, D], which the pass fills. The slice is taken inside the hook, on the device of the
    block, so that a layer's full [B, S, D] is never kept.

    >>> blocks = [nn.Identity()]
    >>> with record_attention(blocks, torch.tensor([0]), torch.tensor([1])) as recorded:
    ...     _ = blocks[0](torch.arange(6.0).view(1, 3, 2))
    >>> recorded
    [tensor([[2., 3.]])]
    """
    recorded = [torch.empty(0)] * len(blocks)

    def record(layer: int, _block: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        hidden = output if isinstance(output, Tensor) else output[0]
        recorded[layer] = hidden[rows.to(hidden.device), columns.to(hidden.device)]

    handles = [block.register_forward_hook(partial(record, layer)) for layer, block in enumerate(blocks)]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


class HookedModel:
    """A model, with an adapter or without, that gives its attention outputs and hidden states at chosen positions.

    `device` is that of the input embeddings: inputs go there, and all outputs are brought together there. With the
    whole model `on_one_gpu` its kernels can be recorded as a CUDA graph.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.base = cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model
        self.blocks = attention_blocks(self.base)
        config = model.active_peft_config if isinstance(model, PeftModel) else None
        self.num_virtual_tokens = int(config.num_virtual_tokens) if config and config.is_prompt_learning else 0
        embeddings = self.base.get_input_embeddings()
        self.device = device_of(embeddings)
        self.on_one_gpu = self.device.type == "cuda" and not is_spread(embeddings)
        self._head = cast(nn.Module, self.base.get_output_embeddings())

    def run(self, **inputs: Any) -> Tensor:
        """The decoder's last hidden states [B, S, D]; inputs are those of a transformers decoder."""
        return cast(Tensor, self.base.base_model(**inputs).last_hidden_state)

    def outputs(
        self, rows: Tensor, columns: Tensor, *, activations: bool, **inputs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Hidden states [M, D] and, if requested, activations [L, M, D] at the positions (rows, columns), in its dtype.

        Inputs are those of `run`, by default after the virtual tokens. Input ids [B, S] are padded on the right: causal
        attention alone keeps padding out.
        """
        if "past_key_values" not in inputs:
            cache = self.virtual_cache(len(inputs["input_ids"]))
            inputs |= {"past_key_values": cache, "use_cache": cache is not None}
        with record_attention(self.blocks if activations else (), rows, columns) as recorded:
            states = self.run(**inputs)
        hidden_states = states[rows.to(states.device), columns.to(states.device)].to(self.device)
        return hidden_states, torch.stack([one.to(rows.device) for one in recorded]) if activations else None

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Logits [..., V] in float32 of hidden states [..., D]."""
        logits = cast(Tensor, self._head(hidden_states)).to(self.device).float()
        cap = getattr(self.base.config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def virtual_cache(self, num_rows: int) -> DynamicCache | None:
        """The keys and values of the adapter's virtual tokens for B rows; None for adapters that have none.

        PEFT's own `get_prompt` copies token ids to the device each time, which a CUDA graph cannot hold, and fails on a
        model of which a part is on the disk and none on a GPU.
        """
        if not isinstance(self.model, PeftModel) or not self.num_virtual_tokens:
            return None
        (weight,), cache = self.model.prompt_encoder.parameters(), DynamicCache()
        table = weight.to(self.base.dtype)
        if self.model.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
            num_heads = self.model.active_peft_config.num_attention_heads
            halves = table.view(len(table), 2 * len(self.blocks), num_heads, -1).permute(1, 2, 0, 3)  # [2 L, H, V, W]
            for layer, block in enumerate(self.blocks):  # each layer's are where it computes
                keys, values = halves[2 * layer : 2 * layer + 2].to(device_of(block))[:, None]
                cache.update(keys, values, layer)
        else:
            self.run(inputs_embeds=table[None], past_key_values=cache, use_cache=True)
        return rows_of(cache, torch.zeros(num_rows, dtype=torch.long, device=self.device))


def rows_of(cache: DynamicCache, rows: Tensor, width: int | None = None) -> DynamicCache:
    """A cache of which each row is one of `cache`, by index, with its first `width` slots or all; `cache` stays."""
    copy = DynamicCache()
    for index, layer in enumerate(cast(list[DynamicLayer], cache.layers)):
        halves = [cast(Tensor, half)[:, :, :width] for half in (layer.keys, layer.values)]
        one = len(halves[0]) == 1
        keys, values = (half.expand(len(rows), -1, -1, -1) if one else half[rows.to(half.device)] for half in halves)
        copy.update(keys, values, index)
    return copy
