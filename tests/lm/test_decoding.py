"""Decoding in batches, padded, cached and with a shared beginning, against one prompt at a time without any of that."""

from functools import cache
from itertools import product

import pytest
import torch
from oracles import Plain, Witness, assert_same, plain_greedy
from tiny import SHAPES, WINDOW, tiny_model, tiny_tokenizer

from ia2.errors import UserError
from ia2.icl.encoding import Encoder, Ids
from ia2.icl.prompts import Episode
from ia2.lm.decoding import Decoding, Stopper, decode
from ia2.lm.forward import reading
from ia2.lm.prefixes import SHORTEST_PREFIX
from ia2.tasks.base import Example

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
LANES = {
    "lanes of several prompts and beginnings": [
        *(random_prompts((4, 1, 8, 2, 5, 4), OTHER) + random_prompts((3, 9, 3, 1), THIRD[::-1])),
        *random_prompts((30, 2)),
    ],
}


@cache
def plainly(shape: str, prompts: str) -> list[Plain]:
    model = tiny_model(shape, attention="eager")
    return [plain_greedy(model, prompt, NUM_TOKENS) for prompt in (PROMPTS | LANES)[prompts]]


def ends_at_different_steps(responses: list[Plain]) -> set[int]:
    """Two tokens at which the responses end after different numbers of tokens, one not at all if possible."""
    tokens = sorted({token for response in responses for token in response.tokens})
    lengths = {token: [len(response.until({token}).tokens) for response in responses] for token in tokens}
    pairs = product(tokens, tokens)
    return set(max(pairs, key=lambda pair: len(set(map(min, lengths[pair[0]], lengths[pair[1]])))))


def stop_at(ends: set[int]) -> Stopper:
    return Stopper(tiny_tokenizer(), "eos", sorted(ends))


def assert_decodes(shape: str, attention: str, prompts: str, how: Decoding, expected: list[Plain]) -> None:
    witness = Witness()
    with reading(tiny_model(shape, attention=attention)) as reader:  # type: ignore[arg-type]
        responses = decode(reader, (PROMPTS | LANES)[prompts], how, witness)
    for row, (response, right) in enumerate(zip(responses, expected, strict=True)):
        assert_same(witness.plain(row, response), right)


@pytest.mark.parametrize("num_tokens", [1, NUM_TOKENS])
@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_one_by_one(shape: str, attention: str, prompts: str, num_tokens: int) -> None:
    expected = [response.first(num_tokens) for response in plainly(shape, prompts)]
    assert_decodes(shape, attention, prompts, Decoding(num_tokens, None), expected)


@pytest.mark.parametrize(
    ("shape", "attention", "prompts"),
    [
        *product(SHAPES, ["sdpa", "eager"], PROMPTS),
        *product(SHAPES, ["sdpa"], LANES),
        *product(["gemma3_text", "mistral"], ["eager"], LANES),
    ],
)
def test_equals_one_by_one_when_rows_end_at_different_steps(shape: str, attention: str, prompts: str) -> None:
    ends = ends_at_different_steps(plainly(shape, prompts))
    expected = [response.until(ends) for response in plainly(shape, prompts)]
    assert len({len(response.tokens) for response in expected}) >= 3
    assert_decodes(shape, attention, prompts, Decoding(NUM_TOKENS, stop_at(ends)), expected)


@pytest.mark.parametrize("token_budget", [1, 30, 60])
def test_the_size_of_batches_changes_nothing(token_budget: int) -> None:
    finished: list[int] = []
    how = Decoding(NUM_TOKENS, None, token_budget=token_budget, advance=finished.append)
    assert_decodes("mistral", "sdpa", "nothing shared", how, plainly("mistral", "nothing shared"))
    assert sum(finished) == len(LENGTHS)
    assert len(finished) > 1


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("shape", ["llama", "gemma3_text"])
def test_the_tokenizers_padding_side_changes_nothing(shape: str, padding_side: str) -> None:
    tokenizer = tiny_tokenizer(padding_side=padding_side)  # type: ignore[arg-type]
    encoder, shots = Encoder(tokenizer), (Example(0, "Text:a good film\nLabel:", "1"),)
    queries = [Example(index, f"Text:{text}\nLabel:", "0") for index, text in enumerate(("no", "so so", "a dull film"))]
    prompts = [encoder.prompt(Episode(shots, query)) for query in queries]
    model = tiny_model(shape)
    witness = Witness()
    with reading(model) as reader:
        responses = decode(reader, prompts, Decoding(4, Stopper(tokenizer, "separator", [2])), witness)
    for row, prompt in enumerate(prompts):
        assert_same(witness.plain(row, responses[row]), plain_greedy(model, prompt, len(responses[row])))


def test_activations_are_recorded_only_where_they_are_wanted() -> None:
    witness = Witness(activations=False)
    with reading(tiny_model("llama")) as reader:
        responses = decode(reader, PROMPTS["nothing shared"], Decoding(2, None), witness)
    assert [len(response) for response in responses] == [2] * len(LENGTHS)
    assert not witness.activations_of


def test_nothing_asked_nothing_answered() -> None:
    with reading(tiny_model("llama")) as reader:
        assert decode(reader, [], Decoding(NUM_TOKENS, None)) == []


def test_equal_prompts_have_equal_responses() -> None:
    prompt = random_prompts((20,))[0]
    with reading(tiny_model("mistral")) as reader:
        responses = decode(reader, [prompt] * 3, Decoding(NUM_TOKENS, None))
    assert responses == [plain_greedy(tiny_model("mistral"), prompt, NUM_TOKENS).tokens] * 3


def test_bfloat16_with_eager_attention_decodes() -> None:
    """The additive mask has to be in the model's own format; tokens of a random bfloat16 model can be ties."""
    model = tiny_model("mistral", attention="eager").to(torch.bfloat16)  # type: ignore[arg-type]
    witness = Witness()
    with reading(model) as reader:
        decode(reader, PROMPTS["nothing shared"], Decoding(3, None), witness)
    first = witness.logits_of[6][0]
    assert first.dtype == torch.float32
    assert witness.activations_of[6][0].dtype == torch.bfloat16
    assert (first - plainly("mistral", "nothing shared")[6].logits[0]).abs().max() < 0.5


@pytest.mark.parametrize("num_tokens", [16, 17])
def test_a_prompt_that_does_not_fit_the_context_is_refused_with_both_numbers(num_tokens: int) -> None:
    model = tiny_model("llama")
    model.config.max_position_embeddings = 40
    with reading(model) as reader:
        if num_tokens == 16:
            decode(reader, random_prompts((3, 24)), Decoding(num_tokens, None))
            return
        with pytest.raises(UserError, match=r"take 41 tokens, the model's context holds 40: lower --max_icl_demos"):
            decode(reader, random_prompts((3, 24)), Decoding(num_tokens, None))
