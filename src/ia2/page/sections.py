"""The sections of the page, from top to bottom: each a function of the same data that returns a section, or nothing.

A figure takes a tenth of a second and some ten kilobytes, so of many evaluation sets only the first are drawn, those
that were trained on before others. One figure then shows them all, and a page of its own draws a set that is missing.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from ia2.config import EMBEDDED_MODEL
from ia2.page.answers import browser_data
from ia2.page.data import PageData
from ia2.page.svg import inline_svg
from ia2.page.templates import json_for_script, render
from ia2.plots import (
    accuracy_bars,
    captions,
    dev_loss_curves,
    metric_against_n,
    overlap_bars,
    overview,
    reliability_diagram,
    similarity_by_layer,
)
from ia2.plots.drawings import Place
from ia2.plots.runs import dev_loss_series, reliability_series
from ia2.results.advice import RULES, RULES_NOTE, THRESHOLDS, cases, findings
from ia2.results.analyses import Compared, compared, layer_series, overlap_series
from ia2.results.frame import Row, aggregate, in_condition, points, rows_of
from ia2.results.label import style_of
from ia2.results.quantities import QUANTITIES
from ia2.results.records import Record
from ia2.results.text import MISSING, between, num_runs, number, of_runs, selection_rule, without_teacher
from ia2.results.trials import trials
from ia2.tables import columns_of

MOST_PANELS = 20
"""Models that the figures of one section show together, each a bar or a panel of its own."""
FEW_PANELS = 5
"""The same where not all evaluation sets are drawn, and one figure shows them all."""
MOST_ANALYSES = 4
"""Figures of a section of analyses; `ia2 plot` draws them all, and more of each."""
NUM_FIRST, NUM_FIRST_SETS = 3, 6
"""Queries of an evaluation set that are shown without the script, and sets of which they are."""
AGAIN = "ia2 report --eval_datasets NAME --out reports/NAME.html"

Kind = TypeVar("Kind")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Section:
    """A titled part of the page; `html` is safe to include, `anchor` its id."""

    anchor: str
    title: str
    html: Markup


# Sentences


def what_to_do(data: PageData) -> Section | None:
    """The method to take on each evaluation set, the evidence, and the rules it follows from."""
    html = render("advice", given=data.advice, rules=RULES, notes=(RULES_NOTE, THRESHOLDS))
    return Section("advice", "Advice", html) if data.advice else None


def what_came_out(data: PageData) -> Section | None:
    """The gain of each trained model on each evaluation set, and how much of it is format."""
    found = [(case.title, told) for case in cases(data.summary, data.selection.records) if (told := findings(case))]
    return Section("findings", "Gains", render("findings", groups=found)) if found else None


def problems(data: PageData) -> Section | None:
    """Files that exist and could not be counted."""
    if not data.problems:
        return None
    found = [(problem.path.relative_to(data.root), problem.reason) for problem in data.problems]
    return Section("problems", "Files that could not be read", render("problems", problems=found))


def what_was_done(data: PageData) -> Section | None:
    """The experiment in sentences, from the records' own fields."""
    trained = render("trials", trials=trials(data.runs, data.selection, data.records)) if data.runs else ""
    records = data.selection.records
    if not records:
        return Section("done", "Setup", render("nothing_evaluated", root=data.root) + trained)
    base, adapted = ([one for one in records if one.kind == kind] for kind in ("base", "adapter"))
    models = sorted({record.settings.model_id for record in records})
    runs = pd.Series([one.settings.run_idx for one in adapted], dtype=int).groupby([one.method for one in adapted])
    methods = {(one.run.training_method, one.run.method_in_words) for one in adapted if one.run}
    facts = {
        "models": models,
        "base": _conditions(base),
        "adapted": _conditions(adapted),
        "evaluated": sorted({(record.settings.eval_dataset, record.num_examples) for record in records}),
        "numbers": sorted({record.settings.num_train_examples for record in adapted}),
        "tokens": sorted({record.settings.num_generated_tokens_eval for record in records}),
        "runs": of_runs([*runs.nunique()]).removeprefix("n = ") if adapted else "",
        "methods": sorted(methods, key=lambda pair: (style_of(pair[0]).order, pair[1])),
        "quantised": EMBEDDED_MODEL in models,
    }
    return Section("done", "Setup", render("what_was_done", **facts) + trained)


