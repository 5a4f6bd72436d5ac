"""Virtual tokens of prompt and prefix tuning: their initial values, and a prefix as the beginning of a cache.

A prefix is a table [V, 2 L H W] of keys and values, for V virtual tokens, L layers and H heads of width W.
"""

from typing import Any, cast

import torch
from peft import PeftModel, PeftType
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ia2.models.architecture import attention_blocks
from ia2.models.placement import device_of


@torch.no_grad()
def begin_with_words(adapted: PeftModel) -> None:
    """Start virtual tokens from random words of the vocabulary: a prompt from their embeddings (Lester et al. 2021), a
    prefix from their keys and values (Li and Liang 2021, section 7.4).

    PEFT's own start, N(0, 1) everywhere, is unlike anything the model has seen: from there a prefix taught SmolLM2
    nothing of `capitals` in 100 steps.
    """
    base, weight = cast(PreTrainedModel, adapted.get_base_model()), _table(adapted)
    embeddings = base.get_input_embeddings()
    words = torch.randint(base.config.vocab_size, (1, len(weight))).to(device_of(embeddings))
    prefix = adapted.active_peft_config.peft_type == PeftType.PREFIX_TUNING
    start = _keys_and_values(base, words) if prefix else embeddings(words)[0]
    weight.copy_(start.reshape(weight.shape))


def prompt_embeddings(adapted: PeftModel) -> Tensor:
    """The embeddings [1, V, D] that a prompt consists of, in the model's dtype.

    peft's own `get_prompt` copies token ids to the device each time, which a CUDA graph cannot hold.
    """
    return _table(adapted)[None].to(cast(PreTrainedModel, adapted.get_base_model()).dtype)


def _table(adapted: PeftModel) -> Tensor:
    prompt_tokenizer: Any = adapted.prompt_encoder[adapted.active_adapter]
    table: Tensor = prompt_tokenizer.embedding.weight
    return table


def _keys_and_values(base: PreTrainedModel, words: Tensor) -> Tensor:
    """Those [V, 2 L, H, W] of V words."""
    cache = DynamicCache()
    base.base_model(input_ids=words, past_key_values=cache, use_cache=True)
    layers = [cast(DynamicLayer, layer) for layer in cache.layers]
    halves = [cast(Tensor, half)[0].to(words.device) for layer in layers for half in (layer.keys, layer.values)]
    return torch.stack(halves).permute(2, 0, 1, 3)


def prefix_cache(adapted: PeftModel) -> DynamicCache:
    """The keys and values that a prefix consists of, as a cache of one row; each layer's are where it computes.

    peft's own `get_prompt` fails on a model of which a part is on the disk and none on a GPU.
    """
    base, weight = cast(PreTrainedModel, adapted.get_base_model()), _table(adapted)
    blocks, cache = attention_blocks(base), DynamicCache()
    halves = weight.view(len(weight), 2 * len(blocks), adapted.active_peft_config.num_attention_heads, -1)
    halves = halves.to(base.dtype).permute(1, 2, 0, 3)  # [2 L, H, V, W]
    for index, block in enumerate(blocks):
        keys, values = halves[2 * index : 2 * index + 2].to(device_of(block))[:, None]
        cache.update(keys, values, index)
    return cache
