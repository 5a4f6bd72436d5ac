"""The plain procedure: what the published scripts do, written independently of ia2 and as simply as possible.

One example at a time, a full forward of the whole growing prompt for each generated token, no key-value cache, and the
base model loaded anew for every run. It shares no code with `src/ia2`, so that what it answers checks what ia2 answers.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase


def load(folder: str) -> PreTrainedModel:
    """A base model in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


def with_adapter(model: PreTrainedModel, adapter: Path) -> PeftModel:
    return PeftModel.from_pretrained(model, str(adapter)).eval()


@torch.no_grad()
def greedy(model: PreTrainedModel | PeftModel, ids: Sequence[int], num_tokens: int) -> list[int]:
    """The next `num_tokens` tokens, each from a forward of everything before it."""
    answer: list[int] = []
    for _ in range(num_tokens):
        logits = model(torch.tensor([[*ids, *answer]]), use_cache=False).logits
        answer.append(int(logits[0, -1].argmax()))
    return answer
