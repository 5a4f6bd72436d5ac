"""What the first step's distribution says, against numbers worked out in float64 one row at a time."""

import math

import numpy as np
import pytest
import torch
from oracles import full_forward
from tiny import EOS, VOCABULARY, tiny_model, tiny_tokenizer

from ia2.evaluation.scoring import ScoreRecorder
from ia2.models.generation import GenerationConfig, Stopper, generate
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import StepOutput


def seen(step: int, rows: list[int], logits: torch.Tensor) -> StepOutput:
    return StepOutput(step, rows, torch.zeros(len(rows), 1), logits, None)


def test_worked_by_hand() -> None:
    """Probabilities 1/2, 1/4, 1/8, 1/8 over four tokens; the gold one is the second, the labels the second and last."""
    probabilities = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
    recorder = ScoreRecorder(gold=[1], labels=[1, 3])
    recorder.record(seen(0, [0], probabilities.log() + 3.0))
    assert recorder.answers.token.tolist() == [0]
    assert recorder.answers.first_correct.tolist() == [False]
    assert recorder.answers.confidence == pytest.approx([0.5])
    assert recorder.answers.gold_log_probability == pytest.approx([math.log(0.25)])
    assert recorder.answers.sum_of_squares == pytest.approx([0.25 + 0.0625 + 2 * 0.015625])
    assert recorder.answers.entropy == pytest.approx([0.5 * math.log(2) + 0.25 * math.log(4) + 0.25 * math.log(8)])
    assert recorder.answers.top_confidence == pytest.approx([0.5])  # fewer than ten tokens: nothing to renormalise
    assert recorder.answers.gold_rank.tolist() == [1]
    assert recorder.answers.top_tokens.tolist() == [[0, 1, 2, 3] + [-1] * 6]
    assert recorder.answers.top_probabilities[0] == pytest.approx([0.5, 0.25, 0.125, 0.125] + [0.0] * 6)
    assert recorder.answers.label_log_probabilities[0] == pytest.approx([math.log(0.25), math.log(0.125)])


def test_confidence_is_under_the_full_softmax_and_the_published_one_over_ten() -> None:
    """Twenty equal tokens: 1/20 of all, 1/10 of the ten best."""
    recorder = ScoreRecorder(gold=[0])
    recorder.record(seen(0, [0], torch.zeros(1, 20)))
    assert recorder.answers.confidence == pytest.approx([1 / 20])
    assert recorder.answers.top_confidence == pytest.approx([1 / 10])


def test_impossible_tokens_add_no_entropy() -> None:
    recorder = ScoreRecorder(gold=[1])
    recorder.record(seen(0, [0], torch.tensor([[0.0, float("-inf")]])))
    assert recorder.answers.entropy == pytest.approx([0.0])
    assert recorder.answers.gold_log_probability == [-np.inf]


def test_only_the_first_step_counts_and_rows_keep_their_place() -> None:
    recorder = ScoreRecorder(gold=[0, 1, 2])
    recorder.record(seen(0, [2, 0], torch.tensor([[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]])))
    recorder.record(seen(1, [2], torch.tensor([[9.0, 0.0, 0.0]])))
    assert recorder.answers.token[[0, 2]].tolist() == [0, 2]
    assert recorder.answers.first_correct[[0, 2]].tolist() == [True, True]
    assert np.isnan(recorder.answers.confidence[1])


def test_decoding_shows_it_every_prompt_once() -> None:
    model = tiny_model("llama")
    prompts = [(5, 9, 30), (8,), (17, 40)]
    recorder = ScoreRecorder(gold=[4, 5, 6], labels=[1, 2])
    hooked = HookedModel(model)
    responses = generate(hooked, prompts, GenerationConfig(3, None, token_budget=3), recorder.record)
    assert recorder.answers.token.tolist() == [response[0] for response in responses]
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([prompt])).logits[0, -1].double().softmax(dim=-1)
        assert expected.shape == (VOCABULARY,)
        assert recorder.answers.confidence[row] == pytest.approx(float(expected.max()), rel=1e-4)
        assert recorder.answers.gold_log_probability[row] == pytest.approx(
            float(expected[recorder.answers.gold[row]].log()), rel=1e-4
        )
        assert recorder.answers.label_log_probabilities[row] == pytest.approx(expected[[1, 2]].log().numpy(), rel=1e-4)


