"""What work costs at least, and how much room it takes, from the shape of a model: the formulas of docs/performance.md.

Counted is what any implementation must do: every distinct beginning of a prompt is read once (what prompts share costs
nothing twice), logits are made at answer positions only, and a step of decoding reads every weight and every cached key
and value once. Adapters and element-wise work are left out, and every layer counts whole, although where activations
alone are wanted the last one can stop after its attention: a hundredth of the work in models of 30 layers and more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

Ids = Sequence[int]


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-like decoder: L layers, D width, V vocabulary, heads of `head_width`, key-value heads."""

    num_layers: int
    width: int
    inner_width: int
    vocabulary: int
    num_heads: int
    num_key_value_heads: int
    head_width: int
    bytes_per_number: int

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
        """What one reading of the body's and the head's weights moves (norms left out; embeddings tied to the head)."""
        return (self.body_weights + self.head_weights) * self.bytes_per_number

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token in all layers."""
        return 2 * self.num_layers * self.num_key_value_heads * self.head_width * self.bytes_per_number

    @property
    def target_bytes(self) -> int:
        """Activations of one answer position in all layers, as they lie on disk."""
        return self.num_layers * self.width * self.bytes_per_number

    @property
    def attention_flops(self) -> int:
        """Of one pair of a position and one that it sees: the score and the weighted value, in all layers."""
        return 4 * self.num_layers * self.num_heads * self.head_width


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
    )


# Work


@dataclass(frozen=True)
class Phase:
    """Work that must end before the next begins: products take `flops`, and `moved` bytes pass through memory."""

    flops: float
    moved: float

    def times(self, number: float) -> "Phase":
        return Phase(self.flops * number, self.moved * number)


@dataclass(frozen=True)
class Rates:
    """What a machine was measured to do per second: operations of a large matrix product, bytes of a large copy."""

    flops: float
    moved: float

    def seconds(self, phases: Iterable[Phase]) -> float:
        """The floor: each phase takes as long as the slower of its arithmetic and its moving of bytes."""
        return sum(max(phase.flops / self.flops, phase.moved / self.moved) for phase in phases)


@dataclass(frozen=True)
class Reach:
    """How many tokens are read, and how many pairs of a token and one that it sees (itself included) that makes."""

    tokens: int
    pairs: int


def distinct(prompts: Iterable[Ids]) -> Reach:
    """Every distinct beginning of the prompts counts as one token, which sees all of that beginning.

    >>> distinct([(1, 2, 3), (1, 2, 4), (5,)])
    Reach(tokens=5, pairs=10)
    """
    tokens, pairs, previous = 0, 0, ()
    for prompt in sorted(map(tuple, prompts)):
        known = next((i for i, both in enumerate(zip(prompt, previous, strict=False)) if both[0] != both[1]), None)
        shared = min(len(prompt), len(previous)) if known is None else known
        tokens += len(prompt) - shared
        pairs += (len(prompt) * (len(prompt) + 1) - shared * (shared + 1)) // 2
        previous = prompt
    return Reach(tokens, pairs)


def one_by_one(sequences: Iterable[Ids]) -> Reach:
    """Every token of every sequence."""
    lengths = [len(sequence) for sequence in sequences]
    return Reach(sum(lengths), sum(length * (length + 1) // 2 for length in lengths))


def forward(shape: Shape, reach: Reach, num_answers: int = 0) -> Phase:
    """One forward over tokens, with logits at `num_answers` positions; weights are read once."""
    body = 2 * shape.body_weights * reach.tokens + shape.attention_flops * reach.pairs
    head = 2 * shape.head_weights * num_answers
    weights = shape.body_weights + (shape.head_weights if num_answers else 0)
    return Phase(body + head, weights * shape.bytes_per_number + shape.cache_bytes * reach.tokens)


def decoding(shape: Shape, prompts: Sequence[Ids], num_tokens: int) -> list[Phase]:
    """Reading the prompts, then `num_tokens` - 1 steps of one token a prompt, all prompts in one batch."""
    shared, rows = distinct(prompts), len(prompts)
    total = sum(map(len, prompts))
    steps = [
        Phase(
            2 * (shape.body_weights + shape.head_weights) * rows + shape.attention_flops * (total + rows * number),
            shape.weight_bytes + shape.cache_bytes * (shared.tokens + rows * number),
        )
        for number in range(1, num_tokens)
    ]
    return [forward(shape, shared, rows), *steps]


def training_step(shape: Shape, fed: Sequence[Ids], num_answers: int) -> Phase:
    """Forward and backward over one batch; the frozen weights take no gradient, so backward costs one forward more.

    The backward of attention has twice the products of its forward. `num_answers` is 0 where no logits are matched.
    """
    reach = one_by_one(fed)
    once = forward(shape, reach, num_answers)
    return Phase(2 * once.flops + shape.attention_flops * reach.pairs, 2 * once.moved)
