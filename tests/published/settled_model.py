"""A tiny model with nothing to learn, so that the published commands run as they are within seconds.

They train for up to 50 epochs, and no flag of theirs says less. Here attention puts out nothing: a prompt is its last
token, teacher and untrained student say the same, for certain, and no loss can improve. Every run stops as soon as its
patience ends. The folder is called as the published model, so that the published names come out to the letter.
"""

from itertools import pairwise
from pathlib import Path

import torch
from tiny import tiny_model, tiny_tokenizer
from transformers import PreTrainedModel

NAME = "Qwen3-4B-Base"
TOKENS = (":", "4", "ĊĊ")
"""Each is followed by the next: the end of a query, the answer, and the blank line that ends the response."""
CONTEXT = 16384
"""Room for two hundred demonstrations, of N = 200."""


def save_settled_model(folder: Path) -> Path:
    """Write the model and its tokenizer to a folder below `folder`, for IA2_MODEL_ID."""
    model = tiny_model("qwen3")
    _settle(model)
    model.config.max_position_embeddings = CONTEXT
    model.save_pretrained(folder / NAME)
    tiny_tokenizer().save_pretrained(folder / NAME)
    return folder / NAME


@torch.no_grad()
def _settle(model: PreTrainedModel) -> None:
    """Take out what the blocks add, and let each of TOKENS be followed by the next, with probability 1 in float32."""
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.zero_()
    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    for before, after in pairwise(tiny_tokenizer().convert_tokens_to_ids(list(TOKENS))):
        head[after] = 200 * embeddings[before] / embeddings[before].norm()
