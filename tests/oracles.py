"""What a model does, found out the slow and obvious way: one prompt at a time, unpadded and uncached."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from ia2.models.packing import StepOutput

Model = PreTrainedModel | PeftModel


@dataclass(frozen=True)
class Plain:
    """G tokens, the logits [G, V] they were chosen from, and the activations [L, G, D] where those were made."""

    tokens: tuple[int, ...]
    logits: Tensor
    activations: Tensor

    def until(self, ends: set[int]) -> "Plain":
        """The same, stopped after the first of the tokens `ends`."""
        size = next((i + 1 for i, token in enumerate(self.tokens) if token in ends), len(self.tokens))
        return self.first(size)

    def first(self, size: int) -> "Plain":
        return Plain(self.tokens[:size], self.logits[:size], self.activations[:, :size])


def attention_modules(model: Model) -> list[nn.Module]:
    """Found by their class names, not through the list of architectures that is under test."""
    return [module for module in model.modules() if type(module).__name__.endswith("Attention")]


@torch.no_grad()
def full_forward(model: Model, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Logits [S, V] and activations [L, S, D] of one sequence, every position of it (virtual tokens included)."""
    outputs: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[0][0]))
        for module in attention_modules(model)
    ]
    logits = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    return logits.float(), torch.stack(outputs)


def plain_greedy(model: Model, prompt: Sequence[int], num_tokens: int) -> Plain:
    """Greedy decoding by a full forward of the growing prompt for every token."""
    ids, logits, activations = list(prompt), [], []
    for _ in range(num_tokens):
        every_logit, every_activation = full_forward(model, ids)
        logits.append(every_logit[-1])
        activations.append(every_activation[:, -1])
        ids.append(int(logits[-1].argmax()))
    return Plain(tuple(ids[len(prompt) :]), torch.stack(logits), torch.stack(activations, dim=1))


@dataclass
class Witness:
    """An observer of decoding that keeps everything, by prompt."""

    activations: bool = True
    logits_of: dict[int, list[Tensor]] = field(default_factory=dict)
    activations_of: dict[int, list[Tensor]] = field(default_factory=dict)
    steps_of: dict[int, list[int]] = field(default_factory=dict)

    def see(self, seen: StepOutput) -> None:
        assert (seen.activations is not None) == self.activations
        for index, row in enumerate(seen.rows):
            if seen.step == 0:  # a batch may be begun again
                for record in (self.steps_of, self.logits_of, self.activations_of):
                    record.pop(row, None)
            self.steps_of.setdefault(row, []).append(seen.step)
            self.logits_of.setdefault(row, []).append(seen.logits[index].cpu())
            if seen.activations is not None:
                self.activations_of.setdefault(row, []).append(seen.activations[:, index].cpu())

    def plain(self, row: int, tokens: Sequence[int]) -> Plain:
        assert self.steps_of[row] == list(range(len(tokens)))
        return Plain(tuple(tokens), torch.stack(self.logits_of[row]), torch.stack(self.activations_of[row], dim=1))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the largest value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert relative_error(found, expected) <= tolerance


def assert_same(found: Plain, expected: Plain) -> None:
    assert found.tokens == expected.tokens
    assert_close(found.logits, expected.logits)
    assert_close(found.activations, expected.activations)
