"""Scores of each query from the distributions that decoding goes through.

Confidence and calibration are about the first token, for single-token and longer answers alike: it is where the answer
is decided, and a probability of a whole text would shrink with its length. The later tokens are scored apart, on
request: one softmax over each batch and step, and one transfer of its numbers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ia2.evaluation.calibration import FirstTokenScores, Floats, ResponseScores
from ia2.models.decoding_state import StepOutput

TOP = 10
"""Number of most probable first tokens that are kept; the published ECE is about ten."""


class FirstTokenScorer:
    """Observer of decoding that fills in, for each of n queries, the `scores` of its first step."""

    activations = False

    def __init__(self, gold: Sequence[int], labels: Sequence[int] = ()) -> None:
        size = len(gold)
        self._labels = torch.tensor(labels, dtype=torch.long)
        self.scores = FirstTokenScores(
            token=np.zeros(size, dtype=np.int64),
            gold=np.array(gold),
            gold_rank=np.zeros(size, dtype=np.int64),
            confidence=np.full(size, np.nan),
            gold_log_probability=np.full(size, np.nan),
            sum_of_squares=np.full(size, np.nan),
            entropy=np.full(size, np.nan),
            label_log_probabilities=np.full((size, len(labels)), np.nan),
            top_tokens=np.full((size, TOP), -1),
            top_probabilities=np.zeros((size, TOP)),
        )

    def see(self, seen: StepOutput) -> None:
        if not seen.step:
            self.keep(seen, seen.logits.log_softmax(dim=-1))

    def keep(self, seen: StepOutput, log_probabilities: Tensor) -> None:
        """Fill in the rows of a first step, from its log-probabilities [R, V]."""
        scores, chosen, logits = self.scores, np.array(seen.rows), seen.logits
        gold = torch.from_numpy(scores.gold[chosen]).to(logits.device)[:, None]
        top, predicted = _most_probable(logits), logits.argmax(dim=-1, keepdim=True)
        whole = torch.cat([predicted, _rank(logits, gold), top], dim=1).cpu().numpy()
        scores.token[chosen], scores.gold_rank[chosen] = whole[:, 0], whole[:, 1]
        scores.top_tokens[chosen, : top.shape[1]] = whole[:, 2:]
        wanted = torch.cat([gold, predicted, self._labels.to(logits.device).expand(len(chosen), -1), top], dim=1)
        num_labels = len(self._labels)
        logs = _array(log_probabilities.gather(1, wanted))
        scores.gold_log_probability[chosen], scores.confidence[chosen] = logs[:, 0], np.exp(logs[:, 1])
        scores.label_log_probabilities[chosen] = logs[:, 2 : 2 + num_labels]
        scores.top_probabilities[chosen, : top.shape[1]] = np.exp(logs[:, 2 + num_labels :])
        probabilities = log_probabilities.exp()
        squares, entropy = probabilities.square().sum(dim=-1), torch.special.entr(probabilities).sum(dim=-1)
        scores.sum_of_squares[chosen], scores.entropy[chosen] = _array(torch.stack([squares, entropy]))


class ResponseScorer:
    """Observer of decoding that adds up its steps over all G tokens of each of n responses, and scores the first apart.

    A row is seen at the steps that predict its tokens, of which the one that ends the response is the last, and never
    after: so nothing of what follows enters.
    """

    activations = False

    def __init__(self, first: FirstTokenScorer) -> None:
        self.first = first
        size = len(first.scores.gold)
        self._num_tokens = np.zeros(size, dtype=np.int64)
        self._log_probability = np.zeros(size)
        self._entropy = np.zeros(size)

    @property
    def scores(self) -> ResponseScores:
        return ResponseScores(self._num_tokens, self._log_probability, np.asarray(self._entropy / self._num_tokens))

    def see(self, seen: StepOutput) -> None:
        chosen, log_probabilities = np.array(seen.rows), seen.logits.log_softmax(dim=-1)
        if not seen.step:
            self.first.keep(seen, log_probabilities)
            for total in (self._num_tokens, self._log_probability, self._entropy):
                total[chosen] = 0  # a batch may be begun again
        entropy = torch.special.entr(log_probabilities.exp()).sum(dim=-1)
        taken, entropies = _array(torch.stack([log_probabilities.amax(dim=-1), entropy]))
        self._num_tokens[chosen] += 1
        self._log_probability[chosen] += taken
        self._entropy[chosen] += entropies


def _most_probable(logits: Tensor) -> Tensor:
    """The ids [R, TOP] of the greatest logits [R, V], greatest first, of equal ones the lower id first."""
    ids = logits.topk(min(TOP, logits.shape[-1]), dim=-1).indices.sort(dim=-1).values
    return ids.gather(1, logits.gather(1, ids).sort(dim=-1, descending=True, stable=True).indices)


def _rank(logits: Tensor, token: Tensor) -> Tensor:
    """How many of the logits [R, V] come before that of `token` [R, 1] in that order; [R, 1]."""
    own = logits.gather(1, token)
    earlier = torch.arange(logits.shape[-1], device=logits.device) < token
    return ((logits > own) | ((logits == own) & earlier)).sum(dim=-1, keepdim=True)


def _array(values: Tensor) -> Floats:
    return values.double().cpu().numpy()
