"""What the first step's distribution says, against numbers worked out in float64 one row at a time."""

import math

import numpy as np
import pytest
import torch
from tiny import VOCABULARY, tiny_model

from ia2.lm.decoding import Decoding, Seen, decode
from ia2.lm.forward import reading
from ia2.lm.scoring import FirstTokenScores


def seen(step: int, rows: list[int], logits: torch.Tensor) -> Seen:
    return Seen(step, rows, torch.zeros(len(rows), 1), logits, None)


def test_worked_by_hand() -> None:
    """Probabilities 1/2, 1/4, 1/8, 1/8 over four tokens; the gold one is the second, the labels the second and last."""
    probabilities = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
    scores = FirstTokenScores(gold=[1], labels=[1, 3])
    scores.see(seen(0, [0], probabilities.log() + 3.0))
    assert scores.token.tolist() == [0]
    assert scores.correct.tolist() == [False]
    assert scores.confidence == pytest.approx([0.5])
    assert scores.gold_log_probability == pytest.approx([math.log(0.25)])
    assert scores.sum_of_squares == pytest.approx([0.25 + 0.0625 + 2 * 0.015625])
    assert scores.entropy == pytest.approx([0.5 * math.log(2) + 0.25 * math.log(4) + 0.25 * math.log(8)])
    assert scores.top_confidence == pytest.approx([0.5])  # fewer than ten tokens: nothing to renormalise
    assert scores.label_log_probabilities[0] == pytest.approx([math.log(0.25), math.log(0.125)])


def test_confidence_is_under_the_full_softmax_and_the_published_one_over_ten() -> None:
    """Twenty equal tokens: 1/20 of all, 1/10 of the ten best."""
    scores = FirstTokenScores(gold=[0])
    scores.see(seen(0, [0], torch.zeros(1, 20)))
    assert scores.confidence == pytest.approx([1 / 20])
    assert scores.top_confidence == pytest.approx([1 / 10])


def test_impossible_tokens_add_no_entropy() -> None:
    scores = FirstTokenScores(gold=[1])
    scores.see(seen(0, [0], torch.tensor([[0.0, float("-inf")]])))
    assert scores.entropy == pytest.approx([0.0])
    assert scores.gold_log_probability == [-np.inf]


def test_only_the_first_step_counts_and_rows_keep_their_place() -> None:
    scores = FirstTokenScores(gold=[0, 1, 2])
    scores.see(seen(0, [2, 0], torch.tensor([[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]])))
    scores.see(seen(1, [2], torch.tensor([[9.0, 0.0, 0.0]])))
    assert scores.token[[0, 2]].tolist() == [0, 2]
    assert scores.correct[[0, 2]].tolist() == [True, True]
    assert np.isnan(scores.confidence[1])


def test_decoding_shows_it_every_prompt_once() -> None:
    model = tiny_model("llama")
    prompts = [(5, 9, 30), (8,), (17, 40)]
    scores = FirstTokenScores(gold=[4, 5, 6], labels=[1, 2])
    with reading(model) as reader:
        responses = decode(reader, prompts, Decoding(3, None, token_budget=3), scores)
    assert scores.token.tolist() == [response[0] for response in responses]
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([prompt])).logits[0, -1].double().softmax(dim=-1)
        assert expected.shape == (VOCABULARY,)
        assert scores.confidence[row] == pytest.approx(float(expected.max()), rel=1e-4)
        assert scores.gold_log_probability[row] == pytest.approx(float(expected[scores.gold[row]].log()), rel=1e-4)
        assert scores.label_log_probabilities[row] == pytest.approx(expected[[1, 2]].log().numpy(), rel=1e-4)
