"""One table of methods: label, colour, marker and order, so that every plot and table agrees.

The colours are those of Okabe and Ito, chosen to be told apart without colour vision (its pale yellow is replaced by a
brown that shows on white); markers differ as well, and bars stand above their names, so colour is never the only sign.
A variant has its colour and marker, an adapter its kind of line, of filling and of hatching, so that all 24 differ.
The base model has two rows: without demonstrations it is where a student starts, with them it is the teacher. What is
shown wrong demonstrations is a control, of a name and look of its own: it is no teacher, and compared with nothing.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ia2.methods import ADAPTERS, VARIANTS, Adapter, parse_method

INK = "#1b1b1f"
"""Text and axes of a figure; on the page it becomes the page's own text colour."""
LINE = "#c9c9d1"
"""Grids and reference lines; on the page the colour of its lines."""

ADAPTER_LABELS = {"lora": "", "ia3": "(IA)3 ", "prompt": "Prompt ", "prefix": "Prefix "}
ADAPTER_NAMES: dict[Adapter, str] = {
    "lora": "LoRA",
    "ia3": "(IA)3",
    "prompt": "Prompt tuning",
    "prefix": "Prefix tuning",
}
"""What an adapter is called where it stands alone."""

LineStyle = Literal["-", "--", ":", "-.", "none"]
Fill = Literal["full", "none", "top", "left"]


@dataclass(frozen=True)
class AdapterLook:
    """What tells adapters apart in any colour: matplotlib's line style, marker's filling, and hatching of bars."""

    line: LineStyle
    fill: Fill
    hatch: str


ADAPTER_LOOKS: dict[Adapter, AdapterLook] = {
    "lora": AdapterLook("-", "full", ""),
    "ia3": AdapterLook("--", "none", "//"),
    "prompt": AdapterLook(":", "top", ".."),
    "prefix": AdapterLook("-.", "left", "xx"),
}


@dataclass(frozen=True)
class MethodStyle:
    """How a method is named and drawn; `order` sorts methods in every table and plot."""

    label: str
    tick: str
    colour: str
    marker: str
    order: int
    look: AdapterLook = ADAPTER_LOOKS["lora"]


STYLES = {
    "base": MethodStyle("Base, no demonstrations", "base", "#7d7f87", "o", 0),
    "teacher": MethodStyle("Base + demonstrations (teacher)", "base\n+ demos", "#cc79a7", "s", 1),
    "control": MethodStyle("Base + wrong labels (control)", "base\n+ wrong", "#4b3b47", "p", 2),
    **{
        name: MethodStyle(f"{name} ({row.label})", name, row.colour, row.marker, order)
        for order, (name, row) in enumerate(VARIANTS.items(), start=2)
    },
}


def control_of(field: object) -> str:
    """The control that a record's field `control` names, or nothing; records that are older than it have none."""
    return "" if str(field) in ("none", "None", "nan", "<NA>") else str(field)


def style_of(method: str, with_icl: bool = False, control: str = "") -> MethodStyle:
    """The style of `base` or a training method, evaluated without or with demonstrations, which a control shows wrong.

    UserError if the method is unknown.
    """
    is_control = with_icl and control != ""
    if method == "base":
        return STYLES["control" if is_control else "teacher" if with_icl else "base"]
    parsed = parse_method(method)
    style, adapter = STYLES[parsed.variant], ADAPTER_LABELS[parsed.adapter]
    suffix, tick = (" + demonstrations", "\n+ demos") if with_icl else ("", "")
    suffix, tick = (" + wrong labels (control)", "\n+ wrong") if is_control else (suffix, tick)
    place = 2 * (ADAPTERS.index(parsed.adapter) * len(VARIANTS) + style.order) + with_icl
    look = ADAPTER_LOOKS[parsed.adapter]
    return replace(style, label=f"{adapter}{style.label}{suffix}", tick=f"{method}{tick}", order=place, look=look)
