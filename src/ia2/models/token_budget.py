"""How many padded tokens, and of how many rows, a batch may have, from what a model takes of its devices' memory.

On a GPU more tokens at once are faster until its arithmetic is busy, and decoding many tokens wants as many rows as
memory holds; a CPU is at its best with a thousand or two. Memory that was misjudged is found out by trying
(`memory.fits`), and the batch halved.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ia2.models.architecture import attention_blocks
from ia2.models.placement import device_of

ON_A_CPU = 2048
FEWEST, MOST = 2048, 131072
SHARE = 0.6
"""Of the memory that is free; the rest is for masks and what is in pieces."""


@dataclass(frozen=True)
class TokenBudget:
    """What a batch may have: at most so many padded `tokens`, and with `per_row` more for each of its rows no more than
    memory holds (`held`; None: as many as that comes to)."""

    tokens: int
    held: int | None = None
    per_row: int = 0

    def allows(self, num_tokens: int, num_rows: int) -> bool:
        """Whether a batch of so many padded tokens and rows is within it."""
        return num_tokens <= self.tokens and (
            self.held is None or num_tokens + num_rows * self.per_row <= max(self.held, FEWEST)
        )


def affordable(model: PreTrainedModel, num_new_tokens: int = 0) -> TokenBudget:
    """The budget of `model` where it is now, for rows that grow by so many tokens; the scarcest of its GPUs decides."""
    layers = Counter(device_of(block) for block in attention_blocks(model))
    shares = [
        _share(model, device, number, num_new_tokens) for device, number in layers.items() if device.type == "cuda"
    ]
    if not shares:
        return TokenBudget(ON_A_CPU)
    held = min(share.tokens for share in shares)
    return TokenBudget(min(MOST, max(FEWEST, held)), held, max(share.per_row for share in shares))


def _share(model: PreTrainedModel, device: torch.device, num_layers: int, num_new_tokens: int) -> TokenBudget:
    """The budget of one GPU on which so many layers are."""
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    each = bytes_per_token(model, num_layers)
    per_row = num_new_tokens * cache_bytes(model, num_layers) + logit_bytes(model)
    return TokenBudget(int(SHARE * free) // each, per_row=-(-per_row // each))


def bytes_per_token(model: PreTrainedModel, num_layers: int) -> int:
    """What a token takes in a forward pass without gradients: its keys and values in so many layers, which stay; and
    the working set of one layer, at most three of its MLP's widths and eight of the model's, which comes and goes."""
    config = model.config
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    working = (3 * inner + 8 * config.hidden_size) * model.dtype.itemsize
    return int(cache_bytes(model, num_layers) + working)


def cache_bytes(model: PreTrainedModel, num_layers: int) -> int:
    """Keys and values of one token in n layers, 2 n K d: what the cache grows by."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * num_layers * heads * width * model.dtype.itemsize)


def logit_bytes(model: PreTrainedModel) -> int:
    """The logits of one row, V as the head makes them and V in float32."""
    return int(model.config.vocab_size * (model.dtype.itemsize + torch.float32.itemsize))
