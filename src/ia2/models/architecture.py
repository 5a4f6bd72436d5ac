"""The attention blocks of each supported architecture: one self-attention block per decoder layer.

An activation is a block's output after its output projection and before the residual is added. The attribute that holds
it differs by architecture and is listed here; an architecture that is not listed is refused, since matching the wrong
tensor would train without complaint.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast

from torch import nn
from transformers import PreTrainedModel

from ia2.errors import UserError


@dataclass(frozen=True)
class Architecture:
    """Names inside the decoder, and the form in which it takes attention masks made by hand (`models/packing.py`)."""

    layers: str = "layers"
    attention: str = "self_attn"
    masks: Literal["one", "by_layer_type"] = "one"


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(),
    "mistral": Architecture(),
    "qwen2": Architecture(masks="by_layer_type"),
    "qwen3": Architecture(masks="by_layer_type"),
    "gemma3_text": Architecture(masks="by_layer_type"),
    "phi3": Architecture(),
    "gpt2": Architecture(layers="h", attention="attn"),
    "gpt_neox": Architecture(attention="attention"),
}


def architecture_of(model: PreTrainedModel) -> Architecture:
    """The entry of `model`; UserError lists the known ones and the attention modules that were found."""
    model_type = model.config.model_type
    if model_type not in ARCHITECTURES:
        found = sorted({type(module).__name__ for module in model.modules() if "Attention" in type(module).__name__})
        layers = model.config.get_text_config().num_hidden_layers
        raise UserError(
            f"model type {model_type!r} is not supported; known: {', '.join(ARCHITECTURES)}. "
            f"It has {layers} layers and the attention modules {', '.join(found) or 'none'}; "
            "one line in ia2/models/architecture.py adds it"
        )
    return ARCHITECTURES[model_type]


def attention_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The L self-attention modules in the order of the layers; UserError for an unknown architecture."""
    architecture = architecture_of(model)
    layers = cast(nn.ModuleList, getattr(model.base_model, architecture.layers))
    return [cast(nn.Module, getattr(layer, architecture.attention)) for layer in layers]


def select_layers(text: str, num_layers: int) -> tuple[int, ...] | None:
    """The layers that `all` (None), `7`, `4-11` or `::k` mean; UserError for anything else or beyond the model.

    >>> select_layers("4-6", 12), select_layers("::5", 12), select_layers("all", 12)
    ((4, 5, 6), (0, 5, 10), None)
    """
    if text == "all":
        return None
    match = re.fullmatch(r"(\d+)(?:-(\d+))?|::([1-9]\d*)", text)
    if match and match[3]:
        return tuple(range(0, num_layers, int(match[3])))
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last < num_layers:
        raise UserError(
            f"layers={text!r}: give all, one layer as 7, a range as 4-11 or every k-th as ::k, of the "
            f"layers 0 to {num_layers - 1}"
        )
    return tuple(range(first, last + 1))
