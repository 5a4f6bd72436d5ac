"""Demonstrations and query in the chat templates of model families, against literals read by eye.

The templates are short ones of our own that write what the families' write.
"""

from dataclasses import dataclass
from itertools import chain

import pytest
import torch
from tiny import TokenizerKind, tiny_model, tiny_tokenizer
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from ia2.errors import UserError
from ia2.models.loading import LanguageModel
from ia2.prompts.prompt import Prompt, PromptTokenizer
from ia2.tasks.task_spec import Example

FRANCE, SPAIN = Example(0, "France?", " Paris"), Example(1, "Spain?", " Madrid")
TURNS = (("user", "France?"), ("assistant", "Paris"), ("user", "Spain?"))


@dataclass(frozen=True)
class Shape:
    """A family's template, the prompt of one demonstration and a query, and the tokens that end a turn."""

    template: str
    prompt: str
    end: tuple[str, ...]
    tokens: tuple[str, ...]
    kind: TokenizerKind = "bytes"
    generation: bool = True
    """Whether the template's own generation prompt opens an answer alike."""


def turns(user: str, assistant: str, generation: str = "", opening: str = "", closing: str = "") -> str:
    """A template that writes each turn by its role alone; {} is the content."""
    write_user, write_assistant = (text.replace("{}", "{{ m.content | trim }}") for text in (user, assistant))
    return (
        f"{opening}{{% for m in messages %}}{{% if m.role == 'user' %}}{write_user}{{% elif m.role == 'assistant' %}}"
        f"{write_assistant}{{% else %}}{{{{ raise_exception('no such role') }}}}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{generation}{{% else %}}{closing}{{% endif %}}"
    )