def _conditions(records: Sequence[Record]) -> dict[str, Any]:
    """If there are records without demonstrations, where those of others came from, and which controls were wrong."""
    shown = [record for record in records if "with_icl_accuracy" in record.metrics]
    return {
        "records": records,
        "without": any("without_icl_accuracy" in record.metrics for record in records),
        "sources": sorted({record.settings.icl_source_dataset for record in shown if not record.control}),
        "controls": sorted({record.control for record in shown if record.control}),
    }


# Tables


def results_table(data: PageData) -> Section | None:
    """The results table of each evaluation set, each accuracy a link to its commands, and what filters them."""
    if not data.groups:
        return None
    tables = []
    for place, (title, rows) in enumerate(data.groups.items()):
        links = [row_anchor(place, row) for row in range(len(rows))]
        tables.append((title, html_table(rows, title, links)))
    starred = bool(data.summary["out_of_distribution"].any())
    labels = data.summary.sort_values("order", kind="stable")["label"].unique().tolist()
    return Section("results", "Results", render("tables", tables=tables, labels=labels, starred=starred))


def html_table(rows: pd.DataFrame, title: str = "", links: Sequence[str] = ()) -> str:
    """The rows of one group as an HTML table; cells are escaped. `links` are ids on the page, one for each row."""
    columns = columns_of(rows)
    numbers = [[getattr(row, one.sorted_by) if one.sorted_by else np.nan for one in columns] for row in rows_of(rows)]
    shown = [
        (
            row.label,
            link,
            [(one.text(row), None if np.isnan(of) else of) for one, of in zip(columns, cells, strict=True)],
        )
        for row, cells, link in zip(rows_of(rows), numbers, links or [""] * len(rows), strict=True)
    ]
    rule = f"{selection_rule(rows)} {without_teacher(rows)}".strip()
    return render("results_table", columns=columns, rows=shown, missing=MISSING, rule=rule, title=title)


def costs(data: PageData) -> Section | None:
    """Seconds and bytes of each stage."""
    return Section("costs", "Costs", render("costs", stages=data.stages)) if data.stages else None


# Figures


def accuracy_figure(data: PageData) -> Section | None:
    """Accuracy at a glance, of the greatest N of each evaluation set: one set as bars, several in one figure."""
    if not data.groups:
        return None
    num = data.summary["num_train_examples"]
    shown = data.summary[num == num.groupby(data.summary["title"]).transform("max")]
    caption = f"Mean accuracy, {num_runs(shown)}, N = {between([*shown['num_train_examples']])}; "
    caption += f"{'lines' if len(data.groups) > 1 else 'whiskers'}: 95% bootstrap intervals over runs, then examples."
    if len(data.groups) > 1:
        figure = _overview(shown, ("accuracy", "Accuracy (%)", ".1f", 100), caption)
    else:
        figure = _bars(next(iter(data.groups)), shown, caption)
    return _figures("accuracy", "Accuracy", [figure], [])


def _bars(title: str, rows: pd.DataFrame, caption: str) -> Markup:
    bars = ", ".join(f"{row.name} {row.accuracy:.1f}%" for row in rows_of(rows))
    return _figure(accuracy_bars(rows), "accuracy", title, f"Bar chart of accuracy on {title}: {bars}.", caption)


def accuracy_figures(data: PageData) -> Section | None:
    """Accuracy bars of each of several evaluation sets, and accuracy against N where there are several."""
    drawn = _within(data.groups, data)
    several = len(data.groups) > 1
    figures = [_bars(title, rows, captions.accuracy_caption(rows)) for title, rows in drawn.items() if several]
    for title, rows in drawn.items():
        records = tuple(data.records_of(rows))
        if len({record.settings.num_train_examples for record in records}) > 1:
            found = points(aggregate(replace(data.selection, records=records)), "accuracy")
            figures.append(_against_n(title, in_condition(found, with_icl=False), data))
    left_out = [title for title in data.groups if title not in drawn]
    return _figures("each-accuracy", "Accuracy by set", figures, left_out)


def _against_n(title: str, found: pd.DataFrame, data: PageData) -> Markup:
    """Accuracy without demonstrations against the number of training examples, the base model beside it."""
    told = ", ".join(f"{one.name} at N = {one.num_train_examples} {one.mean:.1f}%" for one in rows_of(found))
    alternative = f"Accuracy on {title} against the number of training examples: {told}."
    caption = captions.lines_caption(found, title, data.selection.hp_selection)
    figure = metric_against_n(found, QUANTITIES["accuracy"])
    return _figure(figure, "accuracy against N", f"{title}: accuracy against N", alternative, caption)


