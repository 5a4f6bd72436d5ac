"""How much the LoRA updates of two runs overlap, layer by layer: outputs/subspace/.

Read from adapter files alone: neither a base model nor a device is needed. The parquet is written first and the JSON
last, so that a pair that can be found is whole.
"""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file

from ia2 import store
from ia2.analysis.overlap import (
    Update,
    chance_energy_overlap,
    chance_overlap,
    cosine,
    decompose,
    effective_rank,
    energy_overlap,
    energy_shares,
    subspace_overlap,
)
from ia2.analysis.pairing import Pair, name_beside
from ia2.config import path_part
from ia2.errors import UserError
from ia2.report.overlaps import ROW_COLUMNS, SCHEMA, read_overlap
from ia2.report.reading import Problem
from ia2.training.trained_run import TrainedRun

log = logging.getLogger(__name__)

FACTOR = re.compile(r"\.(?P<layer>\d+)\.(?P<projection>.+)\.lora_(?P<factor>[AB])\.weight$")
"""A name in adapter_model.safetensors: the first number is the layer, what follows it the module within the layer."""

Place = tuple[int, str]
"""Layer and projection."""
Updates = Mapping[Place, Update | None]
"""The update of every place that an adapter has; None where it is zero."""


def read_updates(folder: Path) -> Updates:
    """The updates of the LoRA adapter in `folder`; UserError where there is none that can be read."""
    factors: dict[Place, dict[str, Any]] = {}
    if store.description_path(folder).exists():
        store.read_description(folder)
    try:
        config = store.read_object(folder / "adapter_config.json")
        scaling = config["lora_alpha"] / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])
        for name, tensor in load_file(folder / "adapter_model.safetensors").items():
            if match := FACTOR.search(name):
                place = int(match["layer"]), match["projection"]
                factors.setdefault(place, {})[match["factor"]] = tensor.double().numpy()
        updates = {place: decompose(both["B"], both["A"], scaling) for place, both in sorted(factors.items())}
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} holds no LoRA adapter that can be read ({error}); train it again") from None
    if not updates:
        raise UserError(f"{folder} holds no LoRA adapter: there are no factors A and B in it")
    return updates


def pair_path(root: Path, pair: Pair) -> Path:
    """The JSON that says how two runs overlap."""
    one, other = pair.one, pair.other
    second = name_beside(one, other) if pair.relation == "methods" else f"run{other.config.run_idx}"
    name = store.safe_filename(f"{one.config.training_method}_{one.folder.name}_vs_{second}")
    return root / "outputs" / "subspace" / path_part(one.config.dataset) / f"{name}.json"


def is_overlapped(root: Path, pair: Pair) -> bool:
    """Whether the pair stands, of the adapters as they are now; one that is damaged is made again."""
    path = pair_path(root, pair)
    if not path.exists():
        return False
    if isinstance(known := read_overlap(path), Problem):
        log.warning("%s is damaged and is made again: %s", path, known.reason)
        return False
    changed = [name for name, digest in _rests_on(pair).items() if getattr(known, name) != digest]
    if changed:
        log.warning("%s is made again: %s is not that of the files that are there", path, ", ".join(changed))
    return not changed


def write_overlap(root: Path, pair: Pair, updates: tuple[Updates, Updates], command: str) -> None:
    """Compare the updates of two runs, and write what comes out."""
    rows, path = overlap_rows(*updates), pair_path(root, pair)
    path.unlink(missing_ok=True)
    with store.atomic_write(path.with_suffix(".parquet")) as temporary:
        rows.to_parquet(temporary, index=False)
    content = {
        "schema": SCHEMA,
        "relation": pair.relation,
        "run_a": _name(root, pair.one),
        "run_b": _name(root, pair.other),
        "config_a": pair.one.description["config"],
        "config_b": pair.other.description["config"],
        "num_rows": len(rows),
        "num_absent": len(updates[0].keys() | updates[1].keys()) - len(rows),
    }
    digest = store.file_digest(path.with_suffix(".parquet"))
    store.write_object(path, {**content, **_rests_on(pair), "command": command, "rows_sha256": digest})


def overlap_rows(one: Updates, other: Updates) -> pd.DataFrame:
    """A row for each place where both have an update."""
    both = [(place, one[place], other[place]) for place in sorted(one.keys() & other.keys())]
    rows = [_row(place, first, second) for place, first, second in both if first and second]
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def _row(place: Place, one: Update, other: Update) -> dict[str, Any]:
    energies, ranks = (energy_shares(one), energy_shares(other)), (one.rank, other.rank)
    layer, projection = place
    return {
        **{"layer": layer, "projection": projection, "rank_a": one.rank, "rank_b": other.rank},
        "left_overlap": subspace_overlap(one.left, other.left),
        "right_overlap": subspace_overlap(one.right, other.right),
        "left_energy_overlap": energy_overlap(one.left, other.left, energies),
        "right_energy_overlap": energy_overlap(one.right, other.right, energies),
        **{"effective_rank_a": effective_rank(one), "effective_rank_b": effective_rank(other)},
        "cosine": cosine(one, other),
        "chance_left": chance_overlap(*ranks, len(one.left)),
        "chance_right": chance_overlap(*ranks, len(one.right)),
        "chance_left_energy": chance_energy_overlap(energies, len(one.left)),
        "chance_right_energy": chance_energy_overlap(energies, len(one.right)),
    }


def _name(root: Path, run: TrainedRun) -> str:
    return run.folder.relative_to(root / "outputs").as_posix()


def _rests_on(pair: Pair) -> dict[str, str]:
    files = {"a": pair.one.folder, "b": pair.other.folder}
    return {
        f"adapter_sha256_{end}": store.file_digest(folder / "adapter_model.safetensors")
        for end, folder in files.items()
    }
