"""Four made-up examples on tiny models that can learn them: what every method is trained on here.

Through the whole command (`commands.train.train`), in one store for each shape, so that targets are collected and first
phases trained once for all the methods that share them.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tiny import tiny_model, tiny_tokenizer
from tiny_runs import write_dataset
from transformers import PreTrainedModel

from ia2.commands.train import resolve, train
from ia2.config import TrainConfig
from ia2.methods import ACT, TOK, TOKL, Adapter, Variant, parse_method
from ia2.models.loading import LanguageModel, ModelCache
from ia2.training.dataset import DistillationDataset
from ia2.training.run_inputs import read_run_inputs

SHAPES = ("llama", "qwen3", "gemma3_text", "gpt2")
NUM_EXAMPLES, NUM_TOKENS, NUM_STEPS, NUM_VIRTUAL_TOKENS = 4, 4, 60, 8
QUESTIONS = ["Rome", "a much longer place than the others", "Oslo fjord", "x"] * 4
LR: dict[Adapter, float] = {"lora": 2e-2, "ia3": 1e-1, "prompt": 1e-1, "prefix": 1e-1}


@torch.no_grad()
def outspoken_model(shape: str) -> PreTrainedModel:
    """A tiny model that can be sure of a token: its last norm is louder, and no cap keeps its logits small.

    As they are, the tiny Llama, Qwen3 and Gemma can give no token enough probability for a loss of 0.1.
    """
    model = tiny_model(shape)
    norm = model.base_model.ln_f if shape == "gpt2" else model.base_model.norm
    if shape == "gemma3_text":  # its norm multiplies by 1 + weight
        norm.weight.add_(4.0)
        model.config.final_logit_softcapping = 30.0
    elif shape != "gpt2":
        norm.weight.mul_(3.0)
    return model


@dataclass
class School:
    """The runs of one shape, each trained when it is first asked for."""

    root: Path
    shape: str
    models: ModelCache = field(default_factory=ModelCache)

    @classmethod
    def of(cls, root: Path, shape: str) -> "School":
        write_dataset(root, "towns", QUESTIONS)
        outspoken_model(shape).save_pretrained(root / shape)
        tiny_tokenizer().save_pretrained(root / shape)
        return cls(root, shape)

    @property
    def base(self) -> Path:
        return self.root / self.shape

    def config(self, method: str, **changes: Any) -> TrainConfig:
        fields: dict[str, Any] = {
            "root": self.root,
            "model_id": str(self.base),
            "training_method": method,
            "dataset": "towns",
            "num_train_examples": NUM_EXAMPLES,
            "num_dev_examples": 0,
            "num_generated_tokens": NUM_TOKENS,
            "num_train_epochs": NUM_STEPS,
            "batch_size": NUM_EXAMPLES,
            "lr": LR[parse_method(method).adapter],
            "lora_type": "qkvo",
            "ia3_type": "qkvo",
            "num_virtual_tokens": NUM_VIRTUAL_TOKENS,
            "ce_loss_weight": 0.5,
            **changes,
        }
        return TrainConfig(**fields)

    def train(self, method: str, **changes: Any) -> Path:
        return train(self.config(method, **changes), self.models)

    @property
    def lm(self) -> LanguageModel:
        return self.models.load(self.config("act"))

    def datasets(self, variant: Variant, **changes: Any) -> tuple[DistillationDataset, DistillationDataset]:
        """The train and dev examples of the (last) phase of a variant."""
        phase = {"tok": TOK, "a2t": TOK, "tokl": TOKL}.get(variant, ACT)
        config = resolve(self.config(variant, **changes))
        return read_run_inputs(self.root, config, self.models).datasets(phase)

    def everything(self) -> DistillationDataset:
        """The four examples with all that any loss compares with."""
        activations, hidden_states = self.datasets("act")[0], self.datasets("tokl")[0]
        assert activations.examples == hidden_states.examples
        return DistillationDataset(activations.examples, activations.activations, hidden_states.hidden_states)


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
