"""Prompts as turns of a chat template, and instructions."""

from pathlib import Path

import pytest
from tiny import tiny_tokenizer
from transformers import PreTrainedTokenizerFast

from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.models.loading import load_model
from ia2.prompts.prompt import Ids, Prompt, PromptTokenizer, prompt_text
from ia2.tasks.task_spec import Example, TaskSpec

CHATML = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FRANCE, SPAIN = Example(0, "Input: France\nOutput:", " Paris"), Example(1, "Input: Spain\nOutput:", " Madrid")
QUERY = Example(2, "Input: Oslo\nOutput:", " Paris")
SPEC = TaskSpec(name="towns", template="Input: {x}\nOutput:", answer_template=" {y}", parser="line")


def chat_tokenizer(template: str = CHATML) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture
def prompt_tokenizer() -> PromptTokenizer:
    return PromptTokenizer(chat_tokenizer(), chat=True)


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


def rendered(prompt_tokenizer: PromptTokenizer, messages: list[dict[str, str]]) -> str:
    text = prompt_tokenizer.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text


def test_a_query_is_the_template_s_own_rendering(prompt_tokenizer: PromptTokenizer) -> None:
    own = prompt_tokenizer.tokenizer.apply_chat_template(turns(("user", QUERY.question)), add_generation_prompt=True)
    assert list(prompt_tokenizer.prompt(Prompt((), QUERY))) == list(own["input_ids"])  # type: ignore[index]


def test_demonstrations_are_turns_of_one_conversation(prompt_tokenizer: PromptTokenizer) -> None:
    messages = turns(
        ("user", FRANCE.question),
        ("assistant", "Paris"),
        ("user", SPAIN.question),
        ("assistant", "Madrid"),
        ("user", QUERY.question),
    )
    ids = prompt_tokenizer.prompt(Prompt((FRANCE, SPAIN), QUERY))
    assert prompt_tokenizer.tokenizer.decode(list(ids)) == rendered(prompt_tokenizer, messages)
    assert ids.count(prompt_tokenizer.tokenizer.convert_tokens_to_ids("<|im_start|>")) == 6
    assert ids[0] == prompt_tokenizer.tokenizer.bos_token_id
    assert ids.count(prompt_tokenizer.tokenizer.bos_token_id) == 1


def where(part: Ids, ids: Ids) -> list[int]:
    return [start for start in range(len(ids)) if ids[start : start + len(part)] == part]


def test_an_answer_has_the_same_ids_as_a_demonstration_and_as_a_target(prompt_tokenizer: PromptTokenizer) -> None:
    target = prompt_tokenizer.answer(FRANCE.answer, 4, "separator")
    end = prompt_tokenizer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert target[-1] == end
    answer = target[:-1]
    assert answer == prompt_tokenizer.answer_ids(FRANCE.answer)
    assert prompt_tokenizer.tokenizer.decode(list(answer)) == "Paris"
    shown = prompt_tokenizer.prompt(Prompt((FRANCE,), QUERY))
    (at,) = where(answer, shown)
    assert shown[at + len(answer)] == end
    # what precedes it in the demonstration is what precedes the target: the end of a prompt that asks for it
    asked = prompt_tokenizer.prompt(Prompt((), Example(9, FRANCE.question, "")))
    assert shown[:at] == asked


def test_an_answer_of_one_token_has_no_end(prompt_tokenizer: PromptTokenizer) -> None:
    assert prompt_tokenizer.answer(" Paris", 1, "separator") == prompt_tokenizer.answer_ids(" Paris")


def test_a_tokenizer_without_a_template_is_an_error(tiny_model_folder: Path) -> None:
    with pytest.raises(UserError, match="--chat_template: this model's tokenizer has no chat template"):
        PromptTokenizer(tiny_tokenizer(), chat=True)
    with pytest.raises(UserError, match="no chat template"):
        load_model(ModelConfig(model_id=str(tiny_model_folder))).prompt_tokenizer(chat=True)


# Instructions


@pytest.mark.parametrize(("instruct", "student_too"), [("teacher", False), ("both", True)])
def test_an_instruction_stands_before_the_teacher_s_prompt_and_if_asked_for_before_the_student_s(
    instruct: str, student_too: bool
) -> None:
    spec = SPEC.model_copy(update={"instruction": "Name the capital.", "instruct": instruct})
    teacher, student = Prompt((FRANCE,), QUERY), Prompt((), QUERY)
    assert prompt_text(teacher.instructed(spec)) == "Name the capital.\n\n" + prompt_text(teacher)
    expected = "Name the capital.\n\n" if student_too else ""
    assert prompt_text(student.instructed(spec)) == expected + prompt_text(student)
    assert teacher.instructed(SPEC) == teacher


def test_an_instruction_opens_the_first_turn(prompt_tokenizer: PromptTokenizer) -> None:
    spec = SPEC.model_copy(update={"instruction": "Name the capital."})
    ids = prompt_tokenizer.prompt(Prompt((FRANCE,), QUERY).instructed(spec))
    messages = turns(
        ("user", "Name the capital.\n\n" + FRANCE.question), ("assistant", "Paris"), ("user", QUERY.question)
    )
    assert prompt_tokenizer.tokenizer.decode(list(ids)) == rendered(prompt_tokenizer, messages)
