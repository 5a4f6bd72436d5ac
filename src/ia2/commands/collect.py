"""The teacher's targets for one split, all kinds that its runs need in one pass: outputs/targets/{digest}."""

import logging
from pathlib import Path

from ia2 import store
from ia2.config import TrainConfig
from ia2.models.model_cache import ModelCache
from ia2.training.run_inputs import read_run_inputs
from ia2.training.targets import kinds_on_disk
from ia2.training.variants import VARIANTS, Kind

log = logging.getLogger(__name__)


def kinds_of(config: TrainConfig) -> frozenset[Kind]:
    """Kinds of targets that a run needs; none where it is trained on the dataset's own answers alone."""
    phases = VARIANTS[config.method.variant]
    kinds = frozenset[Kind]().union(*(phase.kinds(config.label_type) for phase in phases))
    judged_by_teacher = config.ldr_mode and any(phase.uses_ground_truth(config.label_type) for phase in phases)
    return kinds | {"tokens"} if judged_by_teacher else kinds


def collect(root: Path, config: TrainConfig, kinds: frozenset[Kind], models: ModelCache) -> bool | None:
    """Collect these kinds for the split of `config` (T resolved); False where none were missing.

    None, at once, where another process is at them.
    """
    inputs = read_run_inputs(root, config, models)
    with store.try_lock(inputs.targets_folder) as ours:
        if not ours:
            return None
        missing = not kinds <= kinds_on_disk(inputs.targets_folder)
        inputs.targets(kinds)
    log.info("targets of %s: %s", config.dataset, ", ".join(sorted(kinds)))
    return missing
