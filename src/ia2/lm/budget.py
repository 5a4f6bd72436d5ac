"""How many padded tokens a batch may have, from what a model takes of its device's memory for each.

On a GPU more tokens at once are faster until its arithmetic is busy, and decoding many tokens wants as many rows as
memory holds; a CPU is at its best with a thousand or two. Memory that was misjudged is found out by trying
(`memory.fits`), and the batch halved.
"""

import torch
from transformers import PreTrainedModel

ON_A_CPU = 2048
FEWEST, MOST = 2048, 131072
SHARE = 0.6
"""Of the memory that is free; the rest is for logits, masks and what is in pieces."""


def affordable_tokens(model: PreTrainedModel) -> int:
    """Padded tokens of one batch of `model`, on the device that it is on now."""
    if model.device.type != "cuda":
        return ON_A_CPU
    free, _ = torch.cuda.mem_get_info(model.device)
    free += torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    return min(MOST, max(FEWEST, int(SHARE * free) // bytes_per_token(model)))


def bytes_per_token(model: PreTrainedModel) -> int:
    """What a token takes in a forward pass without gradients: keys and values of L layers, 2 L K d, which stay; and the
    working set of one layer, at most three of its MLP's widths and eight of the model's, which comes and goes."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    numbers = 2 * config.num_hidden_layers * heads * width + 3 * inner + 8 * config.hidden_size
    return int(numbers * model.dtype.itemsize)
