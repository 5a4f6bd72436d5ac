"""The variants, one row each. What must be collected and what is computed follow from the row.

A variant is its phases in order; a phase is its weighted losses. `tok` matches tokens, `tokl` distributions, `act`
activations, `tna` activations and tokens at once. A new variant is a new row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ia2.config import LabelType
from ia2.methods import Variant

Loss = Literal["tok", "tokl", "act"]
Kind = Literal["tokens", "activations", "distributions"]


@dataclass(frozen=True)
class Phase:
    """One fit: the weights of its losses as a function of ce_loss_weight, and whether gold labels can replace the
    teacher's tokens (they can only where nothing else of the teacher's is matched at those tokens)."""

    name: str
    weights: Callable[[float], Mapping[Loss, float]]
    takes_ground_truth: bool = False

    @property
    def losses(self) -> frozenset[Loss]:
        return frozenset(self.weights(0.5))

    def kinds(self, label_type: LabelType) -> frozenset[Kind]:
        """What the teacher must have given."""
        if self.uses_ground_truth(label_type):
            return frozenset()
        more: dict[Loss, Kind] = {"act": "activations", "tokl": "distributions"}
        return frozenset({"tokens", *(more[loss] for loss in self.losses if loss in more)})

    def uses_ground_truth(self, label_type: LabelType) -> bool:
        return self.takes_ground_truth and label_type == "ground_truth"


TOK = Phase("tok", lambda w: {"tok": 1.0}, takes_ground_truth=True)
TOKL = Phase("tokl", lambda w: {"tokl": 1.0})
ACT = Phase("act", lambda w: {"act": 1.0})
TNA = Phase("tna", lambda w: {"act": 1 - w, "tok": w})

VARIANTS: dict[Variant, tuple[Phase, ...]] = {
    "tok": (TOK,),
    "tokl": (TOKL,),
    "act": (ACT,),
    "tna": (TNA,),
    "a2t": (ACT, TOK),
    "t2a": (TOK, ACT),
}
