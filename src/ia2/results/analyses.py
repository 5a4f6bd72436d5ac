"""Similarities and overlaps as the frames that figures take: one comparison or pair of models under one name.

A similarity is shown of the hyper-parameters that dev loss chose, as records are; an overlap of all, since both runs of
a pair share theirs. Controls stand beside: the untrained student, the teacher with other demonstrations, other runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import PAIR_COLUMNS, ROW_COLUMNS, Overlap
from ia2.config import TrainConfig
from ia2.methods import TEACHER
from ia2.results.frame import OF_N, lines_of
from ia2.results.label import details, full_name, settings_of_runs, style_of
from ia2.results.records import Record
from ia2.results.runs import TrainedRun, config_key
from ia2.results.select import HYPERPARAMETERS, cell_of, choose

NORMAL = 1.96
SETTINGS = ("num_generated_tokens_eval", "icl_pool", "stop", "num_eval_examples", "chat_template")
OTHER = "Base, other demonstrations (control)"
PER_METRIC = {"accuracy": "without_icl_accuracy", "ece_equal_count": "without_icl_ece_equal_count"}
BY_LAYER = ["name", "method", "with_icl", "variation", "layer", "cosine", "low", "high"]
PAIRS = ["dataset", "name", "method", "with_icl", "variation", "similarity", *PER_METRIC]


@dataclass(frozen=True)
class Compared:
    """A model compared with the teacher, and the comparisons of its runs; `variation` counts those of one method."""

    name: str
    method: str
    with_icl: bool
    variation: int
    runs: tuple[Similarity, ...]


def compared(similarities: Iterable[Similarity], runs: Sequence[TrainedRun]) -> list[Compared]:
    """The models of chosen hyper-parameters and what each has in common with its teacher, in the order of the methods.

    Beside the teacher itself is another draw of demonstrations. Comparisons between methods are left out.
    UserError where hyper-parameters cannot be chosen fairly.
    """
    wanted = [one for one in similarities if TEACHER in (one.method, one.reference)]
    choices = choose(_candidates([one.run for one in wanted if one.run], runs))
    shown = [one for one in wanted if one.run is None or any(choice.accepts(one.run) for choice in choices)]
    kinds = [("base" if one.run is None else one.method, one.shows_demonstrations) for one in shown]
    settings = [_fields(one.run) | {name: getattr(one, name) for name in SETTINGS} for one in shown]
    groups: dict[tuple[str, bool, int], list[Similarity]] = {}
    names = {}
    for one, kind, (text, variation) in zip(shown, kinds, lines_of(kinds, settings), strict=True):
        groups.setdefault((*kind, variation), []).append(one)
        names[*kind, variation] = OTHER if one.method == TEACHER else full_name(style_of(*kind).label, text)
    in_order = sorted(groups, key=lambda of: (style_of(*of[:2]).order, of[2]))
    return [Compared(names[of], *of, tuple(groups[of])) for of in in_order]


def _candidates(compared_runs: Sequence[TrainConfig], runs: Sequence[TrainedRun]) -> list[TrainedRun]:
    """Every run of the cells that were compared; one whose folder has gone is still known, but not its dev loss."""
    cells, known = {cell_of(config) for config in compared_runs}, {run.key for run in runs}
    gone = {config_key(config): TrainedRun(config, None) for config in compared_runs if config_key(config) not in known}
    return [*(run for run in runs if cell_of(run.config) in cells), *gone.values()]


def _fields(run: TrainConfig | None) -> dict[str, Any]:
    """The fields that can tell the models of a method apart: not N, the run or the hyper-parameters."""
    dropped = {*OF_N, *HYPERPARAMETERS, "run_idx", "model_id", "dataset", "training_method"}
    return {name: value for name, value in run.relevant_fields().items() if name not in dropped} if run else {}


def heat_map_series(models: Sequence[Compared]) -> pd.DataFrame:
    """name, layer, token, cosine: the mean over the runs that have such a token."""
    frames = [
        pd.concat([run.by_layer_and_token() for run in model.runs])
        .groupby(["layer", "token"], as_index=False)["cosine"]
        .mean()
        .assign(name=model.name)
        for model in models
    ]
    return (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["name", "layer", "token", "cosine"])
    )


def layer_series(models: Sequence[Compared]) -> pd.DataFrame:
    """The frame of `similarity_by_layer`; the runs answered the same examples, so their intervals are averaged."""
    frames = []
    for model in models:
        every = pd.concat([run.by_layer() for run in model.runs])
        every["half"] = NORMAL * every["sd"] / np.sqrt(every["n"])
        mean = every.groupby("layer", as_index=False)[["cosine", "half"]].mean()
        mean["low"], mean["high"] = mean["cosine"] - mean["half"], mean["cosine"] + mean["half"]
        mean["name"], mean["method"], mean["with_icl"] = model.name, model.method, model.with_icl
        frames.append(mean.assign(variation=model.variation)[BY_LAYER])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=BY_LAYER)


def performance_pairs(models: Sequence[Compared], records: Iterable[Record]) -> pd.DataFrame:
    """A row for each trained run: its similarity to the teacher, and what was measured of it without demonstrations.

    Both on one evaluation set and with responses of at most as many tokens.
    """
    measured = {
        (config_key(one.run), one.settings.eval_dataset, one.settings.num_generated_tokens_eval): one
        for one in records
        if one.run and not one.control
    }
    rows = []
    for model in models:
        style = {"name": model.name, "method": model.method, "variation": model.variation}
        for one in model.runs:
            if one.run is None or model.with_icl:
                continue
            record = measured.get((config_key(one.run), one.eval_dataset, one.num_generated_tokens_eval))
            if record is None:
                continue
            numbers = {name: record.metrics.get(metric, np.nan) for name, metric in PER_METRIC.items()}
            told = {"dataset": one.eval_dataset, "with_icl": False, "similarity": one.mean}
            rows.append({**style, **told, **numbers})
    return pd.DataFrame(rows, columns=PAIRS)


def overlap_series(pairs: Sequence[Overlap]) -> pd.DataFrame:
    """The rows of these pairs, each with the name of its pair of methods; methods before controls, in their order."""
    names = [f"{one.config_a.training_method} – {one.config_b.training_method}" for one in pairs]
    told = details([settings_of_runs(one.config_a, one.config_b) for one in pairs], names)
    in_order = sorted(zip(map(_place, pairs), map(full_name, names, told), pairs, strict=True), key=lambda one: one[:2])
    frames = [pair.frame().assign(name=name) for _, name, pair in in_order if pair.num_rows]
    return (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["name", *PAIR_COLUMNS, *ROW_COLUMNS])
    )


def _place(pair: Overlap) -> tuple[bool, int, int]:
    orders = [style_of(config.training_method).order for config in (pair.config_a, pair.config_b)]
    return pair.relation == "runs", orders[0], orders[1]
