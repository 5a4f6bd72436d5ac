"""What the distributions seen while decoding say about each query.

Confidence and calibration are about the first token, for single-token and longer answers alike: it is where the answer
is decided, and a probability of a whole text would shrink with its length. What the later tokens say is kept apart,
for those who ask for it: one softmax over each batch and step, and one transfer of its numbers.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ia2.models.decoding_state import StepOutput

Floats = npt.NDArray[np.float64]

TOP = 10
"""So many of the most probable first tokens are kept; the published ECE is about ten."""


class FirstTokenScores:
    """Sees decoding and keeps, for each of n queries, what its first step says; natural logarithms throughout.

    confidence: probability of the predicted token under the full softmax. gold_log_probability: of the gold answer's
    first token. gold_rank: how many tokens come before that one, 0 where it is the predicted one; of equally probable
    tokens the one of lower id comes first, as in argmax. sum_of_squares: of all probabilities, for the Brier score.
    label_log_probabilities: of each label's first token [n, K]. top_tokens, top_probabilities: the TOP most probable
    tokens and their probabilities, in that order [n, TOP]; -1 and 0 where the vocabulary is smaller.
    """

    def __init__(self, gold: Sequence[int], labels: Sequence[int] = ()) -> None:
        size = len(gold)
        self.gold = np.array(gold)
        self._labels = torch.tensor(labels, dtype=torch.long)
        self.token = np.zeros(size, dtype=np.int64)
        self.gold_rank = np.zeros(size, dtype=np.int64)
        self.confidence = np.full(size, np.nan)
        self.gold_log_probability = np.full(size, np.nan)
        self.sum_of_squares = np.full(size, np.nan)
        self.entropy = np.full(size, np.nan)
        self.label_log_probabilities = np.full((size, len(labels)), np.nan)
        self.top_tokens = np.full((size, TOP), -1)
        self.top_probabilities = np.zeros((size, TOP))

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the predicted token is the gold answer's first: what confidence is about."""
        return np.asarray(self.token == self.gold)

    @property
    def top_confidence(self) -> Floats:
        """The confidence renormalised over the TOP most probable tokens (published ECE)."""
        return np.asarray(self.confidence / self.top_probabilities.sum(axis=1))

    def see(self, seen: StepOutput) -> None:
        if not seen.step:
            self.keep(seen, seen.logits.log_softmax(dim=-1))

    def keep(self, seen: StepOutput, log_probabilities: Tensor) -> None:
        """What a first step says, its log-probabilities [R, V] being worked out already."""
        chosen, logits = np.array(seen.rows), seen.logits
        gold = torch.from_numpy(self.gold[chosen]).to(logits.device)[:, None]
        top, predicted = _most_probable(logits), logits.argmax(dim=-1, keepdim=True)
        whole = torch.cat([predicted, _rank(logits, gold), top], dim=1).cpu().numpy()
        self.token[chosen], self.gold_rank[chosen] = whole[:, 0], whole[:, 1]
        self.top_tokens[chosen, : top.shape[1]] = whole[:, 2:]
        wanted = torch.cat([gold, predicted, self._labels.to(logits.device).expand(len(chosen), -1), top], dim=1)
        num_labels = len(self._labels)
        logs = _array(log_probabilities.gather(1, wanted))
        self.gold_log_probability[chosen], self.confidence[chosen] = logs[:, 0], np.exp(logs[:, 1])
        self.label_log_probabilities[chosen] = logs[:, 2 : 2 + num_labels]
        self.top_probabilities[chosen, : top.shape[1]] = np.exp(logs[:, 2 + num_labels :])
        probabilities = log_probabilities.exp()
        squares, entropy = probabilities.square().sum(dim=-1), torch.special.entr(probabilities).sum(dim=-1)
        self.sum_of_squares[chosen], self.entropy[chosen] = _array(torch.stack([squares, entropy]))


class ResponseScores:
    """Sees decoding and keeps what its steps say about all G tokens of each of n responses, and the first apart.

    A row is seen at the steps that predict its tokens, of which the one that ends the response is the last, and never
    after: so nothing of what follows enters. log_probability: of the response, summed over its tokens.
    """

    def __init__(self, first: FirstTokenScores) -> None:
        self.first = first
        self.num_tokens = np.zeros(len(first.gold), dtype=np.int64)
        self.log_probability = np.zeros(len(first.gold))
        self._entropy = np.zeros(len(first.gold))

    @property
    def entropy(self) -> Floats:
        """Mean over the G tokens of the entropy of the distribution that each was taken from, in nats."""
        return np.asarray(self._entropy / self.num_tokens)

    def see(self, seen: StepOutput) -> None:
        chosen, log_probabilities = np.array(seen.rows), seen.logits.log_softmax(dim=-1)
        if not seen.step:
            self.first.keep(seen, log_probabilities)
            for total in (self.num_tokens, self.log_probability, self._entropy):
                total[chosen] = 0  # a batch may be begun again
        entropy = torch.special.entr(log_probabilities.exp()).sum(dim=-1)
        taken, entropies = _array(torch.stack([log_probabilities.amax(dim=-1), entropy]))
        self.num_tokens[chosen] += 1
        self.log_probability[chosen] += taken
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
