"""Similarities and overlaps as text for the terminal, each beside its controls."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import pandas as pd

from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.methods import BASE, METHODS, OTHER_DEMONSTRATIONS, TEACHER
from ia2.results.captions import number
from ia2.results.text import aligned, mean_and_sd, settings_of, told_apart
from ia2.store import short_model_name

OF_SIMILARITY = (
    "Cosine of activations on the teacher's responses: mean over the layers and tokens of each example, then over "
    "examples;\n± sd over runs (ddof 1). teacher: the base model with demonstrations. base: without, the untrained "
    "student.\nother: a teacher shown other demonstrations, with the same responses fed to it."
)
CONTROLS = {TEACHER: "teacher", OTHER_DEMONSTRATIONS: "other"}
"""References of every model -> heading."""
OF_OVERLAP = (
    "Mean over layers and projections of each pair; ± sd over pairs (ddof 1). left, right: overlap of the singular "
    "subspaces of what\nan update writes and reads, energy: weighted by what it puts there, chance: what random ones "
    "would have; cosine: of the\nwhole updates. Runs of one index begin with the same A, so their right subspaces are "
    "alike before anything is learned."
)
SHOWN = {
    **{"left_overlap": "left", "chance_left": "chance"},
    **{"left_energy_overlap": "left energy", "chance_left_energy": "chance"},
    **{"right_overlap": "right", "chance_right": "chance", "cosine": "cosine"},
}
"""Column of the frame of an overlap -> heading."""
RELATIONS = {"methods": "two methods", "runs": "control: two runs"}

Kind = TypeVar("Kind")


def _sections(
    found: Iterable[Kind], title: Callable[[Kind], str], lines: Callable[[list[Kind]], list[str]], note: str
) -> str:
    """The lines of all of one title below it, and the note."""
    titled: dict[str, list[Kind]] = {}
    for one in found:
        titled.setdefault(title(one), []).append(one)
    return "\n\n".join([*("\n".join([text, *lines(of_it)]) for text, of_it in titled.items()), note])


def similarity_table(found: Sequence[Similarity]) -> str:
    """A table for each evaluation set and settings, over all runs: models beside controls, then pairs of methods."""
    return _sections(found, _asked, _similarity_lines, OF_SIMILARITY)


def _asked(one: Similarity) -> str:
    source = f"at most {one.icl_max_demos} demonstrations of {one.icl_source_dataset}, N = {one.num_train_examples}"
    pool = "" if one.icl_pool == "train" else f", pool {one.icl_pool}"
    answers = f"{one.num_examples} examples, T = {one.num_generated_tokens_eval}"
    stop = "" if one.stop == "separator" else f", stop {one.stop}"
    chat = ", chat template" if one.chat_template else ""
    return f"{one.eval_dataset} ({answers}{stop}{chat}), {source}{pool}, {short_model_name(one.model_id)}"


def _similarity_lines(found: list[Similarity]) -> list[str]:
    order, references = (TEACHER, BASE, *METHODS), (*CONTROLS, *METHODS)
    names = [one.method if one.reference in CONTROLS else f"{one.method}, {one.reference}" for one in found]
    names = told_apart(names, [settings_of(one.run, one.reference_run) for one in found])
    place = {one.path: (order.index(one.method), references.index(one.reference)) for one in found}
    rows: dict[str, dict[str, list[float]]] = {}
    pairs: dict[str, list[float]] = {}
    for one, name in sorted(zip(found, names, strict=True), key=lambda named: place[named[0].path]):
        if one.reference in CONTROLS:
            rows.setdefault(name, {}).setdefault(one.reference, []).append(one.mean)
        else:
            pairs.setdefault(name, []).append(one.mean)
    lines = [
        [name, *(mean_and_sd(row.get(control, [])) for control in CONTROLS), str(max(map(len, row.values())))]
        for name, row in rows.items()
    ]
    text = aligned(["cosine with", *CONTROLS.values(), "runs"], lines)
    if pairs:
        lines = [[name, mean_and_sd(values), str(len(values))] for name, values in pairs.items()]
        text += aligned(["between methods", "cosine", "runs"], lines)
    return text


def overlap_table(found: Sequence[Overlap]) -> str:
    """A table for each dataset, base model and N: pairs of methods, and below them pairs of runs of one method."""
    return _sections(found, _trained, _overlap_lines, OF_OVERLAP)


def _trained(one: Overlap) -> str:
    config = one.config_a
    return f"{config.dataset}, N = {config.num_labels}, {short_model_name(config.model_id)}"


def _overlap_lines(found: list[Overlap]) -> list[str]:
    text, order = [], list(METHODS)
    found = sorted(found, key=lambda one: [order.index(run.training_method) for run in (one.config_a, one.config_b)])
    for relation, heading in RELATIONS.items():
        related = [one for one in found if one.relation == relation]
        names = [f"{one.config_a.training_method}, {one.config_b.training_method}" for one in related]
        names = told_apart(names, [settings_of(one.config_a, one.config_b) for one in related])
        means: dict[str, list[pd.DataFrame]] = {}
        for one, name in zip(related, names, strict=True):
            means.setdefault(name, []).append(one.frame()[list(SHOWN)].mean().to_frame().T)
        if related:
            lines = [[name, *_cells(pd.concat(rows)), str(len(rows))] for name, rows in means.items()]
            text += aligned([heading, *SHOWN.values(), "pairs"], lines)
    return text


def _cells(means: pd.DataFrame) -> list[str]:
    """The mean over pairs; a chance level is no measurement, and has no spread."""
    return [
        number(float(means[column].mean()), ".3f") if column.startswith("chance") else mean_and_sd(means[column])
        for column in SHOWN
    ]
