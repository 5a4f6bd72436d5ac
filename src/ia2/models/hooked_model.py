"""One forward pass: token ids in, activations and logits at the answer positions out.

The decoder is called without its head, and the head only where logits are wanted. Virtual tokens of prompt and prefix
tuning enter as the beginning of the key-value cache, computed once and shared by all rows. That is the same arithmetic
as PEFT's own forward, and it leaves positions within a batch unchanged.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from peft import PeftModel, PeftType
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2.models.architecture import architecture_of, attention_blocks
from ia2.models.placement import device_of, is_spread
from ia2.models.virtual_tokens import prefix_cache, prompt_embeddings

Model = PreTrainedModel | PeftModel


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of a model at M positions, activations and logits where requested."""

    hidden_states: Tensor  # [M, D], the decoder's last ones, in the model's dtype
    activations: Tensor | None = None  # [L, M, D]; in float32 where they are learned from, else in the model's dtype
    logits: Tensor | None = None  # [M, V], in float32


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
        self.architecture = architecture_of(self.base)
        config = model.active_peft_config if isinstance(model, PeftModel) else None
        self.num_virtual_tokens = int(config.num_virtual_tokens) if config and config.is_prompt_learning else 0
        embeddings = self.base.get_input_embeddings()
        self.device = device_of(embeddings)
        self.on_one_gpu = self.device.type == "cuda" and not is_spread(embeddings)
        self._blocks = attention_blocks(self.base)
        self._head = cast(nn.Module, self.base.get_output_embeddings())

    def outputs(  # noqa: PLR0913 - the batch, and what is wanted of it
        self,
        input_ids: Tensor,
        rows: Tensor,
        columns: Tensor,
        *,
        activations: bool,
        logits: bool,
        adapters: Sequence[str] | None = None,
    ) -> ModelOutputs:
        """Run input_ids [B, S], padded on the right: causal attention alone then keeps padding out.

        `adapters` names each row's own adapter, where the model has several.
        """
        cache = self.virtual_cache(len(input_ids))
        inputs = {"input_ids": input_ids, "past_key_values": cache, "use_cache": cache is not None}
        adapted: AbstractContextManager[Any] = nullcontext()
        if adapters is not None:
            assert isinstance(self.model, PeftModel)
            adapted = self.model._enable_peft_forward_hooks(adapter_names=list(adapters))
        with adapted:
            found = self.outputs_at(rows, columns, activations=activations, **inputs)
        return ModelOutputs(
            hidden_states=found.hidden_states,
            activations=None if found.activations is None else found.activations.float(),
            logits=self.logits(found.hidden_states) if logits else None,
        )

    def run(self, **inputs: Any) -> Tensor:
        """The decoder's last hidden states [B, S, D]; inputs are those of a transformers decoder."""
        return cast(Tensor, self.base.base_model(**inputs).last_hidden_state)

    def outputs_at(self, rows: Tensor, columns: Tensor, *, activations: bool, **inputs: Any) -> ModelOutputs:
        """Run the decoder, and take its last hidden states and attention outputs at the positions (rows, columns)."""
        with record_attention(self._blocks if activations else (), rows, columns) as recorded:
            states = self.run(**inputs)
        hidden_states = states[rows.to(states.device), columns.to(states.device)].to(self.device)
        stacked = torch.stack([one.to(rows.device) for one in recorded]) if activations else None
        return ModelOutputs(hidden_states, stacked)

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Logits [..., V] in float32 of hidden states [..., D]."""
        logits = cast(Tensor, self._head(hidden_states)).to(self.device).float()
        cap = getattr(self.base.config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def virtual_cache(self, num_rows: int) -> DynamicCache | None:
        """The keys and values of the adapter's virtual tokens for B rows; None for adapters that have none."""
        if not isinstance(self.model, PeftModel) or not self.num_virtual_tokens:
            return None
        if self.model.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
            cache = prefix_cache(self.model)
        else:
            cache = DynamicCache()
            self.run(inputs_embeds=prompt_embeddings(self.model), past_key_values=cache, use_cache=True)
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
