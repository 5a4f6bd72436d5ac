"""Models for benchmarks that need no weights: the published shapes, randomly initialised."""

import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM


def qwen3_4b(device: torch.device, dtype: torch.dtype = torch.bfloat16, num_layers: int = 36) -> PreTrainedModel:
    """The shape of Qwen3-4B-Base: 36 layers (or fewer) of width 2560, 151,936 tokens, embeddings tied."""
    config = Qwen3Config(
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=num_layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen3ForCausalLM._from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)
