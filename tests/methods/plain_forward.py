"""What an adapted model does, by PEFT's own forward of one unpadded sequence: none of our code is called."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

Ids = Sequence[int]


@dataclass(frozen=True)
class Plain:
    """At the G answer positions: activations [L, G, D], last hidden states [G, D], logits [G, V]."""

    activations: Tensor
    hidden: Tensor
    logits: Tensor


@torch.no_grad()
def plain_forward(model: PreTrainedModel | PeftModel, prompt: Ids, response: Ids) -> Plain:
    """The answer positions are the last G of what is fed, since the last response token is not: no counting needed."""
    blocks = [module for module in model.modules() if type(module).__name__.endswith("Attention")]
    seen: list[Tensor] = []
    hidden: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _module, _in, out: seen.append(out[0][0])) for block in blocks]
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    hooks.append(
        base.get_output_embeddings().register_forward_pre_hook(lambda _module, given: hidden.append(given[0][0]))
    )
    logits = model(input_ids=torch.tensor([[*prompt, *response][:-1]]), use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()
    size = len(response)
    return Plain(torch.stack([layer[-size:] for layer in seen]), hidden[-1][-size:], logits[-size:].float())
