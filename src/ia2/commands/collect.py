"""The teacher's targets for one split, all kinds that its runs need in one pass: outputs/targets/{digest}."""

import logging
from pathlib import Path

from ia2 import store
from ia2.config import TrainConfig
from ia2.methods import Kind
from ia2.models.loading import ModelCache
from ia2.training.run_inputs import load_or_collect_targets, read_run_inputs, targets_place
from ia2.training.targets import kinds_on_disk

log = logging.getLogger(__name__)


def kinds_of(config: TrainConfig) -> frozenset[Kind]:
    """What a run needs of its teacher; nothing where it is trained on the dataset's own answers alone."""
    phases = config.method.phases
    kinds = frozenset[Kind]().union(*(phase.kinds(config.label_type) for phase in phases))
    judged_by_teacher = config.ldr_mode and any(phase.uses_ground_truth(config.label_type) for phase in phases)
    return kinds | {"tokens"} if judged_by_teacher else kinds


def collect(root: Path, config: TrainConfig, kinds: frozenset[Kind], models: ModelCache) -> bool | None:
    """Collect these kinds for the split of `config` (T resolved) where they are missing; whether any were.

    None, at once, where another process is at them.
    """
    material = read_run_inputs(root, config, models)
    folder = targets_place(material)
    with store.try_lock(folder) as ours:
        if not ours:
            return None
        missing = not kinds <= kinds_on_disk(folder)
        load_or_collect_targets(material, kinds)
    log.info("targets of %s: %s", config.dataset, ", ".join(sorted(kinds)))
    return missing
