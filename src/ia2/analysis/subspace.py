"""Overlap of the low-rank updates of two runs, layer by layer, from adapter files to frames: outputs/subspace/.

A LoRA update is scaling * B A, [d_out, d_in] of rank r: what it writes is in the span of its left singular vectors,
what it reads in that of its right ones. d x d is never formed: B and A are orthogonalised (QR), and what is left to
decompose is r x r. All in float64. An update that is zero has no subspace.

Every overlap has a chance level, that of directions drawn at random, and it differs between the sides of a projection
that is not square: an overlap means something beside its chance level only.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from ia2 import store
from ia2.analysis.pairing import Pair, name_beside
from ia2.config import StoredRun, path_part
from ia2.errors import UserError
from ia2.store.measurements import Examined, Measurement, examine, read_rows, read_whole, why_stale, write_measured

log = logging.getLogger(__name__)

SCHEMA = 2
ROW_COLUMNS = (
    *("layer", "projection", "rank_a", "rank_b"),
    *("left_overlap", "right_overlap", "left_energy_overlap", "right_energy_overlap"),
    *("effective_rank_a", "effective_rank_b", "cosine"),
    *("chance_left", "chance_right", "chance_left_energy", "chance_right_energy"),
)
"""Columns of a parquet file."""
PAIR_COLUMNS = (
    *("run_a", "run_b", "method_a", "method_b", "dataset", "relation"),
    *("model_id", "num_train_examples", "lr", "run_idx_a", "run_idx_b"),
)
"""Columns of the frame that describe the pair of a row; runs are called {method}/{dataset}/{name}."""
FACTOR = re.compile(r"\.(?P<layer>\d+)\.(?P<projection>.+)\.lora_(?P<factor>[AB])\.weight$")
"""A name in adapter_model.safetensors: the first number is the layer, what follows it the module within the layer."""

Floats = npt.NDArray[np.float64]

# The record, and its frame


class Overlap(Measurement):
    """Two runs compared: outputs/subspace/{dataset}/{name}.json, their layers in the parquet beside it.

    `relation`: `methods` are two methods of the same split and hyper-parameters, `runs` are two runs of the same
    method, the control. A layer and projection where either update is zero has no subspace, and no row.
    """

    relation: Literal["methods", "runs"]
    run_a: str
    run_b: str
    config_a: StoredRun
    config_b: StoredRun
    num_rows: int
    num_absent: int
    adapter_sha256_a: str
    adapter_sha256_b: str
    command: str = ""

    def check_rows(self, rows: pq.ParquetFile) -> None:
        """Raise ValueError where there is not a row for each layer and projection."""
        if rows.metadata.num_rows != self.num_rows:
            raise ValueError(f"num_rows={self.num_rows}, but there are {rows.metadata.num_rows}")

    def frame(self) -> pd.DataFrame:
        """One row for each layer and projection: PAIR_COLUMNS and ROW_COLUMNS."""
        a, b = self.config_a, self.config_b
        rows: pd.DataFrame = read_rows(self.parquet, ROW_COLUMNS).to_pandas()
        pair: tuple[Any, ...] = (
            *(self.run_a, self.run_b, a.training_method, b.training_method, a.dataset, self.relation),
            *(a.model_id, a.num_labels, a.lr, a.run_idx, b.run_idx),
        )
        return rows.assign(**dict(zip(PAIR_COLUMNS, pair, strict=True)))[[*PAIR_COLUMNS, *ROW_COLUMNS]]


def examine_overlaps(root: Path) -> Examined[Overlap]:
    """Every pair below `root`, and the files that are not whole; UserError where one is newer than this."""
    return examine((root / "outputs" / "subspace").glob("*/*.json"), Overlap, SCHEMA)


# Updates


@dataclass(frozen=True)
class Update:
    """Thin singular value decomposition of an update of rank r; values descend and are above 0."""

    left: Floats  # [d_out, r]
    values: Floats  # [r]
    right: Floats  # [d_in, r]


Updates = Mapping[tuple[int, str], Update | None]
"""The update of every layer and projection that an adapter has; None where it is zero."""


def read_updates(folder: Path) -> Updates:
    """The updates of the LoRA adapter in `folder`; UserError where there is none that can be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    factors: dict[tuple[int, str], dict[str, Any]] = {}
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


def decompose(b: npt.ArrayLike, a: npt.ArrayLike, scaling: float = 1.0) -> Update | None:
    """The update scaling * B A of `b` [d_out, r] and `a` [r, d_in]; None where it is zero.

    Directions below the rounding of the largest (max(d_out, d_in) times the spacing of float64, as numpy's matrix_rank)
    are none of it. ValueError where r is 0, the factors do not fit each other, or a number is not finite.
    """
    outer, inner = np.asarray(b, dtype=np.float64), np.asarray(a, dtype=np.float64)
    if outer.ndim != 2 or inner.ndim != 2 or outer.shape[1] != inner.shape[0] or not len(inner):
        raise ValueError(f"B {list(outer.shape)} and A {list(inner.shape)}: want [d_out, r] and [r, d_in] with r > 0")
    if not (np.isfinite(outer).all() and np.isfinite(inner).all() and np.isfinite(scaling)):
        raise ValueError(f"B or A holds numbers that are not finite, or their scaling, {scaling}, is not")
    out_basis, out_rest = np.linalg.qr(outer)
    in_basis, in_rest = np.linalg.qr(inner.T)
    left, values, right = np.linalg.svd(scaling * out_rest @ in_rest.T, full_matrices=False)
    kept = values > values[0] * max(len(outer), inner.shape[1]) * np.finfo(np.float64).eps
    if not kept.any():
        return None
    return Update(out_basis @ left[:, kept], values[kept], in_basis @ right[kept].T)


