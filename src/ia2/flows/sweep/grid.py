"""From lists to runs: every combination of a sweep's fields that means something, once.

A method takes part in the lists of its own adapter and variant only, so `--lora_rs 4 8` makes no two prompt-tuning
runs; and what a variant refuses (`tna` on ground truth) is no run at all.
"""

import itertools
from collections.abc import Iterator

from ia2.config import SweepConfig, TrainConfig, TrainingOptions
from ia2.errors import UserError
from ia2.methods import parse_method

SWEPT = {
    "dataset": "datasets",
    "num_train_examples": "num_train_examples",
    "num_generated_tokens": "num_generated_tokens",
    "run_idx": "run_indices",
    "lr": "lrs",
    "lora_type": "lora_types",
    "lora_r": "lora_rs",
    "lora_alpha": "lora_alphas",
    "ia3_type": "ia3_types",
    "num_virtual_tokens": "num_virtual_tokens",
    "label_type": "label_types",
    "ce_loss_weight": "ce_loss_weights",
    "tokl_top_k": "tokl_top_ks",
}
"""Field of a run -> field of a sweep that lists its values."""

SEQUENTIAL = {"act": "a2t", "tok": "t2a"}
"""First phase -> the method that goes on from it."""


def expand(config: SweepConfig) -> list[TrainConfig]:
    """The runs of a sweep in a fixed order, each once; UserError where its fields leave none."""
    found: dict[str, TrainConfig] = {}
    for method in methods_of(config):
        for run in _runs_of(config, method):
            found.setdefault(repr(sorted(run.applicable().items())), run)
    if not found:
        raise UserError(
            f"no run is left of {config.command('sweep')}: tokl and tna take no ground truth, and there is nothing else"
        )
    return list(found.values())


def methods_of(config: SweepConfig) -> list[str]:
    """The methods, with those that --include_sequential adds after the ones they go on from."""
    methods = list(config.training_methods)
    if config.include_sequential:
        for name in config.training_methods:
            method = parse_method(name)
            if method.variant in SEQUENTIAL:
                methods.append(name.removesuffix(method.variant) + SEQUENTIAL[method.variant])
    return list(dict.fromkeys(methods))


def _runs_of(config: SweepConfig, method: str) -> Iterator[TrainConfig]:
    shared = {name: getattr(config, name) for name in TrainingOptions.model_fields}
    lists = {field: getattr(config, many) or (None,) for field, many in SWEPT.items()}
    if parse_method(method).variant in ("tokl", "tna"):
        lists["label_type"] = tuple(one for one in lists["label_type"] if one != "ground_truth")
    for values in itertools.product(*lists.values()):
        yield TrainConfig(training_method=method, **shared, **dict(zip(lists, values, strict=True)))
