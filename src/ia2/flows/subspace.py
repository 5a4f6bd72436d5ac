"""`ia2 subspace`: how much the LoRA updates of trained runs overlap.

Two methods of the same split and hyper-parameters are compared, and as control two runs of the same method, which
share nothing but the task. Only files are read: no base model is loaded.
"""

import logging
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from ia2 import store
from ia2.analysis.pairing import Pair, pairs
from ia2.analysis.subspace import SCHEMA, Overlap, is_overlapped, pair_path, read_updates, write_overlap
from ia2.config import SubspaceConfig
from ia2.errors import UserError
from ia2.flows.data import name_of
from ia2.flows.failures import Failure, raise_failures
from ia2.flows.selection import Selection, select_some
from ia2.methods import parse_method
from ia2.report.overlap_table import overlap_table
from ia2.report.reading import read_whole

log = logging.getLogger(__name__)

KEPT = 8
"""The decomposed updates of so many runs are kept: most runs are in several pairs."""


def subspace(config: SubspaceConfig) -> list[Path]:
    """Compare every pair that `config` asks for and that is not there, and show them; returns their paths.

    UserError where no two runs can be compared; MachineError, after all others are made, where some could not be.
    """
    root = store.resolve_root(config)
    for name in set(config.model_types) - {"base"}:
        parse_method(name)
    config = config.model_copy(update={"trained_datasets": tuple(map(name_of, config.trained_datasets))})
    selection = select_some(root, config)
    wanted = _pairs(selection)
    failures = [Failure(folder, error) for folder, error in selection.unreadable.items()]
    failures += _compare(root, wanted, config.command("subspace"))
    failed = {failure.what for failure in failures}
    paths = [path for path in (pair_path(root, pair) for pair in wanted) if path not in failed]
    found = [one for path in paths if isinstance(one := read_whole(path, Overlap, SCHEMA), Overlap)]
    if found:
        print(f"{overlap_table(found)}\n\n{len(found)} pairs below {root / 'outputs' / 'subspace'}")
    raise_failures(failures, len(failures) + len(paths), f"{len(failures)} runs or pairs could not be compared")
    return paths


def _pairs(selection: Selection) -> list[Pair]:
    """UserError where there are none."""
    lora = [run for run in selection.runs if run.config.method.adapter == "lora"]
    found = pairs(lora)
    if not found:
        raise UserError(
            f"{len(lora)} of the {len(selection.runs)} runs that match are of LoRA, and no two of them differ in their "
            "method alone or in their run_idx alone; train another method with the same settings, or another run"
            f"{selection.told_unreadable}"
        )
    return found


def _compare(root: Path, wanted: list[Pair], command: str) -> list[Failure]:
    """Make what is missing; returns what could not be made."""
    failures, updates = [], lru_cache(maxsize=KEPT)(read_updates)
    for pair in tqdm(wanted, desc="subspace", unit="pair", leave=False, disable=None):
        path = pair_path(root, pair)
        with store.file_lock(path.with_suffix("")):
            if is_overlapped(root, pair):
                continue
            try:
                both = updates(pair.one.folder), updates(pair.other.folder)
                write_overlap(root, pair, both, command)
            except UserError as error:
                failures.append(Failure(path, error))
    return failures
