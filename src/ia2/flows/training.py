"""`ia2 train`: data where it is missing, the first phase where a method has two, then the run itself."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ia2 import store
from ia2.commands.train import Assignment, Start, train_run, train_runs
from ia2.config import CONTINUE_SAME, TrainConfig
from ia2.errors import UserError
from ia2.flows.data import ensure_pool, ensure_split
from ia2.models.loading import ModelCache
from ia2.prompts.splits import LowDataSplitSpec, SplitSpec
from ia2.tasks.pool import load_pool

log = logging.getLogger(__name__)


def train(config: TrainConfig, models: ModelCache | None = None, keep_first: bool = False) -> Path:
    """Train one run, unless it is there, and return its folder.

    With `keep_first` the first phase of two is as it stands, even where the run is trained again.
    """
    models = models or ModelCache()
    if config.ignored_fields():
        log.info("%s ignores %s", config.training_method, ", ".join(f"--{key}" for key in config.ignored_fields()))
    config = resolve(config)
    root = store.resolve_root(config)
    if config.continue_training is not None:
        return train_run(root, config, models, Start(_continued(root, config), num_phases=0))
    first = first_phase(config)
    if first is None:
        return train_run(root, config, models)
    if keep_first:
        first = first.model_copy(update={"retrain": False})
    return train_run(root, config, models, Start(train_run(root, first, models), num_phases=1))


STACKED = frozenset({"lr", "run_idx", "lora_r", "lora_alpha", "ce_loss_weight"})
"""Fields in which runs may differ that are trained in the same passes."""


def stack_key(config: TrainConfig) -> str | None:
    """What runs must share to be trained in the same passes; None for a run that is trained alone.

    Only LoRA adapters can be told apart row by row. A loss of weight 0 takes no gradient, so such runs go apart.
    """
    if config.method.adapter != "lora" or config.continue_training is not None or config.tracker != "none":
        return None
    shared = {name: value for name, value in config.relevant_fields().items() if name not in STACKED}
    weights = [phase.weights(config.ce_loss_weight) for phase in config.method.phases]
    shared["losses"] = [sorted(loss for loss, weight in one.items() if weight) for one in weights]
    return store.json_text({**shared, "retrain": config.retrain, "micro_batch_size": config.micro_batch_size})


def train_together(configs: Sequence[TrainConfig], models: ModelCache) -> list[Path | UserError]:
    """Train runs of one `stack_key`, first phases being there, in the same passes: the folder of each, or why not.

    Each comes to what it would alone, up to rounding.
    """
    root, assignments = store.resolve_root(configs[0]), []
    for config in map(resolve, configs):
        first = first_phase(config)
        start = None if first is None else Start(store.run_folder(root, first), num_phases=1)
        assignments.append(Assignment(config, start))
    return train_runs(root, assignments, models)


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with the dataset's name and T as the task declares it, its data files in place."""
    root = store.resolve_root(config)
    dataset = ensure_pool(root, config.dataset, config.no_prepare)
    ensure_split(root, dataset, split_spec(config), config.no_prepare)
    num_tokens = config.num_generated_tokens or load_pool(root, dataset).spec.num_generated_tokens
    return config.model_copy(update={"dataset": dataset, "num_generated_tokens": num_tokens})


def split_spec(config: TrainConfig) -> SplitSpec | LowDataSplitSpec:
    """What a run's split is drawn with."""
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
