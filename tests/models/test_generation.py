"""Decoding in batches, padded, cached and with a shared beginning, against one prompt at a time without any of that."""

from itertools import product

import pytest
import torch
from adapting import random_adapter
from decoded import (
    LENGTHS,
    NUM_TOKENS,
    PACKED,
    PROMPTS,
    assert_decodes,
    ends_at_different_steps,
    plainly,
    random_prompts,
    stop_at,
)
from oracles import Witness, assert_same, plain_greedy
from tiny import SHAPES, WINDOW, tiny_model, tiny_tokenizer

from ia2.errors import UserError
from ia2.methods import Adapter
from ia2.models.generation import GenerationConfig, Stopper, generate
from ia2.models.hooked_model import HookedModel
from ia2.prompts.prompt import Ids, Prompt, PromptTokenizer
from ia2.tasks.task_spec import Example


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_one_token_equals_one_by_one(shape: str, prompts: str) -> None:
    expected = [response.first(1) for response in plainly(shape, prompts)]
    assert_decodes(shape, "sdpa", prompts, GenerationConfig(1, None), expected)


@pytest.mark.parametrize(
    ("shape", "attention", "prompts"),
    [
        *product(SHAPES, ["sdpa", "eager"], PROMPTS),
        *product(SHAPES, ["sdpa"], PACKED),
        *product(["gemma3_text", "mistral"], ["eager"], PACKED),
    ],
)
def test_equals_one_by_one_when_rows_end_at_different_steps(shape: str, attention: str, prompts: str) -> None:
    ends = ends_at_different_steps(plainly(shape, prompts))
    expected = [response.until(ends) for response in plainly(shape, prompts)]
    assert len({len(response.tokens) for response in expected}) >= 3
    assert_decodes(shape, attention, prompts, GenerationConfig(NUM_TOKENS, stop_at(ends)), expected)


BEGINNING = tuple(range(100, 110))
BEHIND_VIRTUAL_TOKENS: dict[str, list[Ids]] = {
    "nothing shared": [(17,), (60, 61, 62), tuple(range(40, 40 + WINDOW + 7))],
    "a shared beginning": [(*BEGINNING, 5), (*BEGINNING, 6, 7, 8, 9), (*BEGINNING, *range(20, 29))],
    "a packed row": [(*range(100, 160), 5), *((*range(100, 160), *range(20, end)) for end in (24, 28, 23, 21))],
}


@pytest.mark.parametrize("prompts", BEHIND_VIRTUAL_TOKENS)
@pytest.mark.parametrize(
    ("shape", "adapter"),
    [
        *product(["llama", "qwen3", "gpt2", "mistral", "gemma3_text"], ["prompt", "prefix"]),
        *product(["qwen2"], ["lora", "ia3"]),
    ],
)
def test_equals_pefts_own_forward_of_one_growing_prompt(shape: str, adapter: Adapter, prompts: str) -> None:
    model, witness = tiny_model(shape), Witness()
    with random_adapter(model, adapter) as adapted:
        expected = [plain_greedy(adapted, prompt, 8) for prompt in BEHIND_VIRTUAL_TOKENS[prompts]]
        ends = {expected[0].tokens[2], expected[1].tokens[5]}
        hooked, how = HookedModel(adapted), GenerationConfig(8, stop_at(ends))
        responses = generate(hooked, BEHIND_VIRTUAL_TOKENS[prompts], how, witness.see, activations=True)
    for row, right in enumerate(expected):
        assert_same(witness.plain(row, responses[row]), right.until(ends))


@pytest.mark.parametrize("token_budget", [1, 30, 60])
def test_the_size_of_batches_changes_nothing(token_budget: int) -> None:
    finished: list[int] = []
    how = GenerationConfig(NUM_TOKENS, None, token_budget=token_budget)
    assert_decodes(
        "mistral", "sdpa", "nothing shared", how, plainly("mistral", "nothing shared"), progress=finished.append
    )
    assert sum(finished) == len(LENGTHS)
    assert len(finished) > 1


