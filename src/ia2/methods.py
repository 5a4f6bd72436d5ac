"""The vocabulary of methods: what `ia3-act` means, said once.

A method is an adapter and a variant; the adapter's prefix is left out for LoRA. The string is parsed here, at the
border, and nowhere else. How a method looks in plots and tables stands in report/styles.py.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from ia2.errors import UserError

Adapter = Literal["lora", "ia3", "prompt", "prefix"]
Variant = Literal["tok", "tokl", "act", "tna", "a2t", "t2a"]

ADAPTERS: tuple[Adapter, ...] = get_args(Adapter)
VARIANTS: tuple[Variant, ...] = get_args(Variant)
LORA_LETTERS = "qkvogud"

BASE: Final = "base"
TEACHER: Final = "teacher"
OTHER_DEMONSTRATIONS: Final = "other_demonstrations"
"""The base model where it stands beside methods: alone, with demonstrations, and with others as a control."""


@dataclass(frozen=True)
class Method:
    """One of the methods: `str(Method("ia3", "act"))` is `ia3-act`."""

    adapter: Adapter
    variant: Variant

    def __str__(self) -> str:
        return self.variant if self.adapter == "lora" else f"{self.adapter}-{self.variant}"


METHODS: dict[str, Method] = {str(Method(a, v)): Method(a, v) for a in ADAPTERS for v in VARIANTS}


def parse_method(name: str) -> Method:
    """The method called `name`; UserError names the valid ones."""
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}; valid: {', '.join(METHODS)}")
    return METHODS[name]
