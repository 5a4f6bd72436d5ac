"""What is drawn: accuracy, reliability and training, as inline SVG with captions and alternative texts."""

import math
from collections.abc import Callable

import pandas as pd
from markupsafe import Markup

from ia2.report.captions import accuracy_caption, dev_loss_caption, reliability_caption
from ia2.report.plots import accuracy_bars, dev_loss_curves, reliability_diagram
from ia2.report.sections.base import PageData, Section
from ia2.report.series import dev_loss_series, reliability_series
from ia2.report.summary import Group, rows_of
from ia2.report.svg import inline_svg
from ia2.report.templates import render


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
