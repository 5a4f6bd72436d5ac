"""From lists to runs: every combination of a sweep's fields that means something, once.

A method takes part in the lists of its own adapter and variant only, so `--lora_rs 4 8` makes no two prompt-tuning
runs; and what a variant refuses (`tna` ground truth) is no run at all. Both are said and counted.
"""

import itertools

from ia2.config import SweepConfig, TrainConfig, TrainingOptions
from ia2.errors import UserError
from ia2.methods import METHODS, VARIANTS, parse_method

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


def expand(config: SweepConfig) -> list[TrainConfig]:
    """The runs of a sweep in a fixed order, each once; UserError where its fields leave none."""
    found = [run for method in methods_of(config) for run in _runs_of(config, method)]
    if not found:
        refusing = [name for name, row in VARIANTS.items() if row.refuses_ground_truth]
        raise UserError(
            f"no run is left of {config.command('sweep')}: {' and '.join(refusing)} take no ground truth, and there is "
            "nothing else"
        )
    return found


def left_out(config: SweepConfig) -> list[str]:
    """Lines on the runs that the lists of a sweep ask for and `expand` leaves out."""
    lines = []
    for method in methods_of(config):
        refused = "ground_truth" in config.label_types and VARIANTS[parse_method(method).variant].refuses_ground_truth
        if refused:
            number = len(_runs_of(config.model_copy(update={"label_types": ("icl_outputs",)}), method))
            lines.append(f"{number} runs of {method} are left out: it takes no label_type=ground_truth")
        runs = _runs_of(config, method)
        varied = [(field, many) for field, many in SWEPT.items() if len(set(getattr(config, many))) > 1]
        without = [many for field, many in varied if runs and field not in runs[0].relevant_fields()]
        if without := [many for many in without if many != "label_types" or not refused]:
            lines.append(f"{method} is not varied by {' and '.join(without)}, which mean nothing to it")
    return lines


def methods_of(config: SweepConfig) -> list[str]:
    """The methods, with those that --include_sequential adds after the ones they go on from."""
    methods = list(config.training_methods)
    if config.include_sequential:
        for first in map(parse_method, config.training_methods):
            methods += [name for name, method in METHODS.items() if method.first == first]
    return list(dict.fromkeys(methods))


def _runs_of(config: SweepConfig, method: str) -> list[TrainConfig]:
    """The runs of one method, each once."""
    shared = {name: getattr(config, name) for name in TrainingOptions.model_fields}
    lists = {field: getattr(config, many) or (None,) for field, many in SWEPT.items()}
    if VARIANTS[parse_method(method).variant].refuses_ground_truth:
        lists["label_type"] = tuple(one for one in lists["label_type"] if one != "ground_truth")
    found: dict[str, TrainConfig] = {}
    for values in itertools.product(*lists.values()):
        run = TrainConfig(training_method=method, **shared, **dict(zip(lists, values, strict=True)))
        found.setdefault(repr(sorted(run.relevant_fields().items())), run)
    return list(found.values())
