"""Models for benchmarks that need no weights: a published shape, randomly initialised, and smaller ones of its kind."""

from typing import Any

import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

QWEN3_4B: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}
"""The sizes of Qwen3-4B-Base."""

TINY = QWEN3_4B | {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "initializer_range": 0.2,  # large enough that activations and tokens differ
}


def qwen3_4b(device: torch.device, dtype: torch.dtype = torch.bfloat16, num_layers: int = 36) -> PreTrainedModel:
    """The shape of Qwen3-4B-Base: 36 layers (or fewer) of width 2560, 151,936 tokens, embeddings tied."""
    return _random(Qwen3Config(**QWEN3_4B | {"num_hidden_layers": num_layers}), device, dtype)


def random_ids(length: int, generator: torch.Generator) -> tuple[int, ...]:
    """A prompt for `qwen3_4b`, of ordinary tokens."""
    return tuple(torch.randint(100, 150000, (length,), generator=generator).tolist())


def tiny(device: torch.device, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Two layers of width 64, made in a few milliseconds."""
    return _random(Qwen3Config(**TINY), device, dtype)


def sized(num_layers: int, width: int, device: torch.device) -> PreTrainedModel:
    """Some depth and width, in float32: heads of 64, an MLP of three times the width, few tokens."""
    sizes = {
        "vocab_size": 8192,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64,
        "head_dim": 64,
    }
    return _random(Qwen3Config(**QWEN3_4B | sizes), device, torch.float32)


def _random(config: Qwen3Config, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen3ForCausalLM._from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)
