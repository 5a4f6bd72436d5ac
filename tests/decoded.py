"""Prompts to decode in batches, and what one at a time comes to."""

from collections.abc import Callable
from functools import cache
from itertools import product

import torch
from oracles import Plain, Witness, assert_same, plain_greedy
from tiny import WINDOW, tiny_model, tiny_tokenizer

from ia2.models.generation import GenerationConfig, Stopper, generate
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import SHORTEST_PREFIX
from ia2.prompts.prompt import Ids

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = (1, 3, WINDOW - 1, WINDOW, WINDOW + 1, 13, 24)
NUM_TOKENS = 10


def random_prompts(lengths: tuple[int, ...] = LENGTHS, beginning: Ids = ()) -> list[Ids]:
    generator = torch.Generator().manual_seed(7)
    return [(*beginning, *torch.randint(3, 320, (length,), generator=generator).tolist()) for length in lengths]


BEGINNING, OTHER, THIRD = (random_prompts((length,))[0] for length in (11, 120, 90))
PROMPTS = {
    "nothing shared": random_prompts(),
    "a shared beginning": random_prompts((1, 2, 9, 4, 3), BEGINNING),
    "a shared beginning within the window": random_prompts((1, 5, 2, 3), BEGINNING[:SHORTEST_PREFIX]),
}
PACKED = {
    "packed rows of several prefixes": [
        *(random_prompts((4, 1, 8, 2, 5, 4), OTHER) + random_prompts((3, 9, 3, 1), THIRD[::-1])),
        *random_prompts((30, 2)),
    ],
}


@cache
def plainly(shape: str, prompts: str) -> list[Plain]:
    model = tiny_model(shape, attention="eager")
    return [plain_greedy(model, prompt, NUM_TOKENS) for prompt in (PROMPTS | PACKED)[prompts]]


def ends_at_different_steps(responses: list[Plain]) -> set[int]:
    """Two tokens at which the responses end after different numbers of tokens, one not at all if possible."""
    tokens = sorted({token for response in responses for token in response.tokens})
    lengths = {token: [len(response.until({token}).tokens) for response in responses] for token in tokens}
    pairs = product(tokens, tokens)
    return set(max(pairs, key=lambda pair: len(set(map(min, lengths[pair[0]], lengths[pair[1]])))))


def stop_at(ends: set[int]) -> Stopper:
    return Stopper(tiny_tokenizer(), "eos", sorted(ends))


def assert_decodes(  # noqa: PLR0913
    shape: str,
    attention: str,
    prompts: str,
    how: GenerationConfig,
    expected: list[Plain],
    *,
    progress: Callable[[int], object] = id,
) -> None:
    witness = Witness()
    hooked = HookedModel(tiny_model(shape, attention=attention).to(DEVICE))  # type: ignore[arg-type]
    responses = generate(hooked, (PROMPTS | PACKED)[prompts], how, witness.see, activations=True, progress=progress)
    for row, (response, right) in enumerate(zip(responses, expected, strict=True)):
        assert_same(witness.plain(row, response), right)