QWEN3 = (
    "{% set last = namespace(user=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set last.user = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.index0 > last.user %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content.split('</think>')[-1].lstrip('\n') }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HARMONY = (
    "<|start|>system<|message|>Reasoning: low<|end|>{% for m in messages %}{% if m.role == 'user' %}"
    "<|start|>user<|message|>{{ m.content }}<|end|>{% elif loop.last and not add_generation_prompt %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% else %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
SHAPES = {
    "llama3": Shape(
        turns(
            "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "{{ bos_token }}",
        ),
        "<s><|start_header_id|>user<|end_header_id|>\n\nFrance?<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
        "\n\nParis<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nSpain?<|eot_id|><|start_header_id|>assistant"
        "<|end_header_id|>\n\n",
        ("<|eot_id|>",),
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "qwen2.5": Shape(
        turns(
            "<|im_start|>user\n{}<|im_end|>\n",
            "<|im_start|>assistant\n{}<|im_end|>\n",
            "<|im_start|>assistant\n",
            "<|im_start|>system\nYou are Qwen.<|im_end|>\n",
        ),
        "<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\nFrance?<|im_end|>\n<|im_start|>assistant\n"
        "Paris<|im_end|>\n<|im_start|>user\nSpain?<|im_end|>\n<|im_start|>assistant\n",
        ("<|im_end|>",),
        ("<|im_start|>", "<|im_end|>"),
    ),
    "qwen3": Shape(
        QWEN3,
        "<|im_start|>user\nFrance?<|im_end|>\n<|im_start|>assistant\nParis<|im_end|>\n<|im_start|>user\nSpain?"
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ("<|im_end|>",),
        ("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
        generation=False,
    ),
    "gemma": Shape(
        turns(
            "<start_of_turn>user\n{}<end_of_turn>\n",
            "<start_of_turn>model\n{}<end_of_turn>\n",
            "<start_of_turn>model\n",
            "{{ bos_token }}",
        ),
        "<s><start_of_turn>user\nFrance?<end_of_turn>\n<start_of_turn>model\nParis<end_of_turn>\n<start_of_turn>user\n"
        "Spain?<end_of_turn>\n<start_of_turn>model\n",
        ("<end_of_turn>",),
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    "phi3": Shape(
        turns("<|user|>\n{}<|end|>\n", "<|assistant|>\n{}<|end|>\n", "<|assistant|>\n", closing="{{ eos_token }}"),
        "<|user|>\nFrance?<|end|>\n<|assistant|>\nParis<|end|>\n<|user|>\nSpain?<|end|>\n<|assistant|>\n",
        ("<|end|>",),
        ("<|user|>", "<|assistant|>", "<|end|>"),
        kind="sentencepiece",
    ),
    "llama2": Shape(
        turns("<s>[INST] {} [/INST]", " {} </s>"),
        "<s>[INST] France? [/INST] Paris </s><s>[INST] Spain? [/INST]",
        ("▁", "</s>"),
        (),
        kind="sentencepiece",
    ),
    "mistral": Shape(
        turns("[INST] {}[/INST]", " {}</s>", opening="{{ bos_token }}"),
        "<s>[INST] France?[/INST] Paris</s>[INST] Spain?[/INST]",
        ("</s>",),
        ("[INST]", "[/INST]"),
        kind="metaspace_first",
    ),
    "deepseek": Shape(
        turns("<｜User｜>{}", "<｜Assistant｜>{}</s>", "<｜Assistant｜><think>\n", "{{ bos_token }}"),
        "<s><｜User｜>France?<｜Assistant｜>Paris</s><｜User｜>Spain?<｜Assistant｜>",
        ("</s>",),
        ("<｜User｜>", "<｜Assistant｜>"),
        generation=False,
    ),
    "granite": Shape(
        turns(
            "<|start_of_role|>user<|end_of_role|>{}<|end_of_text|>\n",
            "<|start_of_role|>assistant<|end_of_role|>{}<|end_of_text|>\n",
            "<|start_of_role|>assistant<|end_of_role|>",
            "<|start_of_role|>system<|end_of_role|>You are Granite.<|end_of_text|>\n",
        ),
        "<|start_of_role|>system<|end_of_role|>You are Granite.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>"
        "France?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>Paris<|end_of_text|>\n<|start_of_role|>user"
        "<|end_of_role|>Spain?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        ("<|end_of_text|>",),
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
    ),
    "command-r": Shape(
        turns(
            "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{}<|END_OF_TURN_TOKEN|>",
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{}<|END_OF_TURN_TOKEN|>",
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
            "{{ bos_token }}",
        ),
        "<s><|START_OF_TURN_TOKEN|><|USER_TOKEN|>France?<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
        "Paris<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Spain?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ("<|END_OF_TURN_TOKEN|>",),
        ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"),
    ),
    "harmony": Shape(
        HARMONY,
        "<|start|>system<|message|>Reasoning: low<|end|><|start|>user<|message|>France?<|end|><|start|>assistant"
        "<|channel|>final<|message|>Paris<|end|><|start|>user<|message|>Spain?<|end|><|start|>assistant<|channel|>final"
        "<|message|>",
        ("<|end|>",),
        ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
        generation=False,
    ),
    "zephyr": Shape(
        turns("<|user|>\n{}</s>\n", "<|assistant|>\n{}</s>\n", "<|assistant|>\n"),
        "<|user|>\nFrance?</s>\n<|assistant|>\nParis</s>\n<|user|>\nSpain?</s>\n<|assistant|>\n",
        ("</s>",),
        (),
        kind="metaspace",
    ),
    "alpaca": Shape(
        turns("### Instruction:\n{}\n\n", "### Response:\n{}\n\n", "### Response:\n"),
        "### Instruction:\nFrance?\n\n### Response:\nParis\n\n### Instruction:\nSpain?\n\n### Response:\n",
        ("</s>",),
        (),
    ),
}


def tokenizer_of(shape: Shape) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer(kind=shape.kind)
    added = [
        AddedToken(token, special=True, normalized=False, rstrip=shape.kind == "sentencepiece")
        for token in shape.tokens
    ]
    tokenizer.add_special_tokens({"additional_special_tokens": added})
    tokenizer.chat_template = shape.template
    return tokenizer


def conversation(*contents: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in contents]


@pytest.mark.parametrize("name", SHAPES)
def test_demonstrations_are_the_history_of_a_conversation(name: str) -> None:
    shape, tokenizer = SHAPES[name], tokenizer_of(SHAPES[name])
    whole = tokenizer.apply_chat_template(conversation(*TURNS, ("assistant", "Madrid")), tokenize=False)
    assert str(whole).startswith(shape.prompt)
    if shape.generation:
        opened = tokenizer.apply_chat_template(conversation(*TURNS), tokenize=False, add_generation_prompt=True)
        assert opened == shape.prompt
    ids = PromptTokenizer(tokenizer, chat=True).prompt(Prompt((FRANCE,), SPAIN))
    if shape.kind == "bytes":
        assert tokenizer.decode(list(ids)) == shape.prompt
    else:
        assert list(ids) == tokenizer(shape.prompt, add_special_tokens=False).input_ids


@pytest.mark.parametrize("name", SHAPES)
def test_a_gold_answer_ends_as_a_demonstration_does_and_the_stop_rule_knows_it(name: str) -> None:
    shape, tokenizer = SHAPES[name], tokenizer_of(SHAPES[name])
    prompt_tokenizer = PromptTokenizer(tokenizer, chat=True)
    target, shown = prompt_tokenizer.answer(" Paris", 8, "separator"), prompt_tokenizer.prompt(Prompt((FRANCE,), SPAIN))
    end = tuple(tokenizer.convert_tokens_to_ids(list(shape.end)))
    assert target == prompt_tokenizer.answer_ids(" Paris") + end
    if name != "alpaca":  # whose turns end in no token
        opened = prompt_tokenizer.prompt(Prompt((), Example(9, FRANCE.question, "")))
        places = [at for at in range(len(shown)) if shown[at : at + len(target)] == target]
        assert len(places) == 1
        assert name in ("qwen3",) or shown[: places[0]] == opened
    lm = LanguageModel(tiny_model("llama"), tokenizer, "tiny", "a revision")
    assert lm.stopper("eos", chat=True).ended(torch.tensor(end), None).tolist()[-1]
    assert prompt_tokenizer.text([*chain(target, prompt_tokenizer.ids(" more"))]).strip() == "Paris" or name == "alpaca"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('Conversation roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "cannot be cut into turns"),
        ("{{ messages[0].content }}", "cannot be cut into turns"),
        ("{{ messages[7].content.name[1] }}", "UndefinedError"),
        ("{% for m in %}", "TemplateSyntaxError"),
    ],
)
def test_a_template_without_turns_of_a_user_and_an_assistant_is_refused(template: str, reason: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=reason):
        PromptTokenizer(tokenizer, chat=True)