# Overlaps


def energy_shares(update: Update) -> Floats:
    """Share [r] of each direction in the squared Frobenius norm, sigma_i^2 / sum_k sigma_k^2."""
    squares = np.square(update.values / update.values.max())
    shares: Floats = squares / squares.sum()
    return shares


def subspace_overlap(first: Floats, second: Floats) -> tuple[float, float]:
    """||U1' U2||_F^2 / min(r1, r2) of orthonormal bases [d, r1] and [d, r2] (Hu et al. 2021, section 7.2), and chance.

    1 where the smaller subspace is in the larger, 0 where they are orthogonal. Of equal ranks it is
    (1/r) ||U1' U2||_F^2. Of random subspaces it is on average max(r1, r2) / d.
    """
    products = _products(first, second)
    return float(np.square(products).sum() / min(products.shape)), max(products.shape) / len(first)


def energy_overlap(first: Floats, second: Floats, energies: tuple[Floats, Floats]) -> tuple[float, float]:
    """sum_ij p_i q_j (u_i . v_j)^2 / sqrt(sum_i p_i^2 sum_j q_j^2), p and q the `energy_shares`, and chance.

    It is the cosine between the two matrices D D' (for the left side; D' D for the right), so directions count by what
    the update puts into them: 1 where those matrices are proportional, 0 where the subspaces are orthogonal. Where the
    directions, but not their energies, are random, it is on average 1 / (d sqrt(...)).
    """
    p, q = energies
    norms = np.sqrt(np.square(p).sum() * np.square(q).sum())
    return float(p @ np.square(_products(first, second)) @ q / norms), float(1 / (len(first) * norms))


def effective_rank(update: Update) -> float:
    """exp of the entropy of the shares of energy: 1 for a single direction, r where all r are equal.

    Roy and Vetterli (2007) define it with the singular values themselves; here they are squared, so that a direction
    counts by its energy.
    """
    shares = energy_shares(update)
    p = shares[shares > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def cosine(first: Update, second: Update) -> float:
    """The cosine of the whole updates, <D1, D2>_F / (||D1|| ||D2||), from their factors."""
    weights = np.outer(first.values / np.linalg.norm(first.values), second.values / np.linalg.norm(second.values))
    aligned = _products(first.left, second.left) * _products(first.right, second.right)
    return float((weights * aligned).sum())


def _products(first: Floats, second: Floats) -> Floats:
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(f"bases {list(first.shape)} and {list(second.shape)}: want [d, r] with the same d")
    products: Floats = first.T @ second
    return products


def overlap_rows(one: Updates, other: Updates) -> pd.DataFrame:
    """ROW_COLUMNS of each layer and projection where both have an update."""
    rows: list[dict[str, Any]] = []
    for layer, projection in sorted(one.keys() & other.keys()):
        a, b = one[layer, projection], other[layer, projection]
        if a is None or b is None:
            continue
        row = {"layer": layer, "projection": projection, "cosine": cosine(a, b)}
        row |= {"rank_a": len(a.values), "rank_b": len(b.values)}
        row |= {"effective_rank_a": effective_rank(a), "effective_rank_b": effective_rank(b)}
        energies = energy_shares(a), energy_shares(b)
        for side, bases in (("left", (a.left, b.left)), ("right", (a.right, b.right))):
            row[f"{side}_overlap"], row[f"chance_{side}"] = subspace_overlap(*bases)
            row[f"{side}_energy_overlap"], row[f"chance_{side}_energy"] = energy_overlap(*bases, energies)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


# On disk


def pair_path(root: Path, pair: Pair) -> Path:
    """The JSON of the record of two runs."""
    one, other = pair.one, pair.other
    second = name_beside(one, other) if pair.relation == "methods" else f"run{other.config.run_idx}"
    name = store.safe_filename(f"{one.config.training_method}_{one.folder.name}_vs_{second}")
    return root / "outputs" / "subspace" / path_part(one.config.dataset) / f"{name}.json"


def make_overlap(root: Path, pair: Pair, updates: Callable[[Path], Updates], command: str) -> None:
    """Compare the `updates` of two runs, and write the record, unless it is of the present adapters."""
    path, runs = pair_path(root, pair), (pair.one, pair.other)
    adapters = [store.file_digest(run.folder / "adapter_model.safetensors") for run in runs]
    digests = {"adapter_sha256_a": adapters[0], "adapter_sha256_b": adapters[1]}
    with store.file_lock(path.with_suffix("")):
        if path.exists():
            reason = why_stale(path, read_whole(path, Overlap, SCHEMA), lambda _: digests)
            if reason is None:
                return
            log.warning("%s is made again: %s", path, reason)
        one, other = updates(pair.one.folder), updates(pair.other.folder)
        rows = overlap_rows(one, other)
        names = [run.folder.relative_to(root / "outputs").as_posix() for run in runs]
        content = {
            **{"schema": SCHEMA, "relation": pair.relation, "run_a": names[0], "run_b": names[1]},
            **{"config_a": pair.one.description["config"], "config_b": pair.other.description["config"]},
            **{"num_rows": len(rows), "num_absent": len(one.keys() | other.keys()) - len(rows)},
            **{**digests, "command": command},
        }
        write_measured(path, content, "rows_sha256", lambda file: rows.to_parquet(file, index=False))
