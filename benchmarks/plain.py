"""The plain procedure: what the published scripts do, written independently of ia2 and as simply as possible.

One example at a time, a full forward of the whole growing prompt for each generated token, no key-value cache, logits
of every position, batches by gradient accumulation, and the dev set one by one. It shares no code with `src/ia2`, so
that what it computes checks what ia2 computes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel

Ids = Sequence[int]
Model = PreTrainedModel | PeftModel


def load(folder: str, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A base model, frozen."""
    given = {"trust_remote_code": False, "use_safetensors": True}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **given)
    return model.to(device).eval().requires_grad_(False)


@contextmanager
def attention_outputs(model: Model) -> Iterator[list[Tensor]]:
    """What the self-attention blocks put out [S, D], layer by layer, while the model reads one example."""
    outputs: list[Tensor] = []
    blocks = [module for name, module in model.named_modules() if name.endswith(".self_attn")]
    hooks = [block.register_forward_hook(lambda _module, _inputs, out: outputs.append(out[0][0])) for block in blocks]
    yield outputs
    for hook in hooks:
        hook.remove()


def read(model: Model, ids: Ids) -> Tensor:
    """The logits [S, V] of every position of one example."""
    return model(torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0]


# Targets


@dataclass(frozen=True)
class Step:
    """What one more token took: a forward of all before it. Activations [L, D] and logits [V] at its last position."""

    token: int
    activations: Tensor
    logits: Tensor


@torch.no_grad()
def step(model: Model, ids: Ids) -> Step:
    with attention_outputs(model) as outputs:
        logits = read(model, ids)[-1].float().clone()  # what is kept is the row, not all that it was cut from
    return Step(int(logits.argmax()), torch.stack([output[-1] for output in outputs]).cpu(), logits)


def decode(model: Model, prompt: Ids, num_tokens: int) -> list[Step]:
    """The greedy response, token by token."""
    steps: list[Step] = []
    for _ in range(num_tokens):
        steps.append(step(model, [*prompt, *(known.token for known in steps)]))
    return steps


def at_answer(model: Model, prompt: Ids, response: Ids) -> tuple[Tensor, Tensor]:
    """Attention outputs [L, G, D] and logits [G, V] at the positions that predict a response that is known."""
    with attention_outputs(model) as outputs:
        logits = read(model, [*prompt, *response[:-1]])
    return torch.stack([output[len(prompt) - 1 :] for output in outputs]), logits[len(prompt) - 1 :].float()


# Evaluation


@dataclass(frozen=True)
class Score:
    """What a model says first to one query; natural logarithms."""

    token: int
    confidence: float
    gold_log_probability: float
    logits: Tensor


@torch.no_grad()
def score(model: Model, ids: Ids, gold: int) -> Score:
    logits = read(model, ids)[-1].float().clone()
    log_probabilities = logits.log_softmax(-1)
    token = int(logits.argmax())
    return Score(token, float(log_probabilities[token].exp()), float(log_probabilities[gold]), logits)


# Training


@dataclass(frozen=True)
class Lesson:
    """What the student is asked, what it should say, and the teacher's activations [L, G, D] while saying that."""

    query: Ids
    response: Ids
    activations: Tensor


@dataclass(frozen=True)
class Plan:
    """How a run is trained; `batches` are the examples of each step."""

    loss: Literal["act", "tok"]
    lr: float
    batches: Sequence[Sequence[int]]
    dev_eval_steps: int = 2


@dataclass(frozen=True)
class Losses:
    """The training loss of each step, and the dev losses: before the first step and after every few."""

    train: list[float]
    dev: list[float]


@contextmanager
def lora(model: PreTrainedModel, seed: int) -> Iterator[PeftModel]:
    """A fresh adapter on the query, key and value projections, taken off again afterwards."""
    torch.manual_seed(seed)
    config = LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj"], task_type="CAUSAL_LM")
    student = get_peft_model(model, config).eval()
    yield student
    student.unload()
    model.requires_grad_(False)


def loss_of(student: Model, lesson: Lesson, loss: Literal["act", "tok"]) -> Tensor:
    activations, logits = at_answer(student, lesson.query, lesson.response)
    if loss == "tok":
        return functional.cross_entropy(logits, torch.tensor(lesson.response, device=logits.device))
    target = lesson.activations.to(activations.device).float()
    return (activations.float() - target).square().mean(dim=(1, 2)).sum()


def train(
    student: PeftModel, lessons: Sequence[Lesson], dev: Sequence[Lesson], plan: Plan, note: Callable[[], object]
) -> Losses:
    """Adam, one example at a time; `note` is told of the first dev evaluation, and of each step when it is judged."""
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=plan.lr)
    losses = Losses([], [_mean_loss(student, dev, plan)])
    note()
    for number, chosen in enumerate(plan.batches, start=1):
        total = 0.0
        for index in chosen:
            loss = loss_of(student, lessons[index], plan.loss) / len(chosen)
            loss.backward()
            total += loss.item()
        optimiser.step()
        optimiser.zero_grad()
        losses.train.append(total)
        if number % plan.dev_eval_steps == 0:
            losses.dev.append(_mean_loss(student, dev, plan))
        note()
    return losses


@torch.no_grad()
def _mean_loss(student: PeftModel, dev: Sequence[Lesson], plan: Plan) -> float:
    return sum(loss_of(student, lesson, plan.loss).item() for lesson in dev) / len(dev)
