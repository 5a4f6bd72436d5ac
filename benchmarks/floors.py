"""What work costs at least, from the shape of a model: the formulas of docs/performance.md.

Counted is what any implementation must do: every distinct beginning of a prompt is read once (what prompts share costs
nothing twice), logits are made at answer positions only, and a step of decoding reads every weight and every cached key
and value once. Adapters and element-wise work are left out, and every layer counts whole, although where activations
alone are wanted the last one could stop after its attention: a fortieth of the work in models of 36 layers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sizes import Shape

Ids = Sequence[int]


@dataclass(frozen=True)
class Phase:
    """Work that must end before the next begins: products take `flops`, and `moved` bytes pass through memory."""

    flops: float
    moved: float


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
            (shape.body_weights + shape.head_weights) * shape.bytes_per_number
            + shape.cache_bytes * (shared.tokens + rows * number),
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
