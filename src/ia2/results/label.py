"""Names and looks of models: label, colour, marker and order, and the settings in which models of one name differ.

The colours are those of Okabe and Ito, chosen to be told apart without colour vision (its pale yellow is replaced by a
brown that shows on white); markers differ as well, and bars stand above their names, so colour is never the only sign.
A variant has its colour and marker, an adapter its kind of line, of filling and of hatching, so that all 24 differ.
The base model has two rows: without demonstrations it is where a student starts, with them it is the teacher. What is
shown wrong demonstrations is a control, of a name and look of its own: it is no teacher, and compared with nothing.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ia2.config import TrainConfig
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


def text_of(value: object) -> str:
    """A setting as text; empty at none, False or absent, which are one: the field may be younger than the record."""
    return "" if str(value) in ("none", "None", "nan", "<NA>", "False") else str(value)


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


# Models of one name

SHORT = {"num_train_examples": "N", "num_generated_tokens_eval": "T", "icl_source_dataset": "demonstrations of"}


def details(
    settings: Sequence[Mapping[str, Any]], names: Sequence[Hashable], places: Sequence[Hashable] | None = None
) -> list[str]:
    """The settings of each model in which others of its name differ, as `N 4, label_type ground_truth`.

    With `places` those count in which models of one name differ that share a place, and are given at every place.
    """
    alike: dict[tuple[Hashable, Hashable], list[Mapping[str, Any]]] = {}
    for one, name, place in zip(settings, names, places or names, strict=True):
        alike.setdefault((name, place), []).append(one)
    differing: dict[Hashable, dict[str, None]] = {name: {} for name in names}
    for (name, _), members in alike.items():
        fields = dict.fromkeys(field for member in members for field in member) if len(members) > 1 else {}
        for field in fields:
            if len({text_of(member.get(field)) for member in members}) > 1:
                differing[name][field] = None
    return [
        ", ".join(f"{SHORT.get(field, field)} {text}" for field in differing[name] if (text := text_of(one.get(field))))
        for one, name in zip(settings, names, strict=True)
    ]


def settings_of_runs(*runs: TrainConfig | None) -> dict[str, Any]:
    """The fields that decide these runs but for their method and index."""
    fields = {name: value for run in runs if run for name, value in run.relevant_fields().items()}
    return {name: value for name, value in fields.items() if name not in ("run_idx", "training_method")}


def full_name(label: str, details: str) -> str:
    """The label, and in brackets what tells it from others of that label."""
    return f"{label} [{details}]" if details else label


def in_order(details: str) -> tuple[tuple[str, float], ...]:
    """The key to sort details by, so that `N 2` comes before `N 16`: words as text, numbers as numbers."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]\d+)?)", details)
    return tuple(zip(parts[::2], map(float, [*parts[1::2], "-1"]), strict=True))
