"""The examples of a phase with what is matched, and batches of them.

Batches are padded on the right whatever the tokenizer prefers: causal attention then needs no padding mask, and answer
positions follow from lengths alone. A response of G tokens after a prompt of P has the positions P - 1 ... P + G - 2.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import accumulate, repeat
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad as padded

from ia2.methods import Loss
from ia2.prompts.prompt import Ids, TokenizedExample
from ia2.training.targets import Targets


@dataclass(frozen=True)
class DistillationDataset:
    """n examples as the student sees them, with the teacher's activations and hidden states where they are matched."""

    examples: tuple[TokenizedExample, ...]
    activations: Tensor | None = None  # [M, L, D]
    hidden_states: Tensor | None = None  # [M, D]

    def __len__(self) -> int:
        return len(self.examples)

    def part(self, start: int, stop: int) -> "DistillationDataset":
        """The examples start ... stop - 1 and their targets."""
        positions = slice(self.starts[start], self.starts[stop])
        activations, hidden_states = (
            None if one is None else one[positions] for one in (self.activations, self.hidden_states)
        )
        return DistillationDataset(self.examples[start:stop], activations, hidden_states)

    @cached_property
    def starts(self) -> list[int]:
        """The first answer position, among all [M], of each example, and the end of the last one's."""
        return [0, *accumulate(len(example.response) for example in self.examples)]


def from_targets(prompts: Sequence[Ids], targets: Targets) -> DistillationDataset:
    """The dataset of these prompts and of a teacher's responses, or of any others."""
    examples = tuple(TokenizedExample(*pair) for pair in zip(prompts, targets.responses, strict=True))
    return DistillationDataset(examples, targets.activations, targets.hidden_states)


@dataclass(frozen=True)
class Batch:
    """B examples of at most S tokens, padded on the right, with their M answer positions end to end.

    An answer position is (`rows`, `columns`), predicts `tokens` and belongs to the example `segment_ids`: B for one
    that only fills a shape (`pad_to`). Rows are sorted by run; `counts` is the number of rows of each.
    """

    input_ids: Tensor  # [B, S]
    rows: Tensor  # [M]
    columns: Tensor  # [M]
    tokens: Tensor  # [M]
    segment_ids: Tensor  # [M]
    activations: Tensor | None = None  # [L, M, D], to be matched
    hidden_states: Tensor | None = None  # [M, D], to be matched
    coefficients: Tensor | None = None  # [losses, B]; the gradient is that of the sum of losses times these
    counts: Mapping[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, S and M."""
        return (*self.input_ids.shape, len(self.segment_ids))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that is computed with, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: one for name, one in found.items() if isinstance(one, Tensor)}

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, as tensors of its own where it was elsewhere."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return replace(self, **moved)

    def pad_to(self, num_tokens: int, num_positions: int) -> "Batch":
        """The same examples as S tokens a row and M positions, so that others have its shape; no loss changes.

        Activations are filled with ones, since `act_norm` divides by their size: nothing over zero, though left out of
        the loss, would leave no gradient that is a number.
        """
        more = (0, num_positions - len(self.segment_ids))
        activations, hidden_states = self.activations, self.hidden_states
        return replace(
            self,
            input_ids=padded(self.input_ids, (0, num_tokens - self.input_ids.shape[1])),
            rows=padded(self.rows, more),
            columns=padded(self.columns, more),
            tokens=padded(self.tokens, more),
            segment_ids=padded(self.segment_ids, more, value=len(self)),
            activations=None if activations is None else padded(activations, (0, 0, *more), value=1),
            hidden_states=None if hidden_states is None else padded(hidden_states, (0, 0, *more)),
        )


def collate(examples: Sequence[TokenizedExample], pad: int = 0) -> Batch:
    """The batch of `examples`; the last token of a response is never fed, since it predicts nothing."""
    width = max(map(len, examples)) - 1
    fed = [(example.prompt + example.response)[:-1] for example in examples]
    rows = torch.tensor([row for row, example in enumerate(examples) for _ in example.response])
    columns = [len(example.prompt) - 1 + step for example in examples for step in range(len(example.response))]
    tokens = [token for example in examples for token in example.response]
    return Batch(
        input_ids=torch.tensor([[*ids, *repeat(pad, width - len(ids))] for ids in fed]),
        rows=rows,
        columns=torch.tensor(columns),
        tokens=torch.tensor(tokens),
        segment_ids=rows,
    )


def gather(
    datasets: Mapping[int, DistillationDataset],
    indices: Mapping[int, Sequence[int]],
    losses: Collection[Loss],
    weights: Mapping[int, Mapping[Loss, float]] | None = None,
) -> Batch:
    """The batch of some examples of each run, one run after the other, with the targets that `losses` need.

    `weights` are those of each run's losses, where a gradient is wanted.
    """
    tensors = {}
    for loss, name in (("act", "activations"), ("tokl", "hidden_states")):
        if loss in losses:
            parts = []
            for run, own in indices.items():
                values, starts = getattr(datasets[run], name), datasets[run].starts
                assert values is not None, "a phase needs a kind that was not collected"
                parts.append(values[torch.cat([torch.arange(starts[index], starts[index + 1]) for index in own])])
            tensors[name] = torch.cat(parts)
    if "act" in losses:
        tensors["activations"] = tensors["activations"].transpose(0, 1)
    if weights is not None:
        rows = [weights[run] for run, own in indices.items() for _ in own]
        tensors["coefficients"] = torch.tensor([[row.get(loss, 0.0) for row in rows] for loss in losses])
    batch = collate([datasets[run].examples[index] for run, own in indices.items() for index in own])
    return replace(batch, **tensors, counts={run: len(own) for run, own in indices.items()})


def budget_batches(sequences: Mapping[int, Sequence[Sized]], token_budget: int) -> Iterator[dict[int, list[int]]]:
    """Indices of each run's sequences, longest first, in batches of at most `token_budget` padded tokens.

    Runs share a batch in equal numbers, of one sequence at least, which makes their adapters one batched product.
    """
    left = {run: sorted(range(len(own)), key=lambda i, own=own: -len(own[i])) for run, own in sequences.items()}  # type: ignore[misc]
    while left := {run: order for run, order in left.items() if order}:
        longest = max(len(sequences[run][order[0]]) for run, order in left.items())
        size = max(1, token_budget // (len(left) * max(1, longest)))
        yield {run: order[:size] for run, order in left.items()}
        left = {run: order[size:] for run, order in left.items()}
