import json
from functools import cache
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import plain_greedy
from tiny import BOS, EOS, VOCABULARY, BlankLine, TokenizerKind, tiny_model, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from ia2.config import StopRule
from ia2.models.generation import GenerationConfig, Stopper, generate
from ia2.models.hooked_model import HookedModel


def worded_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """A tokenizer whose ids from 3 on are `words`."""
    vocabulary = {word: index for index, word in enumerate(("<pad>", "<s>", "</s>", *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


WORDS = ("x", "x\n", "\ny", "\n", "\n\n", "a\n\nb", "\n\n\n", "y\nz", " ")
WORDED = worded_tokenizer(*WORDS)
ID = {word: index for index, word in enumerate(WORDS, start=3)}


def end_of(stopper: Stopper, response: list[int]) -> int | None:
    """How many tokens of the response there are when it ends."""
    previous = None
    for size, value in enumerate(response, start=1):
        token = torch.tensor([value])
        if bool(stopper.ended(token, previous)):
            return size
        previous = token
    return None


def by_definition(tokenizer: PreTrainedTokenizerFast, response: list[int]) -> int | None:
    """The first step at which the text so far holds a blank line, or whose token is end-of-sequence."""
    for size in range(1, len(response) + 1):
        if "\n\n" in tokenizer.decode(response[:size]) or response[size - 1] == EOS:
            return size
    return None


@given(st.lists(st.integers(0, len(WORDS) + 2), max_size=6))
def test_a_response_ends_where_its_text_holds_a_blank_line(response: list[int]) -> None:
    assert end_of(Stopper(WORDED, "separator", [EOS]), response) == by_definition(WORDED, response)


@pytest.mark.parametrize("kind", get_args(TokenizerKind))
@pytest.mark.parametrize("blank_line", ["one", "two"])
@given(data=st.data())
def test_the_same_with_real_tokenizers(blank_line: BlankLine, kind: TokenizerKind, data: st.DataObject) -> None:
    tokenizer = tiny_tokenizer(blank_line, kind=kind)
    texts = st.text("\n\n abTL:", max_size=8).map(lambda text: tokenizer(text, add_special_tokens=False).input_ids)
    response = data.draw(st.lists(texts, max_size=3).map(lambda parts: [token for part in parts for token in part]))
    assert end_of(stopper_of(blank_line, kind), response) == by_definition(tokenizer, response)


def test_a_newline_behind_a_blank_is_no_blank_line() -> None:
    """Decoded alone, the token loses its blank, and would seem to begin with a newline."""
    made = json.loads(tiny_tokenizer("two", kind="sentencepiece").backend_tokenizer.to_str())
    made["model"]["vocab"]["▁\n"] = len(made["model"]["vocab"])
    made["model"]["merges"].append(["▁", "\n"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(made)))
    newline, after_blank = tokenizer.convert_tokens_to_ids(["\n", "▁\n"])
    assert tokenizer.decode([newline, after_blank]) == "\n \n"
    assert end_of(Stopper(tokenizer, "separator", [EOS]), [newline, after_blank]) is None


@cache
def stopper_of(blank_line: BlankLine, kind: TokenizerKind = "bytes") -> Stopper:
    return Stopper(tiny_tokenizer(blank_line, kind=kind), "separator", [EOS])


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["x", "\n\n", "x"], 2),
        (["\n", "\n"], 2),
        (["x\n", "\ny"], 2),
        (["x", "x\n", "\n"], 3),
        (["x\n", "x", "\ny"], None),
        (["x\n", " ", "\n"], None),  # a space stands between
        (["x", "a\n\nb"], 2),
        (["y\nz", "\ny", "x\n", "x"], None),
        (["\n\n\n"], 1),
    ],
)
def test_newlines_that_meet_across_tokens(words: list[str], end: int | None) -> None:
    assert end_of(Stopper(WORDED, "separator", []), [ID[word] for word in words]) == end


def test_the_rule_eos_lets_blank_lines_pass() -> None:
    stopper = Stopper(WORDED, "eos", [EOS])
    assert end_of(stopper, [ID["\n\n"], ID["\n"], ID["\n"], EOS]) == 4


@pytest.mark.parametrize("rule", ["separator", "eos"])
def test_every_end_of_sequence_token_counts(rule: StopRule) -> None:
    stopper = Stopper(WORDED, rule, [EOS, BOS, VOCABULARY + 5])
    assert stopper.ended(torch.tensor([EOS, BOS, VOCABULARY + 5, ID["x"]]), None).tolist() == [True, True, True, False]


def test_ids_beyond_the_tokenizers_vocabulary_end_nothing() -> None:
    """Padded vocabularies: a model can emit ids that its tokenizer does not know; the last known one is no stand-in."""
    tokenizer = worded_tokenizer("x", "\n", "\n\n")
    stopper = Stopper(tokenizer, "separator", [EOS])
    beyond = torch.tensor([len(tokenizer), len(tokenizer) + 1000])
    newline = torch.tensor([4, 4])
    assert stopper.ended(beyond, None).tolist() == [False, False]
    assert stopper.ended(beyond, newline).tolist() == [False, False]
    assert stopper.ended(newline, beyond).tolist() == [False, False]


def test_rows_are_judged_one_by_one() -> None:
    stopper = Stopper(WORDED, "separator", [EOS])
    token = torch.tensor([ID["\n"], ID["\n"], EOS, ID["\n\n"], ID["x"]])
    previous = torch.tensor([ID["x"], ID["x\n"], ID["x"], ID["x"], ID["\n"]])
    assert stopper.ended(token, previous).tolist() == [False, True, True, True, False]


def test_the_token_that_ends_a_response_is_its_last() -> None:
    """A model's own third token is called end-of-sequence, then a word whose newlines meet the second's."""
    model, prompt = tiny_model("qwen3"), (5, 9, 30, 41)
    tokens = plain_greedy(model, prompt, 6).tokens
    assert len(set(tokens[:3])) == 3
    words = [f"word{index}" for index in range(3, VOCABULARY)]
    words[tokens[1] - 3], words[tokens[2] - 3] = "x\n", "\ny"
    for stopper in (Stopper(WORDED, "eos", [tokens[2]]), Stopper(worded_tokenizer(*words), "separator", [])):
        hooked = HookedModel(model)
        assert generate(hooked, [prompt], GenerationConfig(6, stopper)) == [tokens[:3]]