def test_rank_and_the_most_probable_tokens_against_a_plain_sort_with_ties() -> None:
    """Of equal ones the lower id comes first, as in argmax: otherwise top-1 accuracy would not be that of the token."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 9, (40, 30), generator=generator).float()
    logits[:, :12] -= 20  # so that no tie reaches beyond the ten
    logits[:, 24:] -= 20
    gold = torch.randint(0, 30, (40,), generator=generator).tolist()
    recorder = ScoreRecorder(gold=gold)
    recorder.record(seen(0, list(range(40)), logits))
    ordered = [sorted(range(30), key=lambda token, row=row: (-row[token], token)) for row in logits.tolist()]
    assert recorder.answers.gold_rank.tolist() == [
        order.index(token) for order, token in zip(ordered, gold, strict=True)
    ]
    probabilities = logits.double().softmax(dim=-1).numpy()
    for row, order in enumerate(ordered):
        assert recorder.answers.token[row] == order[0] == recorder.answers.top_tokens[row, 0]
        assert recorder.answers.top_probabilities[row] == pytest.approx(probabilities[row, order[:10]], rel=1e-5)
    np.testing.assert_array_equal(recorder.answers.first_correct, recorder.answers.gold_rank == 0)


def test_all_tokens_by_hand() -> None:
    """Two rows; the second ends after its first token, and what the first says later is none of its business."""
    half, sure = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    recorder = ScoreRecorder([0, 0], every=True)
    recorder.record(seen(0, [0, 1], torch.cat([half, sure])))
    recorder.record(seen(1, [0], sure))
    entropy = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
    num_tokens, log_probability, total_entropy = recorder.answers.token_sums
    assert num_tokens.tolist() == [2, 1]
    assert log_probability == pytest.approx([math.log(0.5 * 0.75), math.log(0.75)])
    assert total_entropy == pytest.approx([math.log(2) + entropy, entropy])
    assert recorder.answers.confidence == pytest.approx([0.5, 0.75])


def test_a_batch_that_is_begun_again_counts_once() -> None:
    step = torch.tensor([[0.5, 0.5]]).log()
    recorder = ScoreRecorder([0], every=True)
    for again in range(3):
        recorder.record(seen(0, [0], step))
        recorder.record(seen(1, [0], step))
        assert (recorder.answers.token_sums[0].tolist(), again) == ([2], again)
    assert recorder.answers.token_sums[1:, 0] == pytest.approx([math.log(0.25), 2 * math.log(2)])


@pytest.mark.parametrize("token_budget", [1, 2048])
def test_all_tokens_are_those_of_the_response_and_no_others(token_budget: int) -> None:
    """Trap 17: rows of one batch end at different steps. Against one plain forward of prompt and response each."""
    model = tiny_model("llama")
    generator = torch.Generator().manual_seed(1)
    prompts = [tuple(torch.randint(3, 320, (4 + i % 3,), generator=generator).tolist()) for i in range(12)]
    recorder = ScoreRecorder([0] * 12, every=True)
    stopper = Stopper(tiny_tokenizer(), "separator", [EOS, *range(3, 120)])  # ids that end a response often
    hooked = HookedModel(model)
    responses = generate(hooked, prompts, GenerationConfig(6, stopper, token_budget), recorder.record)
    assert len({len(response) for response in responses}) > 2
    num_tokens, log_probability, entropy = recorder.answers.token_sums
    assert num_tokens.tolist() == [len(response) for response in responses]
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        logits, _ = full_forward(model, (*prompt, *response))
        steps = logits[len(prompt) - 1 : -1].double().log_softmax(dim=-1)
        taken = steps[range(len(response)), response]
        assert log_probability[row] == pytest.approx(float(taken.sum()), rel=1e-4)
        expected = -(steps.exp() * steps).sum()
        assert entropy[row] == pytest.approx(float(expected), rel=1e-4)


def test_one_softmax_over_each_batch_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    log_softmax = torch.Tensor.log_softmax

    def counting(logits: torch.Tensor, dim: int) -> torch.Tensor:
        counted.append(len(logits))
        return log_softmax(logits, dim=dim)

    monkeypatch.setattr(torch.Tensor, "log_softmax", counting)
    for recorder, expected in ((ScoreRecorder(gold=[1, 2]), [2]), (ScoreRecorder([1, 2], every=True), [2] * 4)):
        counted.clear()
        hooked = HookedModel(tiny_model("llama"))
        generate(hooked, [(5, 9), (8,)], GenerationConfig(4, None), recorder.record)
        assert counted == expected