def reliability_figures(data: PageData) -> Section | None:
    """Reliability diagrams of each evaluation set whose records have bins."""
    measured = {
        title: rows
        for title, rows in data.groups.items()
        if any(record.shown_reliability for record in data.records_of(rows))
    }
    drawn = _within(measured, data)
    figures = []
    for title, rows in drawn.items():
        figure = reliability_diagram(reliability_series(rows, data.selection.records))
        errors = ", ".join(f"{row.name} {row.ece:.2f}" for row in rows_of(rows) if not np.isnan(row.ece))
        alternative = f"Reliability diagrams on {title}; calibration errors: {errors or 'not measured'}."
        figures.append(_figure(figure, "reliability", title, alternative, captions.reliability_caption(rows)))
    if len(drawn) < len(measured):
        every = pd.concat(measured.values())
        look = ("ece", "Calibration error (ECE)", ".2f", None)
        figures.insert(0, _overview(every, look, captions.overview_caption(every)))
    left_out = [title for title in measured if title not in drawn]
    return _figures("calibration", "Calibration", figures, left_out)


def dev_loss_figures(data: PageData) -> Section | None:
    """Dev-loss curves, once for each training set: they do not depend on what was evaluated."""
    trained: dict[str, pd.DataFrame] = {}
    for rows in data.groups.values():
        fitted = rows[rows["rule"] != ""].drop_duplicates("records")  # both conditions are of one training
        if len(fitted):
            trained.setdefault(fitted["trained_dataset"].iloc[0], fitted)
    drawn = _within(trained, data)
    figures = []
    for title, rows in drawn.items():
        series = dev_loss_series(rows, data.selection.records, data.runs)
        names = ", ".join(dict.fromkeys(rows["name"]))
        alternative = f"Dev loss against step while training on {title}: {names}."
        if len(series):
            figure = dev_loss_curves(series)
            figures.append(_figure(figure, "dev loss", title, alternative, captions.dev_loss_caption(rows)))
    return _figures("training", "Training", figures, [title for title in trained if title not in drawn])


def _within(groups: Mapping[str, pd.DataFrame], data: PageData) -> dict[str, pd.DataFrame]:
    """Those of the groups that are drawn, in their order: all of a small page, else as many as there are panels for."""
    if len(data.summary) <= MOST_PANELS:
        return dict(groups)
    ordered = sorted(groups, key=lambda title: bool(groups[title]["out_of_distribution"].iloc[0]))
    totals = list(accumulate(len(groups[title]) for title in ordered))
    drawn = {title for title, total in zip(ordered, totals, strict=True) if total <= max(FEW_PANELS, totals[0])}
    return {title: rows for title, rows in groups.items() if title in drawn}


def _overview(rows: pd.DataFrame, shown: tuple[str, str, str, float | None], caption: str) -> Markup:
    """All evaluation sets in a column of the view: its name on the axis, its form in words, and the end of the axis."""
    column, label, form, greatest = shown
    means = "; ".join(
        f"{title}: {', '.join(f'{row.name} {number(getattr(row, column), form)}' for row in rows_of(part))}"
        for title, part in rows.groupby("title", sort=False)
    )
    figure = overview(rows, column, label, greatest)
    return _figure(figure, f"overview {column}", "All evaluation sets", f"{label} on {means}.", caption)


def _figure(figure: Figure, kind: str, title: str, alternative: str, caption: str) -> Markup:
    svg = inline_svg(figure, f"{kind} {title}")
    return render("figure", svg=svg, title=title, alternative=alternative, caption=caption)


def _figures(
    anchor: str, title: str, figures: Sequence[Markup], left_out: Sequence[str], again: str = AGAIN
) -> Section | None:
    html = render("figures", figures=figures, left_out=left_out, again=again)
    return Section(anchor, title, html) if figures else None


# Analyses


def similarities(data: PageData) -> Section | None:
    """Similarity to the teacher by layer, for each place and N; comparisons between methods are in no figure."""
    places = [
        Place(one.trained_dataset, one.eval_dataset, one.icl_source_dataset, one.icl_max_demos, one.model_id)
        for one in data.similarities
    ]
    titles = [
        f"{place.title}, N = {one.num_train_examples}" for place, one in zip(places, data.similarities, strict=True)
    ]
    found = _grouped(zip(titles, data.similarities, strict=True))
    models = {title: known for title, members in found.items() if (known := compared(members, data.runs))}
    figures = [_similarity(title, models[title]) for title in list(models)[:MOST_ANALYSES]]
    return _analyses("similarity", "Similarity", figures, list(models))


