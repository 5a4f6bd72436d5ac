"""Gradients and Adam steps of tokl against plain transformers in float64, as test_gradients.py does for act and tok."""

import pytest
import torch
from test_gradients import (
    CONFIG,
    LR,
    PROMPTED,
    QUERIES,
    RESPONSES,
    Oracle,
    batches,
    distance,
    gradients_of,
    shaken_student,
    trained,
)
from tiny import tiny_model
from torch import Tensor

from ia2.config import TrainConfig
from ia2.models.hooked_model import HookedModel
from ia2.training.dataset import DistillationDataset, from_targets
from ia2.training.targets import Targets, add_kinds

TOP_K = ["all", 5]


def distributions(top_k: int | str) -> list[Tensor]:
    """The plain teacher's probabilities in float64, for each example [G, V]; beyond the top k all tokens are alike."""
    model, found = tiny_model("llama").double(), []
    for prompt, response in zip(PROMPTED, RESPONSES, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        probabilities = logits.exp() / logits.exp().sum(-1, keepdim=True)
        if isinstance(top_k, int):
            for row in probabilities:
                least = row.sort(descending=True).values[top_k - 1]
                rest = row < least
                row[rest] = row[rest].mean()
        found.append(probabilities)
    return found


def divergence(oracle: Oracle, index: int, teacher: Tensor) -> Tensor:
    """The mean over tokens of sum p log(p / q)."""
    prompt, response = QUERIES[index], RESPONSES[index]
    with oracle._adapted():
        logits = oracle.model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    student = logits - logits.exp().sum(-1, keepdim=True).log()
    return (teacher * (teacher.log() - student)).sum() / len(response)


def matched(top_k: int | str) -> TrainConfig:
    return CONFIG.model_copy(update={"tokl_top_k": top_k})


def lessons() -> DistillationDataset:
    teacher = HookedModel(tiny_model("llama"))
    targets = add_kinds(teacher, PROMPTED, Targets(RESPONSES), {"distributions"})
    return from_targets(QUERIES, targets)


@pytest.mark.parametrize("top_k", TOP_K)
def test_gradients_are_those_of_float64(top_k: int | str) -> None:
    student = shaken_student()
    oracle = Oracle(student.state(0))
    loss, gradients = gradients_of(student, lessons(), {"tokl": 1.0}, matched(top_k))
    teachers = distributions(top_k)
    expected = torch.stack([divergence(oracle, index, teachers[index]) for index in range(5)]).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients.items():
        wanted = oracle.weights[name].grad
        assert wanted is not None
        assert wanted.norm() > 1e-4, name
        assert distance(gradient, wanted) < 1e-5, name


@pytest.mark.parametrize("top_k", TOP_K)
def test_three_adam_steps_are_those_of_float64(top_k: int | str) -> None:
    student = shaken_student()
    oracle = Oracle(student.state(0))
    start = {name: weight.detach().clone() for name, weight in oracle.weights.items()}
    _, ours = trained(student, lessons(), {"tokl": 1.0}, num_epochs=1, config=matched(top_k))
    teachers = distributions(top_k)
    first, second = ({name: torch.zeros_like(weight) for name, weight in start.items()} for _ in range(2))
    for step, batch in enumerate(batches(1), 1):
        loss = torch.stack([divergence(oracle, index, teachers[index]) for index in batch]).mean()
        gradients = torch.autograd.grad(loss, list(oracle.weights.values()))
        with torch.no_grad():
            for (name, weight), gradient in zip(oracle.weights.items(), gradients, strict=True):
                first[name] = 0.9 * first[name] + 0.1 * gradient
                second[name] = 0.999 * second[name] + 0.001 * gradient**2
                corrected = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                weight.sub_(LR * corrected[0] / (corrected[1].sqrt() + 1e-8))
    for name, weight in ours.items():
        assert distance(weight - start[name], oracle.weights[name].detach() - start[name]) < 1e-4, name
        assert distance(weight, oracle.weights[name].detach()) < 1e-5, name
