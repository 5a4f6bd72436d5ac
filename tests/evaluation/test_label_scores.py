"""Probabilities of whole labels, against plain forwards of one prompt and one label at a time, summed by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from adapting import random_adapter
from oracles import Model, full_forward
from tiny import SHAPES, WINDOW, tiny_model, tiny_tokenizer

from ia2.errors import UserError
from ia2.evaluation.calibration import Floats
from ia2.evaluation.metrics import ScoredAnswers
from ia2.evaluation.scoring import ScoreRecorder, score_labels, sequence_log_probabilities
from ia2.methods import Adapter
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import StepOutput
from ia2.prompts.prompt import Ids, PromptTokenizer

LABELS: list[Ids] = [(40, 7), (40, 41, 7), (40,), (55, 3, 40, 41, 90), (40, 41, 7)]
"""One begins others, one is a single token, two are equal."""


def made_up(*lengths: int, beginning: Ids = ()) -> list[Ids]:
    generator = torch.Generator().manual_seed(5)
    return [(*beginning, *torch.randint(3, 320, (length,), generator=generator).tolist()) for length in lengths]


PROMPTS = {
    "nothing shared": made_up(1, WINDOW - 1, WINDOW, WINDOW + 1, 13),
    "a shared beginning": made_up(1, 2, 9, 4, 3, beginning=made_up(11)[0]),
    "a lane": made_up(1, 2, 9, 4, 3, beginning=made_up(60)[0]),
}


def brute_force(model: Model, prompts: Sequence[Ids], labels: Sequence[Ids] = LABELS) -> Floats:
    def score(prompt: Ids, label: Ids) -> float:
        logits, _ = full_forward(model, prompt + label)
        steps = logits[-len(label) - 1 : -1].double().log_softmax(dim=-1)
        return sum(float(step[token]) for step, token in zip(steps, label, strict=True))

    return np.array([[score(prompt, label) for label in labels] for prompt in prompts])


def scored(model: Model, prompts: Sequence[Ids], labels: Sequence[Ids] = LABELS, token_budget: int = 90) -> Floats:
    hooked = HookedModel(model)
    return sequence_log_probabilities(hooked, prompts, labels, token_budget)


def assert_close(found: Floats, expected: Floats) -> None:
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_one_by_one(shape: str, prompts: str) -> None:
    expected = brute_force(tiny_model(shape, attention="eager"), PROMPTS[prompts])
    assert_close(scored(tiny_model(shape), PROMPTS[prompts]), expected)


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize(
    ("shape", "adapter"),
    [("llama", "lora"), ("gpt2", "prompt"), ("mistral", "prompt"), ("llama", "prefix"), ("gemma3_text", "prefix")],
)
def test_equals_pefts_own_forward_one_by_one(shape: str, adapter: Adapter, prompts: str) -> None:
    with random_adapter(tiny_model(shape), adapter) as adapted:
        assert_close(scored(adapted, PROMPTS[prompts]), brute_force(adapted, PROMPTS[prompts]))


@pytest.mark.parametrize("token_budget", [1, 40, 2048])
def test_order_and_the_size_of_batches_change_nothing(token_budget: int) -> None:
    model, prompts = tiny_model("mistral"), [*PROMPTS["nothing shared"], *PROMPTS["a shared beginning"]]
    expected = scored(model, prompts)
    turned = scored(model, prompts[::-1], LABELS[::-1], token_budget)
    assert_close(turned[::-1, ::-1], expected)


def test_a_prompt_is_read_once_for_all_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    run = HookedModel.run

    def counted(hooked: HookedModel, **inputs: Any) -> torch.Tensor:
        fed.append(inputs["input_ids"].numel())
        return run(hooked, **inputs)

    monkeypatch.setattr(HookedModel, "run", counted)
    prompts = made_up(9, 9, 9)
    scored(tiny_model("llama"), prompts, token_budget=2048)
    followed = sum(len(label) - 1 for label in LABELS)
    assert sum(fed) == 3 * (9 + followed)


def test_a_label_that_begins_another_is_told_apart() -> None:
    """By what ends a response: without it `74` could never be more probable than `7`, here it is for some prompts."""
    prompt_tokenizer, model, prompts = PromptTokenizer(tiny_tokenizer()), tiny_model("gpt2"), made_up(*[5] * 6)
    seven, more = (prompt_tokenizer.answer(label, 2, "separator") for label in ("7", "74"))
    assert seven[0] == more[0]
    found = scored(model, prompts, [seven, more])
    assert_close(found, brute_force(model, prompts, [seven, more]))
    assert set(found.argmax(axis=1)) == {0, 1}


def first_tokens(labels: Sequence[Ids], num_prompts: int) -> ScoredAnswers:
    """What decoding has seen of a made-up distribution."""
    recorder = ScoreRecorder([0] * num_prompts, [label[0] for label in labels])
    logits = torch.randn(num_prompts, 328, generator=torch.Generator().manual_seed(0))
    recorder.record(StepOutput(0, range(num_prompts), torch.zeros(num_prompts, 1), logits, None))
    return recorder.answers


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        ([(40, 7), (41, 7), (42, 41, 7)], "first_token"),
        ([(40, 7), (41, 7), (40, 41, 7)], "full_sequence"),
        ([(40, 7)], "first_token"),
    ],
)
def test_one_rule_for_all_labels_of_a_task(labels: list[Ids], rule: str) -> None:
    prompts, answers = PROMPTS["nothing shared"], first_tokens(labels, 5)
    of_first = answers.label_log_probabilities.copy()
    score_labels(HookedModel(tiny_model("llama")), prompts, labels, answers, 2048)
    assert answers.label_rule == rule
    if rule == "first_token":
        np.testing.assert_array_equal(answers.label_log_probabilities, of_first)
    else:
        assert_close(answers.label_log_probabilities, brute_force(tiny_model("llama"), prompts, labels))


def test_a_label_that_does_not_fit_the_context_is_refused() -> None:
    model = tiny_model("llama")
    model.config.max_position_embeddings = 18
    assert scored(model, PROMPTS["nothing shared"]).shape == (5, 5)
    with pytest.raises(UserError, match="take 19 tokens, the model's context holds 18"):
        scored(model, PROMPTS["nothing shared"], [*LABELS, (1, 2, 3, 4, 5, 6)])
