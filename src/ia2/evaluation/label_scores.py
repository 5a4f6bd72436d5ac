"""How probable each label of a closed set is as the answer to each query.

Where the labels of a task differ in their first token, that token decides, and decoding has seen its distribution
already. Where two begin alike (`Saturday` and `Sunday` may share `S`), what counts is the probability of the whole
label and of what ends a response after it: without the end, `10` could never be more probable than `1`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ia2.evaluation.scoring import FirstTokenScores, Floats
from ia2.models.decoding_state import DecodingState
from ia2.models.generation import check_context, run_batches
from ia2.models.hooked_model import HookedModel
from ia2.prompts.tokenization import Ids


@dataclass(frozen=True)
class LabelScores:
    """Natural log-probabilities of K labels for n queries, and what of a label they are of."""

    rule: Literal["first_token", "full_sequence"]
    log_probabilities: Floats  # [n, K]

    @property
    def log_shares(self) -> Floats:
        """The same of the labels alone: log p_k / sum_j p_j."""
        logs = self.log_probabilities
        return np.asarray(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))

    def confidence(self, given: Sequence[int]) -> list[float | None]:
        """The probability among all labels of the `given` one (its index) for each query; None for a negative index."""
        rows = zip(np.exp(self.log_shares), given, strict=True)
        return [None if label < 0 else float(shares[label]) for shares, label in rows]


def score_labels(
    hooked: HookedModel,
    prompts: Sequence[Ids],
    labels: Sequence[Ids],
    first: FirstTokenScores,
    token_budget: int | None,
) -> LabelScores:
    """By the first tokens of `labels` (with their ends), as `first` has seen them, where no two share one; else by all.

    One rule holds for all labels of a task: probabilities of one token and of several are not to be compared.
    """
    if len({label[0] for label in labels}) == len(labels):
        return LabelScores("first_token", first.label_log_probabilities)
    return LabelScores("full_sequence", sequence_log_probabilities(hooked, prompts, labels, token_budget))


@torch.no_grad()
def sequence_log_probabilities(
    hooked: HookedModel, prompts: Sequence[Ids], labels: Sequence[Ids], token_budget: int | None
) -> Floats:
    """log P(label | prompt), summed over the label's tokens, for every pair [n, K]; UserError where one is too long.

    A prompt is read once: each label is fed after it and forgotten again.
    """
    check_context(hooked, max(map(len, prompts)) + max(map(len, labels)))
    scores = np.full((len(prompts), len(labels)), np.nan)

    def score(state: DecodingState) -> tuple[list[int], Floats]:
        return state.rows, _scored(state, labels).cpu().numpy()

    for rows, found in run_batches(hooked, prompts, score, token_budget, num_new_tokens=max(map(len, labels)) - 1):
        scores[rows] = found
    return scores


def _scored(state: DecodingState, labels: Sequence[Ids]) -> Tensor:
    """The log-probabilities [R, K] of one batch."""
    start = state.prefill(activations=False).logits.log_softmax(dim=-1)
    columns = []
    for label in labels:
        total = start[:, label[0]].double()
        for token, following in pairwise(label):
            seen = state.next(torch.full((len(state.rows),), token))
            total = total + seen.logits.log_softmax(dim=-1)[:, following].double()
        state.undo(len(label) - 1)
        columns.append(total)
    return torch.stack(columns, dim=1)
