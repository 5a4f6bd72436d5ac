"""What was learned, seen from inside: activations beside the teacher's, and updates beside each other.

Of many places only the first are drawn; `ia2 plot` draws them all, and more of each.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from markupsafe import Markup

from ia2.analysis.similarity import Similarity
from ia2.analysis.subspace import Overlap
from ia2.page.sections.base import PageData, Section
from ia2.page.svg import inline_svg
from ia2.page.templates import render
from ia2.plots import overlap_bars, similarity_by_layer
from ia2.plots.captions import BARS, layers_caption, overlap_caption
from ia2.plots.material import Place
from ia2.results.analyses import Compared, compared, layer_series, overlap_series
from ia2.results.captions import between, number, of_runs

MOST_FIGURES = 4
"""Figures of one section."""

Kind = TypeVar("Kind")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, order=True)
class Trained:
    """What the runs are of whose updates were compared."""

    dataset: str
    model_id: str
    num_examples: int

    @property
    def title(self) -> str:
        return f"{self.model_id} trained on {self.dataset}, N = {self.num_examples}"


def similarities(data: PageData) -> Section | None:
    """Similarity to the teacher by layer, for each place and N; comparisons between methods are in no figure."""
    found = _grouped((_place(one), one) for one in data.analyses.similarities)
    models = {title: known for title, members in found.items() if (known := compared(members, data.runs))}
    figures = [_similarity(title, models[title]) for title in list(models)[:MOST_FIGURES]]
    return _section(("similarity", "Do they compute what the teacher does?"), figures, list(models)[MOST_FIGURES:])


def _place(one: Similarity) -> str:
    place = Place(one.trained_dataset, one.eval_dataset, one.icl_source_dataset, one.icl_max_demos, one.model_id)
    return f"{place.title}, N = {one.num_train_examples}"


def _similarity(title: str, models: Sequence[Compared]) -> Markup:
    svg = inline_svg(similarity_by_layer(layer_series(models)), f"similarity {title}")
    counts = of_runs([len(model.runs) for model in models])
    examples = between([run.num_examples for model in models for run in model.runs])
    means = {model.title: float(np.mean([run.mean for run in model.runs])) for model in models}
    alternative = f"Cosine with the teacher by layer, {title}; over all layers: {_told(means)}."
    caption = layers_caption(title, counts, examples)
    return render("figure", svg=svg, title=title, alternative=alternative, caption=caption)


def overlaps(data: PageData) -> Section | None:
    """Overlap of the subspaces of updates, for each training set, base model and N."""
    found = _grouped((_trained(one), one) for one in data.analyses.overlaps if one.num_rows)
    figures = [_overlap(of, found[of]) for of in list(found)[:MOST_FIGURES]]
    left_out = [of.title for of in list(found)[MOST_FIGURES:]]
    return _section(("overlap", "Do methods change the same directions?"), figures, left_out)


def _trained(one: Overlap) -> Trained:
    config = one.config_a
    return Trained(config.dataset, config.model_id, config.num_labels)


def _overlap(of: Trained, pairs: Sequence[Overlap]) -> Markup:
    series = overlap_series(pairs)
    svg = inline_svg(overlap_bars(series), f"overlap {of.title}")
    means = {
        f"{name} ({'other run' if relation == 'runs' else 'same run'})": float(rows["left_overlap"].mean())
        for (name, relation), rows in series.groupby(["name", "relation"], sort=False)
    }
    alternative = f"Overlap of left singular subspaces, {of.title}: {_told(means)}."
    caption = overlap_caption(series, of.title, BARS)
    return render("figure", svg=svg, title=of.title, alternative=alternative, caption=caption)


def _told(means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(mean, '.3f')}" for name, mean in means.items())


def _grouped(pairs: Iterable[tuple[Key, Kind]]) -> dict[Key, list[Kind]]:
    groups: dict[Key, list[Kind]] = {}
    for key, one in pairs:
        groups.setdefault(key, []).append(one)
    return groups


def _section(named: tuple[str, str], figures: Sequence[Markup], left_out: Sequence[str]) -> Section | None:
    anchor, title = named
    html = render("figures", figures=figures, left_out=left_out, again="ia2 plot --plot_types similarity overlap")
    return Section(anchor, title, html) if figures else None
