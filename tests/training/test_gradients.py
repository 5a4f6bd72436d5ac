"""Gradients and Adam steps against plain transformers in float64: no code of ours but the functions under test.

The oracle adds LoRA to each projection by a hook, records the attention blocks by a hook, reads one example at a time
without padding, and takes Adam's steps by its published formula.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random

import pytest
import torch
from losses_of import weighted
from made_up_ids import made_up_ids
from tiny import tiny_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from ia2.config import TrainConfig
from ia2.methods import Loss, Phase
from ia2.models.adapters import peft_config
from ia2.models.hooked_model import HookedModel
from ia2.models.stacked_lora import StackedLora
from ia2.training.dataset import DistillationDataset, from_targets, gather
from ia2.training.targets import Targets, add_kinds
from ia2.training.trainer import TrainingRun, forward_backward, train_in_lockstep

ALPHA, RANK, LR = 8, 4, 1e-3
QUERIES = made_up_ids("queries", 4, 9, 6, 3, 5)
PROMPTED = [demos + query for demos, query in zip(made_up_ids("demos", *[15] * 5), QUERIES, strict=True)]
RESPONSES = tuple(made_up_ids("responses", 2, 1, 4, 3, 1))
CONFIG = TrainConfig(
    training_method="act",
    lora_r=RANK,
    lora_alpha=ALPHA,
    lora_type="qko",
    lr=LR,
    batch_size=2,
    keep="last",
    run_idx=7,
)

Weights = dict[str, Tensor]


class Oracle:
    """The student in float64: a plain model whose projections `name` add (alpha / r) B A x."""

    def __init__(self, weights: Weights) -> None:
        self.model = tiny_model("llama").double()
        self.weights = {_plain(name): tensor.double().requires_grad_() for name, tensor in weights.items()}

    def losses(self, index: int, target: Tensor) -> dict[str, Tensor]:
        """act against `target` [G, L, D] and tok of one example."""
        prompt, response = QUERIES[index], RESPONSES[index]
        with self._adapted(), recorded(self.model) as seen:
            logits = self.model(torch.tensor([prompt + response])).logits[0]
        act, tok = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for step, token in enumerate(response):
            at = len(prompt) - 1 + step
            for layer, output in enumerate(seen):
                act = act + (output[0, at] - target[step, layer].double()).pow(2).mean() / len(response)
            tok = tok - logits[at].log_softmax(-1)[token] / len(response)
        return {"act": act, "tok": tok}

    @contextmanager
    def _adapted(self) -> Iterator[None]:
        hooks = [
            module.register_forward_hook(self._addition(name))
            for name, module in self.model.named_modules()
            if f"{name}.A" in self.weights
        ]
        assert len(hooks) == len(self.weights) // 2
        yield
        for hook in hooks:
            hook.remove()

    def _addition(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        a, b = self.weights[f"{name}.A"], self.weights[f"{name}.B"]
        return lambda _module, inputs, output: output + (inputs[0] @ a.T @ b.T) * (ALPHA / RANK)


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".lora_", ".").removesuffix(".weight")


@contextmanager
def recorded(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    hooks = [
        layer.self_attn.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
        for layer in model.model.layers
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def targets_of(prompts: list[tuple[int, ...]]) -> list[Tensor]:
    """What the plain teacher's blocks put out in float64 at the answer positions, for each example [G, L, D]."""
    model, targets = tiny_model("llama").double(), []
    for prompt, response in zip(prompts, RESPONSES, strict=True):
        with recorded(model) as seen, torch.no_grad():
            model(torch.tensor([prompt + response]))
        at = range(len(prompt) - 1, len(prompt) + len(response) - 1)
        targets.append(torch.stack([torch.stack([layer[0, position] for layer in seen]) for position in at]))
    return targets


def lessons() -> DistillationDataset:
    teacher = HookedModel(tiny_model("llama"))
    return from_targets(QUERIES, add_kinds(teacher, PROMPTED, Targets(RESPONSES), {"activations"}))


def shaken_student() -> StackedLora:
    """B starts at zero, where A has no gradient: it is moved, the same way every time."""
    model, generator = tiny_model("llama"), torch.Generator().manual_seed(1)
    student = StackedLora(model, [peft_config(model, CONFIG)], [0])  # type: ignore[list-item]
    shaken = {
        name: torch.randn(weight.shape, generator=generator) * 0.1 if "lora_B" in name else weight
        for name, weight in student.state(0).items()
    }
    student.load(0, shaken)
    return student


