"""The three losses. Each is also a metric: dev loss, reports and analyses call the same functions.

Legend: B examples, M answer positions of all examples laid end to end, L layers, D width, V vocabulary. `rows` [M]
says which example a position belongs to. All return one value per example [B], in float32 whatever came in: in bf16
early stopping would compare numbers of three digits. The loss of a batch is the mean over its examples, so that a
batch gives the same value as its examples one by one, and a long response weighs no more than a short one.
"""

import torch
from torch import Tensor
from torch.nn import functional


def act_loss(student: Tensor, target: Tensor, rows: Tensor, num_examples: int) -> Tensor:
    """Sum over layers of the mean square error over tokens and width (method.md section 1).

    student, target [L, M, D]: attention outputs at the answer positions.

    >>> act_loss(torch.ones(2, 3, 4), torch.zeros(2, 3, 4), torch.tensor([0, 0, 1]), 2)
    tensor([2., 2.])
    """
    error = (student.float() - target.float()).square().mean(dim=-1).sum(dim=0)
    return mean_over_tokens(error, rows, num_examples)


def act_loss_by_layer(student: Tensor, target: Tensor, rows: Tensor, num_examples: int) -> Tensor:
    """`act_loss` with each layer's error divided by the mean square of its target over the example's tokens and width.

    Layers whose activations are large then weigh no more than others (`act_norm = layer`; not the published loss).
    """
    errors = (student.float() - target.float()).square().mean(dim=-1)
    sizes = target.float().square().mean(dim=-1)
    pairs = zip(errors, sizes, strict=True)
    ratios = [mean_over_tokens(e, rows, num_examples) / mean_over_tokens(s, rows, num_examples) for e, s in pairs]
    return torch.stack(ratios).sum(dim=0)


def tok_loss(logits: Tensor, tokens: Tensor, rows: Tensor, num_examples: int) -> Tensor:
    """Mean over tokens of the cross-entropy in nats; logits [M, V], tokens [M]."""
    return mean_over_tokens(functional.cross_entropy(logits.float(), tokens, reduction="none"), rows, num_examples)


def tokl_loss(logits: Tensor, teacher: Tensor, rows: Tensor, num_examples: int) -> Tensor:
    """Mean over tokens of KL(teacher || student) in nats; logits [M, V], teacher [M, V] log-probabilities."""
    student = functional.log_softmax(logits.float(), dim=-1)
    divergence = functional.kl_div(student, teacher.float(), reduction="none", log_target=True).sum(dim=-1)
    return mean_over_tokens(divergence, rows, num_examples)


def mean_over_tokens(values: Tensor, rows: Tensor, num_examples: int) -> Tensor:
    """The mean of values [M] over each example's own positions: [B]."""
    nothing = torch.zeros(num_examples, device=values.device)
    counts = nothing.index_add(0, rows, torch.ones_like(values))  # bincount would wait for the device
    return nothing.index_add(0, rows, values) / counts


def spread_remainder(top_log_probabilities: Tensor, top_tokens: Tensor, num_tokens: int) -> Tensor:
    """Log-probabilities [M, V] of a distribution known by its top k [M, K] alone.

    What mass remains is spread evenly over the other V - K tokens, as published.
    """
    top = top_log_probabilities.float()
    others = num_tokens - top.shape[-1]
    remainder = (1 - top.exp().sum(dim=-1, keepdim=True)).clamp(min=1e-12)
    even = (remainder / max(others, 1)).log().expand(-1, num_tokens)
    return even.scatter(-1, top_tokens, top)