def _similarity(title: str, models: Sequence[Compared]) -> Markup:
    counts = of_runs([len(model.runs) for model in models])
    examples = between([run.num_examples for model in models for run in model.runs])
    means = {model.name: float(np.mean([run.mean for run in model.runs])) for model in models}
    alternative = f"Cosine with the teacher by layer, {title}; over all layers: {_told(means)}."
    caption = captions.layers_caption(title, counts, examples)
    return _figure(similarity_by_layer(layer_series(models)), "similarity", title, alternative, caption)


def overlaps(data: PageData) -> Section | None:
    """Overlap of the subspaces of updates, for each training set, base model and N."""
    configs = [(one.config_a, one) for one in data.overlaps if one.num_rows]
    found = _grouped(((config.model_id, config.dataset, config.num_labels), one) for config, one in configs)
    titles = {of: f"{of[0]} trained on {of[1]}, N = {of[2]}" for of in found}
    figures = []
    for of in list(found)[:MOST_ANALYSES]:
        series, title = overlap_series(found[of]), titles[of]
        means = {
            f"{name} ({'other run' if relation == 'runs' else 'same run'})": float(rows["left_overlap"].mean())
            for (name, relation), rows in series.groupby(["name", "relation"], sort=False)
        }
        alternative = f"Overlap of left singular subspaces, {title}: {_told(means)}."
        caption = captions.overlap_caption(series, title, captions.BARS)
        figures.append(_figure(overlap_bars(series), "overlap", title, alternative, caption))
    return _analyses("overlap", "Overlap", figures, list(titles.values()))


def _told(means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(mean, '.3f')}" for name, mean in means.items())


def _grouped(pairs: Iterable[tuple[Key, Kind]]) -> dict[Key, list[Kind]]:
    groups: dict[Key, list[Kind]] = {}
    for key, one in pairs:
        groups.setdefault(key, []).append(one)
    return groups


def _analyses(anchor: str, title: str, figures: Sequence[Markup], titles: Sequence[str]) -> Section | None:
    return _figures(anchor, title, figures, titles[MOST_ANALYSES:], "ia2 plot --plot_types similarity overlap")


# Answers and commands


def examples(data: PageData) -> Section | None:
    """A browser of the queries and of what every model answered; without scripts, the first of each set."""
    if not data.groups:
        return None
    first = [one.first(NUM_FIRST) for one in data.query_sets[:NUM_FIRST_SETS]]
    told = json_for_script(browser_data(data.query_sets, data.root))
    html = render("examples", sets=first, num_first=NUM_FIRST, num_sets=len(data.query_sets), data=told)
    return Section("examples", "Answers", html)


def commands(data: PageData) -> Section | None:
    """The commands behind the page, behind each row of the results, and behind the comparisons."""
    groups = [(title, [reproduction(row, data) for row in rows_of(rows)]) for title, rows in data.groups.items()]
    typed = {
        "Similarity to the teacher": _once(one.command for one in data.similarities),
        "Overlap of updates": _once(one.command for one in data.overlaps),
    }
    if not groups and not any(typed.values()):
        return None
    rule = data.selection.hp_selection
    flags = "" if rule == "dev_loss" else f" --hp_selection {rule}"
    whole = [data.command, *(f"ia2 {command}{flags}" for command in ("results", "tables", "plot-all"))]
    html = render("commands", whole=whole, root=data.root, groups=groups, compared=typed, anchor=row_anchor)
    return Section("commands", "Commands", html)


def reproduction(row: Row, data: PageData) -> dict[str, Any]:
    """Commands that train and evaluate the runs of a model, and its records; what runs have in common once."""
    records = [data.from_path[path] for path in row.records]
    evaluate = [record.command for record in records]
    return {
        "row": row,
        "train": _once(record.run.command("train") for record in records if record.run),
        "evaluate": _once([*evaluate, *(record.reparsed.command for record in records if record.reparsed)]),
        "records": [record.path.relative_to(data.root) for record in records],
    }


def _once(commands: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, commands)))


def row_anchor(group: int, row: int) -> str:
    """The id of the commands of a row, by its place."""
    return f"commands-{group}-{row}"


SECTIONS: list[Callable[[PageData], Section | None]] = [
    accuracy_figure,
    results_table,
    problems,
    accuracy_figures,
    reliability_figures,
    examples,
    dev_loss_figures,
    similarities,
    overlaps,
    what_was_done,
    costs,
    what_to_do,
    what_came_out,
    commands,
]
"""The page from top to bottom."""
