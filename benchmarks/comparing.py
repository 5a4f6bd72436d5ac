"""Whether both sides computed the same: asked in the same run that measures them.

In float32 tokens are equal and numbers agree to 1e-4. In bf16 two orders of summing give numbers that differ in the
second digit, so a token may differ where rounding leaves it open: where another logit is greater by no more than four
standard deviations of what bf16 does to such a difference, which is measured on the plain side, beside a computation in
float32. Such ties are counted and shown. Our numbers are compared with those in float32 instead of the plain side's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Numbers = Tensor | Sequence[float] | npt.NDArray[np.float64]


TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""How far numbers may differ, relatively."""
DEVIATIONS = 4
"""So many standard deviations of a difference of two logits are a tie."""


def noise(rounded: Tensor, exact: Tensor) -> float:
    """The standard deviation of what rounding does to a logit: of the same logits computed in two ways."""
    return float((rounded.double() - exact.double()).square().mean().sqrt())


@dataclass
class Comparison:
    """Takes what we and another computed, and says what was compared, how close it was, and what differs.

    `noise` is the standard deviation of a difference of two logits, one of ours and one of the other's; 0 in float32.
    """

    against: str
    tolerance: float
    noise: float = 0.0
    num_tokens: int = 0
    ties: list[float] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def token(self, ours: int, logits: Tensor) -> None:
        """Our token beside the logits [V] that the other side has for it."""
        self.num_tokens += 1
        other = int(logits.argmax())
        if ours == other:
            return
        gap = float(logits[other] - logits[ours])
        if gap <= DEVIATIONS * self.noise:
            self.ties.append(gap)
        else:
            self.differences.append(f"token {ours} where the other's {other} has a logit {gap:.3g} greater")

    def numbers(self, what: str, ours: Numbers, other: Numbers, unit: float = 0.0) -> None:
        """The errors of vectors [..., D], each relative to its own norm, or of scalars [n], each relative to its size.

        Sizes below `unit` count as that, for numbers that may be near zero.
        """
        left, right = (torch.as_tensor(values, dtype=torch.float64, device="cpu").detach() for values in (ours, other))
        if left.shape != right.shape:
            self.differences.append(f"{what} of shapes {tuple(left.shape)} and {tuple(right.shape)}")
            return
        if left.dim() == 1:
            left, right = left[:, None], right[:, None]
        error = float(((left - right).norm(dim=-1) / right.norm(dim=-1).clamp(min=unit)).max())
        self.errors[what] = max(error, self.errors.get(what, 0.0))
        if not error <= self.tolerance:
            self.differences.append(f"{what} by {error:.2g} relatively")

    def __str__(self) -> str:
        told = [f"{what} to {error:.1g}" for what, error in self.errors.items()]
        if self.num_tokens:
            gaps = ", ".join(f"{gap:.2g}" for gap in sorted(self.ties, reverse=True)[:5])
            ties = f" ({len(self.ties)} at ties, logit gaps {gaps}, deviation {self.noise:.2g})" if self.ties else ""
            told.insert(0, f"{self.num_tokens} tokens{ties}")
        wrong = "".join(f"; {difference}" for difference in self.differences[:5])
        return f"with {self.against}: {', '.join(told)}{wrong}"
