from itertools import accumulate
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import BOS, EOS, PREFIXING, BlankLine, TokenizerKind, tiny_tokenizer
from transformers import PreTrainedTokenizerFast

from ia2.errors import UserError
from ia2.prompts.prompt import Prompt, PromptTokenizer, prompt_pieces, prompt_text
from ia2.tasks.task_spec import Example

KINDS = get_args(TokenizerKind)
FILMS = tuple(
    Example(index, f"Text:a {word} film\nLabel:", answer)
    for index, (word, answer) in enumerate([("good", "1"), ("bad", "0"), ("so so", "1"), ("dull", "0")])
)
CAPITALS = (Example(4, "Input: France\nOutput:", " Paris"), Example(5, "Input: Spain\nOutput:", " Madrid"))


def plain_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def encoder_of(blank_line: BlankLine, padding_side: Literal["left", "right"] = "right") -> PromptTokenizer:
    return PromptTokenizer(tiny_tokenizer(blank_line, padding_side))


@pytest.mark.parametrize("blank_line", ["one", "two"])
@pytest.mark.parametrize("pool", [FILMS, CAPITALS], ids=["films", "capitals"])
def test_an_answer_has_the_same_ids_in_demonstrations_and_as_the_target(
    pool: tuple[Example, ...], blank_line: BlankLine
) -> None:
    prompt_tokenizer = encoder_of(blank_line)
    merged = 0
    for demo in pool:
        together = plain_ids(tiny_tokenizer(blank_line), demo.question + demo.answer)
        merged += together != [*prompt_tokenizer.ids(demo.question), *prompt_tokenizer.ids(demo.answer)]
        shown = prompt_tokenizer.prompt(Prompt((demo,), pool[0]))
        question, target = prompt_tokenizer.ids(demo.question), prompt_tokenizer.answer(demo.answer, 1, "separator")
        assert shown[1 + len(question) :][: len(target)] == target
        asked = prompt_tokenizer.prompt(Prompt((), demo))
        assert shown[: len(asked)] == asked
    assert merged  # this tokenizer would merge a cue and its answer, so the test above can fail


@pytest.mark.parametrize("blank_line", ["one", "two"])
@given(demonstrations=st.lists(st.sampled_from(FILMS + CAPITALS), max_size=4), query=st.sampled_from(FILMS))
def test_the_prompts_ids_say_the_prompts_text_after_one_start_token(
    blank_line: BlankLine, demonstrations: list[Example], query: Example
) -> None:
    prompt = Prompt(tuple(demonstrations), query)
    ids = encoder_of(blank_line).prompt(prompt)
    assert ids[0] == BOS
    assert BOS not in ids[1:]
    assert tiny_tokenizer(blank_line).decode(list(ids[1:])) == prompt_text(prompt)


def test_a_tokenizer_that_puts_no_start_token_gets_none() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None
    assert tokenizer("a").input_ids[0] != BOS
    assert PromptTokenizer(tokenizer).prompt(Prompt((), FILMS[0])) == tuple(plain_ids(tokenizer, FILMS[0].question))


def test_the_padding_side_changes_no_ids() -> None:
    prompt = Prompt(FILMS[:2], FILMS[2])
    left, right = encoder_of("one", "left"), encoder_of("one", "right")
    assert left.prompt(prompt) == right.prompt(prompt)


def test_a_ground_truth_response_is_the_answer_and_what_ends_it() -> None:
    one, two = encoder_of("one"), encoder_of("two")
    (newline,) = two.ids("\n")
    assert one.answer("1", 1, "separator") == one.ids("1")
    assert one.answer("1", 8, "separator") == (*one.ids("1"), *one.ids("\n\n"))
    assert two.answer("1", 8, "separator") == (*two.ids("1"), newline, newline)
    assert one.answer("1", 8, "eos") == (*one.ids("1"), EOS)
    one.tokenizer.eos_token = None
    with pytest.raises(UserError, match=r"stop=eos: .* no such token; take --stop separator"):
        one.answer("1", 8, "eos")


# Tokenizers that begin every text with a blank


def cuts_of(tokenizer: PreTrainedTokenizerFast, text: str) -> set[int]:
    """The places in `text` where a token begins or the text ends."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    return {len(text), *(start for start, end in offsets if end > start)}


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_joined_pieces_are_the_whole_text_s_ids_where_no_token_crosses_them(kind: TokenizerKind, begins: bool) -> None:
    tokenizer, compared = tiny_tokenizer("two", kind=kind, begins=begins), 0
    prompt_tokenizer = PromptTokenizer(tokenizer)
    for demos in (FILMS[:3], CAPITALS, ()):
        for query in FILMS + CAPITALS:
            prompt = Prompt(demos, query, "Name it!" if query.idx % 2 else "")
            *pieces, text = (*prompt_pieces(prompt), prompt_text(prompt))
            if set(accumulate(map(len, pieces))) <= cuts_of(tokenizer, text):
                compared += 1
                assert list(prompt_tokenizer.prompt(prompt)) == tokenizer(text).input_ids
    assert compared >= 6


@pytest.mark.parametrize("kind", PREFIXING)
def test_an_answer_begins_with_itself_and_not_with_a_blank(kind: TokenizerKind) -> None:
    """As in the whole text, whose token at the answer's place is the oracle."""
    tokenizer = tiny_tokenizer("two", kind=kind)
    prompt_tokenizer, question, labels = PromptTokenizer(tokenizer), "Text:a good film :", ("Label", "Output")
    for label in labels:
        whole = tokenizer(question + label, add_special_tokens=False, return_offsets_mapping=True)
        at = next(place for place, (start, _) in enumerate(whole.offset_mapping) if start == len(question))
        assert list(prompt_tokenizer.ids(label)) == whole.input_ids[at:]
    assert len({prompt_tokenizer.answer(label, 8, "separator")[0] for label in labels}) == 2
    assert len({plain_ids(tokenizer, label)[0] for label in labels}) == 1, "the fault that is guarded against"


@pytest.mark.parametrize("kind", KINDS)
@given(pieces=st.lists(st.text(" \n:abLT▁é中", max_size=8), min_size=1, max_size=3))
def test_decoding_says_what_was_encoded_with_its_leading_blank(kind: TokenizerKind, pieces: list[str]) -> None:
    prompt_tokenizer = PromptTokenizer(tiny_tokenizer(kind=kind))
    spoken = [piece.replace("▁", "") if not kind.startswith("bytes") else piece for piece in pieces]
    assert prompt_tokenizer.decode([prompt_tokenizer.ids(piece) for piece in spoken]) == spoken


@pytest.mark.parametrize("kind", KINDS)
def test_a_response_is_read_alike_by_every_kind(kind: TokenizerKind) -> None:
    prompt_tokenizer = PromptTokenizer(tiny_tokenizer(kind=kind))
    assert prompt_tokenizer.text(prompt_tokenizer.ids(" Paris\n\nInput")) == " Paris"
    assert prompt_tokenizer.text((*prompt_tokenizer.ids(" Paris"), EOS)) == " Paris"
    assert prompt_tokenizer.text(prompt_tokenizer.ids("Paris")) == "Paris"
    assert prompt_tokenizer.text(prompt_tokenizer.ids("a\nb")) == "a\nb"
    assert prompt_tokenizer.text(()) == ""
