"""One self-contained report.html: what was done, what came out, and what it rests on.

A page is a list of sections, each a function of the same data that returns a section or nothing; later work adds to the
list. Nothing is fetched when the page is opened: figures are inline SVG, and the style sheet is part of the template.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from ia2.config import HpSelection
from ia2.report.advice import RULES, RULES_NOTE, advice
from ia2.report.captions import accuracy_caption, dev_loss_caption, reliability_caption
from ia2.report.cases import cases
from ia2.report.costs import StageCost
from ia2.report.examples import example_answers
from ia2.report.findings import findings
from ia2.report.plots import accuracy_bars, dev_loss_curves, reliability_diagram
from ia2.report.results import Record, Results
from ia2.report.runs import TrainedRun, read_runs
from ia2.report.selection import Selection, select
from ia2.report.series import dev_loss_series, reliability_series
from ia2.report.styles import style_of
from ia2.report.summary import Group, groups, rows_of, summarise
from ia2.report.svg import inline_svg
from ia2.report.tables import html_table
from ia2.report.teacher import THRESHOLDS
from ia2.report.templates import render, render_document

EMBEDDED_MODEL = "smollm2-135m"


@dataclass(frozen=True)
class PageData:
    """What every section is made from."""

    results: Results
    runs: tuple[TrainedRun, ...]
    selection: Selection
    groups: tuple[Group, ...]
    stages: tuple[StageCost, ...]


@dataclass(frozen=True)
class Section:
    """A titled part of the page; `html` is safe to include, `anchor` its id."""

    anchor: str
    title: str
    html: Markup


def render_page(results: Results, stages: Sequence[StageCost] = (), hp_selection: HpSelection = "dev_loss") -> str:
    """The page as HTML text; nothing is written. UserError where hyper-parameters cannot be chosen fairly."""
    runs = read_runs(results.root, results.records)
    selection = select(results.records, runs, hp_selection)
    data = PageData(results, runs, selection, tuple(groups(summarise(selection))), tuple(stages))
    sections = [section for make in SECTIONS if (section := make(data)) is not None]
    return render_document(sections=sections, title=_title(data))


def what_was_done(data: PageData) -> Section | None:
    """The experiment in sentences, from the records' own fields."""
    records = data.selection.records
    if not records:
        text = Markup("<p>There are no evaluation records below {}.</p>").format(data.results.root)
        return Section("done", "What was done", text)
    models = sorted({record.settings.model_id for record in records})
    facts = {
        "models": models,
        "trained": sorted({record.trained_dataset for record in records}),
        "evaluated": sorted({(record.settings.eval_dataset, record.num_examples) for record in records}),
        "numbers": sorted({record.settings.num_train_examples for record in records}),
        "tokens": sorted({record.settings.num_generated_tokens_eval for record in records}),
        "runs": sorted({record.settings.run_idx for record in records}),
        "methods": _methods(records),
        "quantised": EMBEDDED_MODEL in models,
    }
    return Section("done", "What was done", render("what_was_done", **facts))


def what_to_do(data: PageData) -> Section | None:
    """The method to take on each evaluation set, what that rests on, and the rules it follows from."""
    if not data.groups:
        return None
    given = advice(data.groups, data.selection.records)
    return Section("advice", "In short", render("advice", given=given, rules=RULES, notes=(RULES_NOTE, THRESHOLDS)))


def what_came_out(data: PageData) -> Section | None:
    """What each trained model gained on each evaluation set, and how much of it is format."""
    found = [
        (case.title, told)
        for group in data.groups
        for case in cases(group, data.selection.records)
        if (told := findings(case))
    ]
    return Section("findings", "What was gained", render("findings", groups=found)) if found else None


def results_table(data: PageData) -> Section | None:
    """The results table of each evaluation set."""
    if not data.groups:
        return None
    tables = [(group.title, html_table(group.rows)) for group in data.groups]
    starred = any(group.out_of_distribution for group in data.groups)
    return Section("results", "Results", render("tables", tables=tables, starred=starred))


