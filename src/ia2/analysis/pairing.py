"""Pairs of trained runs that are compared with each other: two that differ in one thing alone.

Two methods of the same split and hyper-parameters differ in what was matched. Two runs of the same method differ in
their split and seed, which is the control: how alike are two runs anyway? Fields are compared, never names, and a field
that only one of two methods has is no difference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from ia2 import store
from ia2.config import METHOD_FIELDS
from ia2.methods import METHODS

if TYPE_CHECKING:  # which imports torch
    from ia2.training.trained_run import TrainedRun

Relation = Literal["methods", "runs"]


@dataclass(frozen=True)
class Pair:
    """Two runs, and their difference. Of two methods the one that comes first in METHODS is `one`."""

    one: TrainedRun
    other: TrainedRun
    relation: Relation


def pairs(runs: Sequence[TrainedRun]) -> list[Pair]:
    """Every two of them, of the same base model, whose difference is their method or their run alone."""
    order = list(METHODS)
    runs = sorted(runs, key=lambda run: (order.index(run.config.training_method), run.config.run_idx))
    relations: dict[str, Relation] = {"training_method": "methods", "run_idx": "runs"}
    found = []
    for (one, first), (other, second) in combinations(((run, _fields(run)) for run in runs), 2):
        differing = [name for name in first.keys() & second.keys() if first[name] != second[name]]
        if len(differing) == 1 and differing[0] in relations:
            found.append(Pair(one, other, relations[differing[0]]))
    return found


def _fields(run: TrainedRun) -> dict[str, Any]:
    """All that decides a run, in either regime, and its base model's weights."""
    regime, base = {"ldr_mode": run.config.ldr_mode}, run.description["base"]
    parts = {"parts": base["parts"]} if "parts" in base else {}  # a run may be older than they are
    return {**run.config.relevant_fields(), **regime, "revision": base["revision"], **parts}


def name_beside(run: TrainedRun, other: TrainedRun) -> str:
    """Name of `other`, of another method, in a name that begins with that of `run`: the fields that it alone has."""
    own, given = run.config.relevant_fields().keys(), other.config.changed()
    alone = {key: value for key, value in given.items() if key in other.config.relevant_fields().keys() - own}
    return f"{other.config.training_method}{store.name_tail(alone)}"


def together(run: TrainedRun) -> str:
    """A key to sort runs by, so that methods that are compared are neighbours."""
    left_out = METHOD_FIELDS | {"training_method"}
    return json.dumps({name: value for name, value in _fields(run).items() if name not in left_out}, sort_keys=True)
