"""`ia2 subspace`: overlap of the LoRA updates of trained runs.

Two methods of the same split and hyper-parameters are compared, and as control two runs of the same method, which
share nothing but the task. Only files are read: no base model is loaded.
"""

from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from ia2 import store
from ia2.analysis.pairing import pairs
from ia2.analysis.subspace import SCHEMA, Overlap, make_overlap, pair_path, read_updates
from ia2.commands.selection import by_name, select_some
from ia2.config import SubspaceConfig
from ia2.errors import Failure, UserError, raise_failures
from ia2.store.measurements import read_whole
from ia2.tables import overlap_table

KEPT = 8
"""Runs whose decomposed updates are kept: most runs are in several pairs."""


def subspace(config: SubspaceConfig) -> list[Path]:
    """Compare every pair that `config` asks for and that is missing, and show all; returns their paths.

    UserError where no two runs can be compared; MachineError, after all others are made, where some could not be.
    """
    root = store.resolve_root(config)
    config, _ = by_name(root, config)
    selection = select_some(root, config)
    lora = [run for run in selection.runs if run.config.method.adapter == "lora"]
    wanted = pairs(lora)
    if not wanted:
        raise UserError(
            f"{len(lora)} of the {len(selection.runs)} runs that match are of LoRA, and no two of them differ in their "
            "method alone or in their run_idx alone; train another method with the same settings, or another run"
            f"{selection.told_unreadable}"
        )
    paths, updates = [], lru_cache(maxsize=KEPT)(read_updates)
    failures = [Failure(folder, error) for folder, error in selection.unreadable.items()]
    for pair in tqdm(wanted, desc="subspace", unit="pair", leave=False, disable=None):
        path = pair_path(root, pair)
        try:
            make_overlap(root, pair, updates, config.command("subspace"))
            paths.append(path)
        except UserError as error:
            failures.append(Failure(path, error))
    found = [one for path in paths if isinstance(one := read_whole(path, Overlap, SCHEMA), Overlap)]
    if found:
        print(f"{overlap_table(found)}\n\n{len(found)} pairs below {root / 'outputs' / 'subspace'}")
    raise_failures(failures, len(failures) + len(paths), f"{len(failures)} runs or pairs could not be compared")
    return paths
