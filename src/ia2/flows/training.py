"""`ia2 train`: data where it is missing, the first phase where a method has two, then the run itself."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ia2 import store
from ia2.commands.train import train_run, train_runs
from ia2.config import CONTINUE_SAME, TrainConfig
from ia2.errors import UserError
from ia2.flows.data import ensure_pool, ensure_split
from ia2.models.loading import ModelCache
from ia2.prompts.splits import LowDataSplitSpec, SplitSpec
from ia2.tasks.pool import load_pool

log = logging.getLogger(__name__)


def train(config: TrainConfig, models: ModelCache | None = None, keep_first: bool = False) -> Path:
    """Train one run, unless it is there, and return its folder.

    With `keep_first` the first phase of two is kept, even where the run is trained again.
    """
    models = models or ModelCache()
    if config.ignored_fields():
        log.info("%s ignores %s", config.training_method, ", ".join(f"--{key}" for key in config.ignored_fields()))
    config = resolve(config)
    root, first, start = store.resolve_root(config), first_phase(config), None
    if config.continue_training is not None:
        start = _continued(root, config)
    elif first is not None:
        start = train_run(root, first.model_copy(update={"retrain": first.retrain and not keep_first}), models)
    return train_run(root, config, models, start)


STACKED = frozenset({"lr", "run_idx", "lora_r", "lora_alpha", "ce_loss_weight"})
"""Fields in which runs may differ that are trained in the same passes: those of the arithmetic of one run alone."""


def stack_key(config: TrainConfig) -> str | None:
    """The settings that runs must share to be trained in the same passes; None for a run that is trained alone.

    Only LoRA adapters of several runs are one batched product.
    """
    if config.method.adapter != "lora" or config.continue_training is not None or config.tracker != "none":
        return None
    shared = {name: value for name, value in config.relevant_fields().items() if name not in STACKED}
    return store.value_digest({**shared, "retrain": config.retrain, "micro_batch_size": config.micro_batch_size})


def train_together(configs: Sequence[TrainConfig], models: ModelCache) -> list[Path | UserError]:
    """Train runs of one `stack_key`, first phases being there, in the same passes: the folder of each, or why not.

    The result of each is the one that it would have alone, up to rounding.
    """
    root, runs = store.resolve_root(configs[0]), []
    for config in map(resolve, configs):
        first = first_phase(config)
        runs.append((config, None if first is None else store.run_folder(root, first)))
    return train_runs(root, runs, models)


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with the dataset's name and T as the task declares it, its data files in place."""
    root = store.resolve_root(config)
    dataset = ensure_pool(root, config.dataset, config.no_prepare)
    ensure_split(root, dataset, split_spec(config), config.no_prepare)
    num_tokens = config.num_generated_tokens or load_pool(root, dataset).spec.num_generated_tokens
    return config.model_copy(update={"dataset": dataset, "num_generated_tokens": num_tokens})


def split_spec(config: TrainConfig) -> SplitSpec | LowDataSplitSpec:
    """The specification of a run's split."""
    if config.ldr_mode:
        return LowDataSplitSpec(config.low_data_sizes, config.run_idx, config.num_dev_examples)
    return SplitSpec(
        num_train_examples=config.num_train_examples,
        run_idx=config.run_idx,
        max_icl_demos=config.max_icl_demos,
        num_dev_examples=config.num_dev_examples,
        demo_type=config.demo_type,
        num_shuffles=config.num_shuffles if config.shuffle_demos else 1,
    )


def first_phase(config: TrainConfig) -> TrainConfig | None:
    """The run that a method of two phases starts from: the same in all but the method."""
    first = config.method.first
    return None if first is None else config.model_copy(update={"training_method": str(first)})


def _continued(root: Path, config: TrainConfig) -> Path:
    """The folder to go on from: as given, or that of the same configuration without `continue_training`."""
    same = config.model_copy(update={"continue_training": None})
    named = config.continue_training
    folder = store.run_folder(root, same) if named == CONTINUE_SAME else Path(named or "")
    if not (folder / "adapter_config.json").exists():
        raise UserError(f"PEFT model not found: {folder}; train it first, or give its folder to --continue_training")
    return folder
