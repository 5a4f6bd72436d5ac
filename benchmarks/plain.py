"""The plain procedure: what the published scripts do, written independently of ia2 and as simply as possible.

One example at a time, a full forward of the whole growing prompt for each generated token, no key-value cache, batches
by gradient accumulation, the dev set one by one, logits of every position, and the base model loaded and the targets
collected anew for every run. It shares no code with `src/ia2`, so that what it computes checks what ia2 computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

Model = PreTrainedModel | PeftModel


def load(folder: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A base model."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


def with_adapter(model: PreTrainedModel, adapter: Path) -> PeftModel:
    return PeftModel.from_pretrained(model, str(adapter)).eval()


@torch.no_grad()
def greedy(model: Model, ids: Sequence[int], num_tokens: int) -> list[int]:
    """The next `num_tokens` tokens, each from a forward of everything before it."""
    answer: list[int] = []
    for _ in range(num_tokens):
        logits = model(_tensor(model, [*ids, *answer]), use_cache=False).logits
        answer.append(int(logits[0, -1].argmax()))
    return answer


@dataclass(frozen=True)
class Target:
    """What the teacher did on one query: its response, and activations [L, G, D] and logits [G, V] at its positions."""

    query: list[int]
    response: list[int]
    activations: Tensor
    logits: Tensor


@torch.no_grad()
def collect(model: PreTrainedModel, prompt: Sequence[int], query: Sequence[int], num_tokens: int) -> Target:
    """The teacher's response to `prompt`, and what it computed at the answer positions, for the student's `query`."""
    response = greedy(model, prompt, num_tokens)
    activations, logits = at_answer(model, prompt, response)
    return Target(list(query), response, activations, logits)


def at_answer(model: Model, prompt: Sequence[int], response: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Attention outputs [L, G, D] and logits [G, V] at the positions that predict the response."""
    outputs: list[Tensor] = []
    blocks = [module for name, module in model.named_modules() if name.endswith(".self_attn")]
    hooks = [block.register_forward_hook(lambda _m, _i, out: outputs.append(out[0])) for block in blocks]
    logits = model(_tensor(model, [*prompt, *response[:-1]]), use_cache=False).logits
    for hook in hooks:
        hook.remove()
    return torch.cat(outputs)[:, len(prompt) - 1 :], logits[0, len(prompt) - 1 :]


def _tensor(model: Model, ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(ids)], device=model.device)


# Training


def loss_of(model: Model, target: Target, variant: str, weight: float) -> Tensor:
    """The loss of one example: act, tok (on the teacher's tokens), tokl, or tna with that weight."""
    activations, logits = at_answer(model, target.query, target.response)
    tokens = torch.tensor(target.response, device=logits.device)
    act = (activations.float() - target.activations.float()).square().mean(dim=(1, 2)).sum()
    tok = functional.cross_entropy(logits.float(), tokens)
    if variant == "tokl":
        log_p, log_q = target.logits.float().log_softmax(-1), logits.float().log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    return {"act": act, "tok": tok, "tna": (1 - weight) * act + weight * tok}[variant]


def lora(model: PreTrainedModel) -> PeftModel:
    config = LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj"])
    return get_peft_model(model, config)


@dataclass(frozen=True)
class Plan:
    """How a run is trained."""

    variant: str
    lr: float
    num_steps: int
    weight: float = 0.5
    batch_size: int = 4
    dev_eval_steps: int = 2


def train(student: PeftModel, targets: Sequence[Target], dev: Sequence[Target], plan: Plan) -> list[float]:
    """`num_steps` steps of Adam, one example at a time; returns the dev losses, measured one example at a time."""
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=plan.lr)
    order, losses = Random(0), []
    for step in range(1, plan.num_steps + 1):
        chosen = order.sample(range(len(targets)), min(plan.batch_size, len(targets)))
        for index in chosen:
            (loss_of(student, targets[index], plan.variant, plan.weight) / len(chosen)).backward()
        optimiser.step()
        optimiser.zero_grad()
        if step % plan.dev_eval_steps == 0:
            losses.append(_mean_loss(student, dev, plan))
    return losses


@torch.no_grad()
def _mean_loss(student: PeftModel, dev: Sequence[Target], plan: Plan) -> float:
    return sum(float(loss_of(student, target, plan.variant, plan.weight)) for target in dev) / max(1, len(dev))