@pytest.mark.parametrize("token_budget", [40, 60, 90, 130, 200])
@pytest.mark.parametrize("shape", ["llama", "mistral"])
def test_beginnings_of_other_lengths_that_are_in_other_batches_change_nothing(shape: str, token_budget: int) -> None:
    beginnings, ends = random_prompts((30, 19, 12)), random_prompts((5, 3, 4, 2, 3, 6, 2, 4))
    prompts = [beginning + end for beginning in beginnings for end in ends]
    expected = [plain_greedy(tiny_model(shape), prompt, 3).tokens for prompt in prompts]
    hooked = HookedModel(tiny_model(shape))
    assert generate(hooked, prompts, GenerationConfig(3, None, token_budget=token_budget)) == expected


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("shape", ["llama", "gemma3_text"])
def test_the_tokenizers_padding_side_changes_nothing(shape: str, padding_side: str) -> None:
    tokenizer = tiny_tokenizer(padding_side=padding_side)  # type: ignore[arg-type]
    prompt_tokenizer, shots = PromptTokenizer(tokenizer), (Example(0, "Text:a good film\nLabel:", "1"),)
    queries = [Example(index, f"Text:{text}\nLabel:", "0") for index, text in enumerate(("no", "so so", "a dull film"))]
    prompts = [prompt_tokenizer.prompt(Prompt(shots, query)) for query in queries]
    model = tiny_model(shape)
    witness = Witness()
    hooked = HookedModel(model)
    responses = generate(
        hooked, prompts, GenerationConfig(4, Stopper(tokenizer, "separator", [2])), witness.see, activations=True
    )
    for row, prompt in enumerate(prompts):
        assert_same(witness.plain(row, responses[row]), plain_greedy(model, prompt, len(responses[row])))


def test_activations_are_recorded_only_where_they_are_wanted() -> None:
    witness = Witness(activations=False)
    hooked = HookedModel(tiny_model("llama"))
    responses = generate(hooked, PROMPTS["nothing shared"], GenerationConfig(2, None), witness.see)
    assert [len(response) for response in responses] == [2] * len(LENGTHS)
    assert not witness.activations_of


def test_nothing_asked_nothing_answered() -> None:
    hooked = HookedModel(tiny_model("llama"))
    assert generate(hooked, [], GenerationConfig(NUM_TOKENS, None)) == []


def test_equal_prompts_have_equal_responses() -> None:
    prompt = random_prompts((20,))[0]
    hooked = HookedModel(tiny_model("mistral"))
    responses = generate(hooked, [prompt] * 3, GenerationConfig(NUM_TOKENS, None))
    assert responses == [plain_greedy(tiny_model("mistral"), prompt, NUM_TOKENS).tokens] * 3


def test_bfloat16_with_eager_attention_decodes() -> None:
    """The additive mask has to be in the model's own format; tokens of a random bfloat16 model can be ties."""
    model = tiny_model("mistral", attention="eager").to(torch.bfloat16)  # type: ignore[arg-type]
    witness = Witness()
    hooked = HookedModel(model)
    generate(hooked, PROMPTS["nothing shared"], GenerationConfig(3, None), witness.see, activations=True)
    first = witness.logits_of[6][0]
    assert first.dtype == torch.float32
    assert witness.activations_of[6][0].dtype == torch.bfloat16
    assert (first - plainly("mistral", "nothing shared")[6].logits[0]).abs().max() < 0.5


@pytest.mark.parametrize("num_tokens", [16, 17])
def test_a_prompt_that_does_not_fit_the_context_is_refused_with_both_numbers(num_tokens: int) -> None:
    model = tiny_model("llama")
    model.config.max_position_embeddings = 40
    hooked = HookedModel(model)
    if num_tokens == 16:
        generate(hooked, random_prompts((3, 24)), GenerationConfig(num_tokens, None))
        return
    with pytest.raises(UserError, match=r"take 41 tokens, the model's context holds 40: lower --max_icl_demos"):
        generate(hooked, random_prompts((3, 24)), GenerationConfig(num_tokens, None))
