"""What the distribution over the first answer token says about each query.

Confidence and calibration are about this one token, for single-token and longer answers alike: it is where the answer
is decided, and a probability of a whole text would shrink with its length.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ia2.lm.decoding import Seen

Floats = npt.NDArray[np.float64]


class FirstTokenScores:
    """Sees decoding and keeps, for each of n queries, what its first step says; natural logarithms throughout.

    confidence: probability of the predicted token under the full softmax. gold_log_probability: of the gold answer's
    first token. sum_of_squares: of all probabilities, for the Brier score. label_log_probabilities: of each label's
    first token [n, K]. top_confidence: the confidence renormalised over the 10 most probable tokens (published ECE).
    """

    activations = False

    def __init__(self, gold: Sequence[int], labels: Sequence[int] = ()) -> None:
        size = len(gold)
        self.gold = np.array(gold)
        self._labels = torch.tensor(labels, dtype=torch.long)
        self.token = np.zeros(size, dtype=np.int64)
        self.confidence = np.full(size, np.nan)
        self.gold_log_probability = np.full(size, np.nan)
        self.sum_of_squares = np.full(size, np.nan)
        self.entropy = np.full(size, np.nan)
        self.top_confidence = np.full(size, np.nan)
        self.label_log_probabilities = np.full((size, len(labels)), np.nan)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the predicted token is the gold answer's first: what confidence is about."""
        return np.asarray(self.token == self.gold)

    def see(self, seen: Seen) -> None:
        if seen.step:
            return
        chosen, logits = np.array(seen.rows), seen.logits
        log_probabilities = logits.log_softmax(dim=-1)
        probabilities = log_probabilities.exp()
        top = probabilities.topk(min(10, probabilities.shape[-1]), dim=-1).values
        gold = torch.from_numpy(self.gold[chosen]).to(logits.device)
        self.token[chosen] = logits.argmax(dim=-1).cpu().numpy()
        self.confidence[chosen] = _array(top[:, 0])
        self.gold_log_probability[chosen] = _array(log_probabilities.gather(1, gold[:, None])[:, 0])
        self.sum_of_squares[chosen] = _array(probabilities.square().sum(dim=-1))
        self.entropy[chosen] = _array(torch.special.entr(probabilities).sum(dim=-1))
        self.top_confidence[chosen] = _array(top[:, 0] / top.sum(dim=-1))
        self.label_log_probabilities[chosen] = _array(log_probabilities[:, self._labels.to(logits.device)])


def _array(values: Tensor) -> Floats:
    return values.double().cpu().numpy()
