"""Similarity the slow and obvious way, from files alone: transformers, peft and hooks, one example at a time.

Nothing of ia2 is imported: what a prompt is, which positions count and what a cosine is, is written out once more.
"""

import json
from pathlib import Path
from random import Random
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

Cosines = dict[tuple[int, int, int], float]
"""(idx, layer, token) -> cosine."""


class Plain:
    """A base model and its tokenizer from a folder, and the examples of a root."""

    def __init__(self, root: Path, folder: Path, dataset: str = "capitals") -> None:
        self.root, self.folder = root, folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        main = json.loads((root / "data" / dataset / "main.json").read_text(encoding="utf-8"))
        self.queries = main["val_examples"]
        self.pool = main["train_examples"]

    def base(self) -> nn.Module:
        return AutoModelForCausalLM.from_pretrained(self.folder).eval()

    def adapted(self, folder: Path) -> nn.Module:
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(self.folder), str(folder)).eval()

    def prompt(self, demonstrations: list[dict[str, Any]], query: dict[str, Any]) -> list[int]:
        """Pieces are tokenised one by one; the tokenizer begins texts with its own token."""
        pieces = [piece for demo in demonstrations for piece in (demo["question"], demo["answer"], "\n\n")]
        ids = [self.tokenizer.bos_token_id]
        for piece in [*pieces, query["question"]]:
            ids += self.tokenizer(piece, add_special_tokens=False).input_ids
        return ids

    def demonstrations(self, num_train: int, run_idx: int, most: int) -> list[dict[str, Any]]:
        """Some of the training examples of the split, in an order seeded by the run."""
        examples = self.split(num_train, run_idx)["train"]["examples"]
        return [examples[i] for i in Random(f"evaluation/{run_idx}").sample(range(len(examples)), most)]

    def other_demonstrations(self, num_train: int, run_idx: int, most: int) -> list[dict[str, Any]]:
        """As many of those that are neither training nor dev examples."""
        rest = [self.pool[i] for i in self.split(num_train, run_idx)["remaining_indices"]]
        return [rest[i] for i in Random(f"evaluation/{run_idx}").sample(range(len(rest)), most)]

    def split(self, num_train: int, run_idx: int) -> dict[str, Any]:
        path = self.root / "data" / "capitals" / "train" / f"{num_train}_{run_idx}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def response(self, model: nn.Module, prompt: list[int], most: int, ends: set[int]) -> list[int]:
        """Greedy, to a blank line, one of `ends`, or `most` tokens."""
        response: list[int] = []
        while len(response) < most:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([prompt + response])).logits[0, -1]
            response.append(int(logits.argmax()))
            if response[-1] in ends or "\n\n" in self.tokenizer.decode(response):
                break
        return response


def stored_responses(folder: Path) -> list[list[int]]:
    tensors = load_file(folder / "tokens.safetensors")
    return [part.tolist() for part in tensors["tokens"].split(tensors["lengths"].tolist())]


def activations(model: nn.Module, prompt: list[int], response: list[int]) -> Tensor:
    """[L, G, D]: the outputs of every attention module at the last G positions; the last token is not fed."""
    outputs: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[0][0]))
        for module in model.modules()
        if type(module).__name__.endswith("Attention")
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([(prompt + response)[:-1]]), use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack(outputs)[:, -len(response) :]


def cosines(
    one: nn.Module, other: nn.Module, prompts: tuple[list[list[int]], list[list[int]]], fed: dict[int, list[int]]
) -> Cosines:
    """Of two models, each after its own prompts, on the same responses, which `fed` holds by idx."""
    found: Cosines = {}
    for first, second, (idx, response) in zip(*prompts, fed.items(), strict=True):
        pair = activations(one, first, response).double(), activations(other, second, response).double()
        for layer, (ours, theirs) in enumerate(zip(*pair, strict=True)):
            for token, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                found[idx, layer, token] = float(torch.dot(a, b) / (a.norm() * b.norm()))
    return found
