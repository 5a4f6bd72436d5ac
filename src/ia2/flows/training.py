"""`ia2 train`: data where it is missing, the first phase where a method has two, then the run itself."""

import logging
from pathlib import Path

from ia2 import store
from ia2.config import TrainConfig
from ia2.flows.data import ensure_split
from ia2.lm.shelf import Models
from ia2.methods import Method
from ia2.stages.train import train_run
from ia2.tasks.pool import load_pool
from ia2.training.variants import VARIANTS

log = logging.getLogger(__name__)


def train(config: TrainConfig, models: Models | None = None) -> Path:
    """Train one run, unless it is there, and return its folder."""
    models = models or Models()
    if config.foreign():
        log.info("%s ignores %s", config.training_method, ", ".join(f"--{key}" for key in config.foreign()))
    config = resolve(config)
    root = store.root_of(config)
    first = first_phase(config)
    start = train_run(root, first, models) if first else None
    return train_run(root, config, models, start)


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with T as the task declares it, its data files in place."""
    root, draw = store.root_of(config), (config.num_train_examples, config.run_idx)
    ensure_split(root, config.dataset, draw, (config.max_icl_demos, config.num_dev_examples), config.no_prepare)
    num_tokens = config.num_generated_tokens or load_pool(root, config.dataset).spec.num_generated_tokens
    return config.model_copy(update={"num_generated_tokens": num_tokens})


def first_phase(config: TrainConfig) -> TrainConfig | None:
    """The run that a method of two phases starts from: the same in all but the method."""
    phases = VARIANTS[config.method.variant]
    if len(phases) == 1:
        return None
    first = next(name for name, row in VARIANTS.items() if row == phases[:1])
    return config.model_copy(update={"training_method": str(Method(config.method.adapter, first))})