def accuracy_figures(data: PageData) -> Section | None:
    """Accuracy bars of each evaluation set."""
    figures = [
        _figure(
            inline_svg(accuracy_bars(group.rows), f"accuracy {group.title}"), group, accuracy_caption, _accuracy_alt
        )
        for group in data.groups
    ]
    return _figures("accuracy", "Accuracy", figures)


def reliability_figures(data: PageData) -> Section | None:
    """Reliability diagrams of each evaluation set whose records have bins."""
    figures = []
    for group in data.groups:
        series = reliability_series(group.rows, data.selection.records)
        if len(series):
            svg = inline_svg(reliability_diagram(series), f"reliability {group.title}")
            figures.append(_figure(svg, group, reliability_caption, _reliability_alt))
    return _figures("calibration", "Can its confidence be believed?", figures)


def dev_loss_figures(data: PageData) -> Section | None:
    """Dev-loss curves, once for each training set: they do not depend on what was evaluated."""
    figures: dict[str, Markup] = {}
    for group in data.groups:
        series = dev_loss_series(group.rows, data.selection.records, data.runs)
        if len(series) and group.trained_dataset not in figures:
            svg = inline_svg(dev_loss_curves(series), f"dev loss {group.trained_dataset}")
            trained = Group(group.trained_dataset, group.trained_dataset, group.rows[group.rows["rule"] != ""])
            figures[group.trained_dataset] = _figure(svg, trained, dev_loss_caption, _dev_loss_alt)
    return _figures("training", "Training", list(figures.values()))


def examples(data: PageData) -> Section | None:
    """The first queries of each evaluation set, and what every model answered."""
    if not data.groups:
        return None
    shown = [(group.title, example_answers(group, data.selection.records)) for group in data.groups]
    return Section("examples", "Example answers", render("examples", groups=shown))


def costs(data: PageData) -> Section | None:
    """Seconds and bytes of each stage."""
    return Section("costs", "What it cost", render("costs", stages=data.stages)) if data.stages else None


def problems(data: PageData) -> Section | None:
    """Records that exist and could not be counted."""
    if not data.results.problems:
        return None
    found = [(problem.path.relative_to(data.results.root), problem.reason) for problem in data.results.problems]
    return Section("problems", "Records that could not be read", render("problems", problems=found))


SECTIONS: list[Callable[[PageData], Section | None]] = [
    what_to_do,
    what_came_out,
    problems,
    what_was_done,
    results_table,
    accuracy_figures,
    reliability_figures,
    dev_loss_figures,
    examples,
    costs,
]
"""The page from top to bottom."""


def _methods(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Each training method and what it was trained on, where it can differ, in the order of the methods' table."""
    runs = {(r.run.training_method, r.run.applicable().get("label_type", "")) for r in records if r.run}
    return sorted(runs, key=lambda pair: (style_of(pair[0]).order, pair[1]))


def _title(data: PageData) -> str:
    trained = sorted({group.trained_dataset for group in data.groups})
    return f"IA2 on {', '.join(trained)}" if trained else "IA2"


def _figure(
    svg: Markup, group: Group, caption: Callable[[pd.DataFrame], str], alternative: Callable[[Group], str]
) -> Markup:
    return render("figure", svg=svg, title=group.title, alternative=alternative(group), caption=caption(group.rows))


def _figures(anchor: str, title: str, figures: list[Markup]) -> Section | None:
    return Section(anchor, title, render("figures", figures=figures)) if figures else None


def _accuracy_alt(group: Group) -> str:
    bars = ", ".join(f"{row.name} {row.accuracy:.1f}%" for row in rows_of(group.rows))
    return f"Bar chart of accuracy on {group.title}: {bars}."


def _reliability_alt(group: Group) -> str:
    errors = ", ".join(f"{r.name} {r.ece:.2f}" for r in rows_of(group.rows) if not math.isnan(r.ece))
    return f"Reliability diagrams on {group.title}; calibration errors: {errors or 'not measured'}."


def _dev_loss_alt(group: Group) -> str:
    names = ", ".join(dict.fromkeys(row.name for row in rows_of(group.rows)))
    return f"Dev loss against step while training on {group.trained_dataset}: {names}."
