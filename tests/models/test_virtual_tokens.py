"""Decoding under prompt and prefix tuning, against PEFT's own uncached forward of one growing prompt at a time."""

import pytest
from adapting import random_adapter
from oracles import Witness, assert_same, plain_greedy
from tiny import WINDOW, tiny_model, tiny_tokenizer

from ia2.methods import Adapter
from ia2.models.generation import GenerationConfig, Stopper, generate
from ia2.models.hooked_model import HookedModel
from ia2.prompts.tokenization import Ids

NUM_TOKENS = 8
BEGINNING = tuple(range(100, 110))
PROMPTS: dict[str, list[Ids]] = {
    "nothing shared": [(17,), (60, 61, 62), tuple(range(40, 40 + WINDOW + 7))],
    "a shared beginning": [(*BEGINNING, 5), (*BEGINNING, 6, 7, 8, 9), (*BEGINNING, *range(20, 29))],
    "a lane": [(*range(100, 160), 5), *((*range(100, 160), *range(20, end)) for end in (24, 28, 23, 21))],
}


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("adapter", ["prompt", "prefix"])
@pytest.mark.parametrize("shape", ["llama", "qwen3", "gpt2", "mistral", "gemma3_text"])
def test_equals_one_by_one(shape: str, adapter: Adapter, prompts: str) -> None:
    model, witness = tiny_model(shape), Witness()
    with random_adapter(model, adapter) as adapted:
        expected = [plain_greedy(adapted, prompt, NUM_TOKENS) for prompt in PROMPTS[prompts]]
        ends = {expected[0].tokens[2], expected[1].tokens[5]}
        expected = [response.until(ends) for response in expected]
        hooked = HookedModel(adapted)
        how = GenerationConfig(NUM_TOKENS, Stopper(tiny_tokenizer(), "eos", sorted(ends)))
        responses = generate(hooked, PROMPTS[prompts], how, witness.see, activations=True)
    for row, right in enumerate(expected):
        assert_same(witness.plain(row, responses[row]), right)


@pytest.mark.parametrize("adapter", ["lora", "ia3"])
def test_adapters_without_virtual_tokens_too(adapter: Adapter) -> None:
    model, witness = tiny_model("qwen2"), Witness()
    with random_adapter(model, adapter) as adapted:
        expected = [plain_greedy(adapted, prompt, NUM_TOKENS) for prompt in PROMPTS["a shared beginning"]]
        hooked = HookedModel(adapted)
        responses = generate(
            hooked, PROMPTS["a shared beginning"], GenerationConfig(NUM_TOKENS, None), witness.see, activations=True
        )
    for row, right in enumerate(expected):
        assert_same(witness.plain(row, responses[row]), right)
