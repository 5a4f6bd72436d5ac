"""The vocabulary of methods: one row for each variant, from which everything else about it follows.

A method is an adapter and a variant (`ia3-act`); the prefix is left out for LoRA (`act`). A variant is its phases in
order, a phase its weighted losses: `tok` matches tokens, `tokl` distributions, `act` activations. A new variant is a
new row of VARIANTS: its targets, its fields, the names of its runs and its place in tables and plots follow from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from ia2.errors import UserError

Adapter = Literal["lora", "ia3", "prompt", "prefix"]
LabelType = Literal["ground_truth", "icl_outputs"]
Loss = Literal["tok", "tokl", "act"]
Kind = Literal["tokens", "activations", "distributions"]

ADAPTERS: tuple[Adapter, ...] = get_args(Adapter)
LABEL_WORDS: dict[LabelType, str] = {"ground_truth": "the dataset's answers", "icl_outputs": "the teacher's responses"}
LORA_LETTERS = "qkvogud"

BASE: Final = "base"
TEACHER: Final = "teacher"
OTHER_DEMONSTRATIONS: Final = "other_demonstrations"
"""The base model beside methods: alone, with demonstrations, and with others as a control."""


@dataclass(frozen=True)
class Phase:
    """One fit: the weights of its losses as a function of ce_loss_weight."""

    name: str
    weights: Callable[[float], Mapping[Loss, float]]

    @property
    def losses(self) -> frozenset[Loss]:
        return frozenset(self.weights(0.5))

    def uses_ground_truth(self, label_type: LabelType) -> bool:
        """Gold labels replace the teacher's tokens where nothing else of the teacher's is matched at those tokens."""
        return self.losses == {"tok"} and label_type == "ground_truth"

    def kinds(self, label_type: LabelType) -> frozenset[Kind]:
        """Kinds of targets that the teacher has to give."""
        if self.uses_ground_truth(label_type):
            return frozenset()
        more: dict[Loss, Kind] = {"act": "activations", "tokl": "distributions"}
        return frozenset({"tokens", *(more[loss] for loss in self.losses if loss in more)})


@dataclass(frozen=True)
class Variant:
    """One row: the phases, and the label, words, colour and marker of tables and plots, in the order of the rows."""

    phases: tuple[Phase, ...]
    label: str
    words: str
    colour: str
    marker: str

    @property
    def losses(self) -> frozenset[Loss]:
        return frozenset[Loss]().union(*(phase.losses for phase in self.phases))

    @property
    def fields(self) -> frozenset[str]:
        """Fields of a run that mean something to this variant, and not to every other."""
        means = {
            "label_type": any(phase.uses_ground_truth("ground_truth") for phase in self.phases),
            "tokl_top_k": "tokl" in self.losses,
            "ce_loss_weight": any(phase.weights(0.25) != phase.weights(0.75) for phase in self.phases),
            "layers": "act" in self.losses,
            "act_norm": "act" in self.losses,
        }
        return frozenset(field for field, it_does in means.items() if it_does)

    @property
    def refuses_ground_truth(self) -> bool:
        """True where outputs are matched at the teacher's own tokens only; activations alone have no labels at all."""
        return "label_type" not in self.fields and self.losses != {"act"}

    @property
    def selection_loss(self) -> Loss | None:
        """The dev loss that compares runs of different ce_loss_weight, where the last phase's sum depends on it."""
        last = self.phases[-1]
        outputs: tuple[Loss, ...] = ("tok", "tokl") if last.weights(0.25) != last.weights(0.75) else ()
        return next((loss for loss in outputs if loss in last.losses), None)


TOK = Phase("tok", lambda w: {"tok": 1.0})
TOKL = Phase("tokl", lambda w: {"tokl": 1.0})
ACT = Phase("act", lambda w: {"act": 1.0})
TNA = Phase("tna", lambda w: {"act": 1 - w, "tok": w})

ONLY_ACTIVATIONS = (
    "IA2: the student's self-attention outputs are matched to the teacher's; no gold label enters but those of the "
    "teacher's demonstrations"
)
SOFT = "fine-tuning on the teacher's output distributions"
VARIANTS: dict[str, Variant] = {
    "tok": Variant((TOK,), "SFT", "supervised fine-tuning", "#e69f00", "^"),
    "tokl": Variant((TOKL,), "soft labels", SOFT, "#8c6d31", "v"),
    "act": Variant((ACT,), "IA2", ONLY_ACTIVATIONS, "#0072b2", "D"),
    "tna": Variant((TNA,), "IA2 + SFT", "IA2 and fine-tuning together", "#56b4e9", "P"),
    "a2t": Variant((ACT, TOK), "IA2 → SFT", "IA2 first, then fine-tuning from there", "#009e73", "X"),
    "t2a": Variant((TOK, ACT), "SFT → IA2", "fine-tuning first, then IA2 from there", "#d55e00", "*"),
}

ADAPTER_FIELDS: dict[Adapter, frozenset[str]] = {
    "lora": frozenset({"lora_type", "lora_r", "lora_alpha"}),
    "ia3": frozenset({"ia3_type"}),
    "prompt": frozenset({"num_virtual_tokens"}),
    "prefix": frozenset({"num_virtual_tokens"}),
}


@dataclass(frozen=True)
class Method:
    """An adapter and a variant: `str(Method("ia3", "act"))` is `ia3-act`."""

    adapter: Adapter
    variant: str

    def __str__(self) -> str:
        return self.variant if self.adapter == "lora" else f"{self.adapter}-{self.variant}"

    @property
    def phases(self) -> tuple[Phase, ...]:
        return VARIANTS[self.variant].phases

    @property
    def fields(self) -> frozenset[str]:
        """Fields of a run that mean something to this method, and not to every other."""
        return ADAPTER_FIELDS[self.adapter] | VARIANTS[self.variant].fields

    @property
    def first(self) -> "Method | None":
        """The method of the first phase alone, whose finished run this one starts from; None where none does it."""
        names = (name for name, row in VARIANTS.items() if len(self.phases) > 1 and row.phases == self.phases[:1])
        return next((Method(self.adapter, name) for name in names), None)


METHODS: dict[str, Method] = {str(Method(a, v)): Method(a, v) for a in ADAPTERS for v in VARIANTS}


def parse_method(name: str) -> Method:
    """The method called `name`; UserError names the valid ones."""
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}; valid: {', '.join(METHODS)}")
    return METHODS[name]
