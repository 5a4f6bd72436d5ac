"""One forward pass: token ids in, activations and logits at the answer positions out.

The decoder is called without its head, and the head only where logits are wanted. Virtual tokens of prompt and prefix
tuning enter as the beginning of the key-value cache, computed once and shared by all rows. That is the same arithmetic
as PEFT's own forward, and it leaves positions within a batch what they are without an adapter.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from peft import PeftModel, PeftType
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2.models.architecture import architecture_of, attention_blocks, decoder_of
from ia2.models.hooks import record_attention
from ia2.models.placement import device_of, is_spread
from ia2.models.virtual_tokens import prefix_cache, prompt_embeddings

Model = PreTrainedModel | PeftModel


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of a model at M positions, activations and logits where requested."""

    hidden: Tensor  # [M, D], the decoder's last hidden states, in the model's dtype
    activations: Tensor | None = None  # [L, M, D]; in float32 where they are learned from, else in the model's dtype
    logits: Tensor | None = None  # [M, V], in float32


class HookedModel:
    """A model, with an adapter or without, that gives its attention outputs and hidden states at chosen positions."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.base = base_of(model)
        self.architecture = architecture_of(self.base)
        self._blocks = attention_blocks(self.base)
        self._decoder = decoder_of(self.base)
        self._head = cast(nn.Module, self.base.get_output_embeddings())

    @property
    def device(self) -> torch.device:
        """Where inputs go, and where all that is read comes together: the device of the input embeddings."""
        return device_of(self.base.get_input_embeddings())

    @property
    def on_one_gpu(self) -> bool:
        """Whether the whole model is on a single GPU, so that its kernels can be recorded as a CUDA graph."""
        return self.device.type == "cuda" and not is_spread(self.base.get_input_embeddings())

    def outputs(
        self, input_ids: Tensor, rows: Tensor, columns: Tensor, *, activations: bool, logits: bool
    ) -> ModelOutputs:
        """Run input_ids [B, S], padded on the right: causal attention alone then keeps padding out."""
        cache = self.virtual_cache(len(input_ids))
        inputs = {"input_ids": input_ids, "past_key_values": cache, "use_cache": cache is not None}
        found = self.outputs_at(rows, columns, activations=activations, **inputs)
        return ModelOutputs(
            hidden=found.hidden,
            activations=None if found.activations is None else found.activations.float(),
            logits=self.logits(found.hidden) if logits else None,
        )

    def run(self, **inputs: Any) -> Tensor:
        """The decoder's last hidden states [B, S, D]; inputs are those of a transformers decoder."""
        return cast(Tensor, self._decoder(**inputs).last_hidden_state)

    def outputs_at(self, rows: Tensor, columns: Tensor, *, activations: bool, **inputs: Any) -> ModelOutputs:
        """Run the decoder, and take its last hidden states and attention outputs at the positions (rows, columns)."""
        with record_attention(self._blocks if activations else (), rows, columns) as recorded:
            states = self.run(**inputs)
        hidden = states[rows.to(states.device), columns.to(states.device)].to(self.device)
        return ModelOutputs(hidden, torch.stack([one.to(rows.device) for one in recorded]) if activations else None)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] in float32 of hidden states [..., D]."""
        logits = cast(Tensor, self._head(hidden)).to(self.device).float()
        cap = getattr(self.base.config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def virtual_cache(self, num_rows: int) -> DynamicCache | None:
        """The keys and values of the adapter's virtual tokens for B rows; None for adapters that have none."""
        if not isinstance(self.model, PeftModel) or not self.model.active_peft_config.is_prompt_learning:
            return None
        rows = torch.zeros(num_rows, dtype=torch.long, device=self.device)
        if self.model.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
            return rows_of(prefix_cache(self.model), rows)
        cache = DynamicCache()
        self.run(inputs_embeds=prompt_embeddings(self.model), past_key_values=cache, use_cache=True)
        return rows_of(cache, rows)

    @property
    def num_virtual_tokens(self) -> int:
        config = self.model.active_peft_config if isinstance(self.model, PeftModel) else None
        return int(config.num_virtual_tokens) if config is not None and config.is_prompt_learning else 0


def base_of(model: Model) -> PreTrainedModel:
    """The transformers model itself, with or without an adapter around it."""
    return cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model


def rows_of(cache: DynamicCache, rows: Tensor, width: int | None = None) -> DynamicCache:
    """A cache of which each row is one of `cache`, by index, with its first `width` slots or all; `cache` stays."""
    copy = DynamicCache()
    for index, layer in enumerate(cache.layers):
        pair = cast(DynamicLayer, layer)
        assert pair.keys is not None
        assert pair.values is not None
        copy.update(_rows_of(pair.keys, rows, width), _rows_of(pair.values, rows, width), index)
    return copy


def _rows_of(half: Tensor, rows: Tensor, width: int | None) -> Tensor:
    half = half[:, :, :width]
    return half.expand(len(rows), -1, -1, -1) if len(half) == 1 else half[rows.to(half.device)]
