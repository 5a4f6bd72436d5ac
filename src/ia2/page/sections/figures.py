"""What is drawn: accuracy, reliability and training, as inline SVG with captions and alternative texts.

A figure takes a tenth of a second and some ten kilobytes, so of many evaluation sets only the first are drawn, those
that were trained on before others. One figure then shows them all, and a page of its own draws a set that is missing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import pandas as pd
from markupsafe import Markup

from ia2.page.sections.base import PageData, Section
from ia2.page.svg import inline_svg
from ia2.page.templates import render
from ia2.plots import accuracy_bars, dev_loss_curves, metric_against_n, overview, reliability_diagram
from ia2.plots.captions import lines_caption
from ia2.plots.series import dev_loss_series, reliability_series
from ia2.results.captions import accuracy_caption, dev_loss_caption, number, overview_caption, reliability_caption
from ia2.results.points import Measurements, in_pass
from ia2.results.quantities import QUANTITIES
from ia2.results.summary import Group, rows_of

MOST_PANELS = 20
"""Models that the figures of one section show together, each a bar or a panel of its own."""
FEW_PANELS = 5
"""The same where not all evaluation sets are drawn, and one figure shows them all."""


def accuracy_figures(data: PageData) -> Section | None:
    """Accuracy bars of each evaluation set."""
    drawn = _within(data.groups, data)
    figures = [
        _figure(
            inline_svg(accuracy_bars(group.rows), f"accuracy {group.title}"), group, accuracy_caption, _accuracy_alt
        )
        for group in drawn
    ]
    figures += [_against_n(group, data) for group in drawn if _sizes(group, data) > 1]
    if len(drawn) < len(data.groups):
        figures.insert(0, _overview(data.groups, Shown("accuracy", "Accuracy (%)", ".1f", 100)))
    return _figures("accuracy", "Accuracy", figures, _left_out(data.groups, drawn))


def _sizes(group: Group, data: PageData) -> int:
    """How many numbers of training examples were evaluated."""
    return len({record.settings.num_train_examples for record in data.records_of(group)})


def _against_n(group: Group, data: PageData) -> Markup:
    """Accuracy without demonstrations against the number of training examples, the base model beside it."""
    selection = replace(data.selection, records=tuple(data.records_of(group)))
    points = in_pass(Measurements(selection, data.runs).points("accuracy"), with_icl=False)
    svg = inline_svg(metric_against_n(points, QUANTITIES["accuracy"]), f"accuracy against N {group.title}")
    told = ", ".join(f"{one['name']} at N = {one['num_examples']} {one['mean']:.1f}%" for _, one in points.iterrows())
    title = f"{group.title}: accuracy against N"
    alternative = f"Accuracy on {group.title} against the number of training examples: {told}."
    caption = lines_caption(points, group.title, data.selection.hp_selection)
    return render("figure", svg=svg, title=title, alternative=alternative, caption=caption)


def reliability_figures(data: PageData) -> Section | None:
    """Reliability diagrams of each evaluation set whose records have bins."""
    measured = [group for group in data.groups if any(record.shown_reliability for record in data.records_of(group))]
    drawn = _within(measured, data)
    figures = []
    for group in drawn:
        svg = inline_svg(
            reliability_diagram(reliability_series(group.rows, data.selection.records)), f"reliability {group.title}"
        )
        figures.append(_figure(svg, group, reliability_caption, _reliability_alt))
    if len(drawn) < len(measured):
        figures.insert(0, _overview(measured, Shown("ece", "Calibration error (ECE)", ".2f")))
    return _figures("calibration", "Can its confidence be believed?", figures, _left_out(measured, drawn))


def dev_loss_figures(data: PageData) -> Section | None:
    """Dev-loss curves, once for each training set: they do not depend on what was evaluated."""
    trained: dict[str, Group] = {}
    for group in data.groups:
        rows = group.rows[group.rows["rule"] != ""].drop_duplicates("records")  # both passes are of one training
        if len(rows):
            trained.setdefault(group.trained_dataset, Group(group.trained_dataset, group.trained_dataset, rows))
    drawn = _within(list(trained.values()), data)
    figures = []
    for group in drawn:
        series = dev_loss_series(group.rows, data.selection.records, data.runs)
        if len(series):
            svg = inline_svg(dev_loss_curves(series), f"dev loss {group.trained_dataset}")
            figures.append(_figure(svg, group, dev_loss_caption, _dev_loss_alt))
    left_out = [name for name in trained if name not in {group.trained_dataset for group in drawn}]
    return _figures("training", "Training", figures, left_out)


def _within(groups: Sequence[Group], data: PageData) -> list[Group]:
    """Those of the groups that are drawn, in their order: all of a small page, else as many as there are panels for."""
    if len(data.summary) <= MOST_PANELS:
        return list(groups)
    ordered = sorted(groups, key=lambda group: group.out_of_distribution)
    totals = list(accumulate(len(group.rows) for group in ordered))
    drawn = [group for group, total in zip(ordered, totals, strict=True) if total <= max(FEW_PANELS, totals[0])]
    return [group for group in groups if any(group is one for one in drawn)]


def _left_out(groups: Sequence[Group], drawn: Sequence[Group]) -> list[str]:
    return [group.title for group in groups if not any(group is one for one in drawn)]


AGAIN = "ia2 report --eval_datasets NAME --out reports/NAME.html"


@dataclass(frozen=True)
class Shown:
    """A column of the summary in an overview: its name on the axis, its form in words, and where the axis ends."""

    column: str
    label: str
    form: str
    greatest: float | None = None


def _overview(groups: Sequence[Group], shown: Shown) -> Markup:
    svg = inline_svg(overview(groups, shown.column, shown.label, shown.greatest), f"overview {shown.column}")
    rows = pd.concat([group.rows for group in groups])
    means = "; ".join(f"{group.title}: {_means(group, shown)}" for group in groups)
    told = {"alternative": f"{shown.label} on {means}.", "caption": overview_caption(rows)}
    return render("figure", svg=svg, title="All evaluation sets", **told)


def _means(group: Group, shown: Shown) -> str:
    return ", ".join(f"{row.name} {number(getattr(row, shown.column), shown.form)}" for row in rows_of(group.rows))


def _figure(
    svg: Markup, group: Group, caption: Callable[[pd.DataFrame], str], alternative: Callable[[Group], str]
) -> Markup:
    return render("figure", svg=svg, title=group.title, alternative=alternative(group), caption=caption(group.rows))


def _figures(anchor: str, title: str, figures: list[Markup], left_out: Sequence[str]) -> Section | None:
    html = render("figures", figures=figures, left_out=left_out, again=AGAIN)
    return Section(anchor, title, html) if figures else None


def _accuracy_alt(group: Group) -> str:
    bars = ", ".join(f"{row.name} {row.accuracy:.1f}%" for row in rows_of(group.rows))
    return f"Bar chart of accuracy on {group.title}: {bars}."


def _reliability_alt(group: Group) -> str:
    errors = ", ".join(f"{r.name} {r.ece:.2f}" for r in rows_of(group.rows) if not math.isnan(r.ece))
    return f"Reliability diagrams on {group.title}; calibration errors: {errors or 'not measured'}."


def _dev_loss_alt(group: Group) -> str:
    names = ", ".join(dict.fromkeys(row.name for row in rows_of(group.rows)))
    return f"Dev loss against step while training on {group.trained_dataset}: {names}."