def gradients_of(
    student: StackedLora, dataset: DistillationDataset, weights: Mapping[Loss, float], config: TrainConfig = CONFIG
) -> tuple[float, dict[str, Tensor]]:
    """The weighted mean loss of the five examples, and its gradient by the oracle's names."""
    batch = gather({0: dataset}, {0: range(5)}, weights, {0: {loss: weight / 5 for loss, weight in weights.items()}})
    losses = forward_backward(HookedModel(student.model), student, config, batch, weights)
    found = student.weights[0].grad
    assert found is not None
    names = map(_plain, student.state(0))
    return float(weighted(losses, weights).mean()), dict(zip(names, student.split(found), strict=True))


def trained(
    student: StackedLora,
    dataset: DistillationDataset,
    weights: Mapping[Loss, float],
    num_epochs: int,
    config: TrainConfig = CONFIG,
) -> tuple[int, Weights]:
    """The number of steps, and the weights after them by the oracle's names."""
    config = config.model_copy(update={"num_train_epochs": num_epochs})
    phase = Phase("act", lambda _: weights)
    run = TrainingRun(config, phase, dataset, dataset.part(5, 5), student.parameters[0])
    (ended,) = train_in_lockstep([run], student)
    return ended.finish()["num_steps"], {_plain(name): weight for name, weight in student.state(0).items()}


def distance(ours: Tensor, oracle: Tensor) -> float:
    return ((ours.double() - oracle).norm() / oracle.norm()).item()


@pytest.mark.parametrize("weights", [{"act": 1.0}, {"tok": 1.0}, {"act": 0.75, "tok": 0.25}], ids=str)
def test_gradients_are_those_of_float64(weights: dict[Loss, float]) -> None:
    student = shaken_student()
    oracle = Oracle(student.state(0))
    loss, gradients = gradients_of(student, lessons(), weights)
    expected = sum(
        weight * oracle.losses(index, target)[name] / 5
        for index, target in enumerate(targets_of(PROMPTED))
        for name, weight in weights.items()
    )
    assert isinstance(expected, Tensor)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert len(gradients) == 2 * 3 * 2  # A and B of three projections in two layers
    for name, gradient in gradients.items():
        oracle_gradient = oracle.weights[name].grad
        assert oracle_gradient is not None
        assert oracle_gradient.norm() > 1e-4, name
        assert distance(gradient, oracle_gradient) < 1e-5, name


@pytest.mark.parametrize("loss", ["act", "tok"])
@pytest.mark.parametrize("num_epochs", [1, 2])
def test_adam_steps_are_those_of_float64(loss: Loss, num_epochs: int) -> None:
    """Three steps of batches of 2, 2 and 1; in a second epoch nothing of the short batch's gradient is left."""
    student = shaken_student()
    start = student.state(0)
    num_steps, ours = trained(student, lessons(), {loss: 1.0}, num_epochs)
    assert num_steps == 3 * num_epochs
    expected = adam(Oracle(start), loss, batches(num_epochs))
    for name, weight in ours.items():
        moved = expected[name] - start_of(name, start)
        assert distance(weight.double() - start_of(name, start), moved) < 1e-4, name
        assert distance(weight, expected[name]) < 1e-5, name


def start_of(name: str, start: Weights) -> Tensor:
    return {_plain(key): tensor.double() for key, tensor in start.items()}[name]


def batches(num_epochs: int) -> list[list[int]]:
    """The documented order: a list shuffled anew for each epoch by a generator seeded with the run and the phase."""
    generator, order, chosen = Random("epochs/7/act"), list(range(5)), []
    for _ in range(num_epochs):
        generator.shuffle(order)
        chosen += [order[0:2], order[2:4], order[4:5]]
    return chosen


def adam(oracle: Oracle, loss: str, steps: list[list[int]]) -> Weights:
    """Kingma and Ba (2015), algorithm 1, with their constants."""
    first = {name: torch.zeros_like(weight) for name, weight in oracle.weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in oracle.weights.items()}
    targets = targets_of(PROMPTED)
    for step, batch in enumerate(steps, 1):
        total = sum(oracle.losses(index, targets[index])[loss] for index in batch) / len(batch)
        assert isinstance(total, Tensor)
        gradients = torch.autograd.grad(total, list(oracle.weights.values()))
        with torch.no_grad():
            for (name, weight), gradient in zip(oracle.weights.items(), gradients, strict=True):
                first[name] = 0.9 * first[name] + 0.1 * gradient
                second[name] = 0.999 * second[name] + 0.001 * gradient**2
                corrected = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                weight.sub_(LR * corrected[0] / (corrected[1].sqrt() + 1e-8))
    return {name: weight.detach() for name, weight in oracle.weights.items()}
