"""The shape of a model, and the room it takes in memory and on disk: the formulas of docs/performance.md."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

FLOAT32 = 4


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-like decoder: L layers, D width, V vocabulary, heads of `head_width`, key-value heads.

    `tied`: embeddings and head are one matrix. `head_norms`: queries and keys are normalised head by head (Qwen3).
    """

    num_layers: int
    width: int
    inner_width: int
    vocabulary: int
    num_heads: int
    num_key_value_heads: int
    head_width: int
    bytes_per_number: int
    tied: bool = True
    head_norms: bool = False

    @property
    def body_weights(self) -> int:
        """Numbers in the matrices of all layers: query and output, key and value, and the three of the MLP."""
        attention = 2 * self.width * self.head_width * (self.num_heads + self.num_key_value_heads)
        return self.num_layers * (attention + 3 * self.width * self.inner_width)

    @property
    def head_weights(self) -> int:
        return self.vocabulary * self.width

    @property
    def weight_bytes(self) -> int:
        """The matrices of body, head and embeddings; norms are left out."""
        return (self.body_weights + (2 - self.tied) * self.head_weights) * self.bytes_per_number

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token in all layers."""
        return 2 * self.num_layers * self.num_key_value_heads * self.head_width * self.bytes_per_number

    @property
    def target_bytes(self) -> int:
        """Activations of one answer position in all layers, as they lie on disk."""
        return self.num_layers * self.width * self.bytes_per_number

    def kept_bytes(self, rank: int, num_adapted: int) -> int:
        """What a training step keeps of one fed token until it goes backward, with LoRA on `num_adapted` projections.

        In every layer: the inputs of norms, in float32; those of the adapted projections, in the adapter's float32,
        which takes a copy for each unless the model is in float32 itself; what the adapter makes of them; queries,
        keys, values and what attention puts out, with one sum a head; and three times the MLP's inner width.
        """
        number, heads = self.bytes_per_number, self.num_heads + self.num_key_value_heads
        norms = 2 * (self.width + 1) + (heads * (self.head_width + 1) if self.head_norms else 0)
        copies = 1 if number == FLOAT32 else num_adapted
        adapter = copies * self.width + num_adapted * rank
        rest = (2 * heads * self.head_width + 3 * self.inner_width) * number
        return self.num_layers * (FLOAT32 * (norms + adapter + self.num_heads) + rest)

    def adapter_bytes(self, rank: int) -> int:
        """LoRA on the query, key and value projections, on disk in float32."""
        sizes = 3 * self.width + (self.num_heads + 2 * self.num_key_value_heads) * self.head_width
        return FLOAT32 * rank * self.num_layers * sizes

    @property
    def attention_flops(self) -> int:
        """Of one pair of a position and one that it sees: the score and the weighted value, in all layers."""
        return 4 * self.num_layers * self.num_heads * self.head_width


LLAMA_70B = Shape(
    num_layers=80,
    width=8192,
    inner_width=28672,
    vocabulary=128256,
    num_heads=64,
    num_key_value_heads=8,
    head_width=128,
    bytes_per_number=2,
    tied=False,
)
"""Llama-3.1-70B in bf16."""


def shape_of(config: PreTrainedConfig, dtype: torch.dtype) -> Shape:
    """The shape that a transformers configuration of a Llama-like model describes."""
    return Shape(
        num_layers=config.num_hidden_layers,
        width=config.hidden_size,
        inner_width=config.intermediate_size,
        vocabulary=config.vocab_size,
        num_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_width=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        bytes_per_number=dtype.itemsize,
        tied=config.tie_word_embeddings,
        head_norms=config.model_type == "qwen3",
    )
