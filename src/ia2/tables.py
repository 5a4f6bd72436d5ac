"""Tables: views of the frame of results as text, Markdown, HTML, LaTeX and CSV.

The results table has a row for each model of one evaluation set. A grid, of one base model, N, adapter and label type,
has a row for each (trained, evaluated) pair of datasets and a column for each model and metric; `act`, which has no
label type, is in the grids of all, and the base model in those of all adapters. Where hyper-parameters were chosen as
published, the paper's own measures are shown beside ours. What was not measured is a dash.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from ia2.config import HpSelection
from ia2.errors import UserError
from ia2.methods import BASE, METHODS, OTHER_DEMONSTRATIONS, TEACHER, parse_method
from ia2.results.frame import Row, rows_of, settings_of
from ia2.results.label import ADAPTER_LABELS, details, full_name, in_order, settings_of_runs, style_of
from ia2.results.quantities import OF_LABELS
from ia2.results.select import RULES
from ia2.results.text import (
    MISSING,
    P_VALUES,
    aligned,
    interval,
    mean_and_sd,
    num_runs,
    number,
    p_value,
    selection_rule,
    without_teacher,
)
from ia2.store import short_model_name

if TYPE_CHECKING:
    from ia2.analysis.similarity import Similarity
    from ia2.analysis.subspace import Overlap

# The results table


@dataclass(frozen=True)
class Column:
    """A column of the results table: `text` makes a cell of a row, `meaning` explains the heading on the page.

    `sorted_by` names the column of the frame that the page sorts it by; it is sorted as text where that is empty.
    """

    heading: str
    meaning: str
    text: Callable[[Row], str]
    sorted_by: str = ""
    in_terminal: bool = True
    as_published: bool = False


def _accuracy(row: Row) -> str:
    spread = "" if row.n < 2 else f" ± {row.accuracy_sd:.1f}"
    if spread and row.hp_selection == "performance":
        spread += f" ({row.accuracy_sd_published:.1f})"
    return number(row.accuracy, ".1f") + spread


COLUMNS = (
    Column("Model", "", lambda r: str(r.name)),
    Column(
        "Accuracy %", "exact match of the parsed answer over all examples: mean ± sd over runs", _accuracy, "accuracy"
    ),
    Column(
        "95%",
        "interval of accuracy: bootstrap over runs, then examples; near 0 and 100 that of Clopper and Pearson",
        interval,
        "low",
    ),
    Column(
        "− tok",
        "points of accuracy ahead of tok on the same splits and examples; in brackets the labels that tok used, which "
        "can be others than the model's own",
        lambda r: number(r.difference, "+.1f") + (f" ({r.tok_labels})" if r.tok_labels else ""),
        "difference",
    ),
    Column("p", "of that difference: paired permutation test over runs and examples, uncorrected", p_value, "p_value"),
    Column(
        "Anywhere %",
        "gold answer found anywhere in the whole response",
        lambda r: number(r.anywhere, ".1f"),
        "anywhere",
        in_terminal=False,
    ),
    Column("n", "runs", lambda r: str(r.n), "n"),
    Column(
        "ECE",
        "calibration error of the label, or of the first token of free text, 15 equal-count bins",
        lambda r: number(r.ece, ".3f"),
        "ece",
    ),
    Column(
        "ECE (published)",
        "that of the first token, with the confidence renormalised over the ten most probable tokens",
        lambda r: number(r.ece_published, ".3f"),
        "ece_published",
        as_published=True,
    ),
    Column(
        "floor",
        "the ECE a calibrated model would show at this n",
        lambda r: number(r.ece_floor, ".3f"),
        "ece_floor",
        in_terminal=False,
    ),
    Column(
        "NLL",
        "of the gold label, or of the gold first token of free text, in nats",
        lambda r: number(r.nll, ".2f"),
        "nll",
    ),
    Column("Labels", "gold labels used: training (or demonstrations) + dev", lambda r: str(r.labels), "num_labels"),
    Column("lr", "learning rate chosen", lambda r: number(r.lr, "g"), "lr"),
    Column(
        "Seconds",
        "training time of one run, all phases",
        lambda r: number(r.train_seconds, ".1f" if r.train_seconds < 10 else ".0f"),
        "train_seconds",
    ),
)


def columns_of(rows: pd.DataFrame) -> list[Column]:
    """The columns for these rows: the paper's own measures only where its way of choosing is taken."""
    return [column for column in COLUMNS if is_published(rows) or not column.as_published]


def is_published(rows: pd.DataFrame) -> bool:
    """True where hyper-parameters were chosen as published."""
    return bool((rows["hp_selection"] == "performance").any())


def text_table(summary: pd.DataFrame) -> str:
    """The view by model as text: a table for each evaluation set, with what * and the numbers mean below."""
    if summary.empty:
        return "No evaluation records."
    shown = [column for column in columns_of(summary) if column.in_terminal]
    parts = []
    for title, rows in summary.groupby("title", sort=False):
        lines = [[column.text(row) for column in shown] for row in rows_of(rows)]
        text = [str(title), *aligned([column.heading for column in shown], lines)]
        parts.append("\n".join([*text, *filter(None, [without_teacher(rows)])]))
    published = ", in brackets ddof 0 as published" if is_published(summary) else ""
    notes = [
        f"Accuracy: mean ± sd over runs (ddof 1{published}), {num_runs(summary)}; 95%: bootstrap interval over runs, "
        f"then examples. {P_VALUES} Labels: training + dev. {MISSING}: not measured.",
        selection_rule(summary),
    ]
    if summary["out_of_distribution"].any():
        notes.append("*: out of distribution, not the dataset trained on.")
    return "\n\n".join([*parts, "\n".join(notes)])


# Grids

NAMES = {"accuracy": "Acc. %", "ece_equal_count": "ECE", "ece_published": "ECE (published)"}
MEANINGS = {
    "accuracy": "exact match of the parsed answer over all examples",
    "ece_equal_count": "calibration error of the label, or of the first token of free text, 15 equal-count bins",
    "ece_published": "that of the first token, with the confidence renormalised over the ten most probable tokens",
}
OF_A_GRID = {"model_id", "num_train_examples", "label_type"}
LINE = ["trained_dataset", "eval_dataset", "source"]
NO_CELL = "--"


@dataclass(frozen=True)
class Grid:
    """One table: a row of `cells` for each model, pair of datasets and metric, in the order in which they are shown.

    No adapter where only the base model was measured, no label type where no method has one. Cells have `heading` (the
    model), `source` (measured or published), and `best`, true where as shown no other of their line is better.
    """

    model_id: str
    num_examples: int
    adapter: str | None
    label_type: str | None
    metrics: tuple[str, ...]
    cells: pd.DataFrame
    rule: str
    remark: str = ""

    @property
    def title(self) -> str:
        """The settings of the grid, in words."""
        parts = [self.model_id, f"N = {self.num_examples}"]
        if self.adapter is not None:
            parts.append(ADAPTER_LABELS[self.adapter].strip() or "LoRA")
        return ", ".join(parts + ([f"labels: {self.label_type}"] if self.label_type else []))

    @property
    def caption(self) -> str:
        """The model, the numbers, over how many runs, and how hyper-parameters were chosen."""
        counts = sorted(set(self.cells["n"]) - {0})
        runs = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")
        sentences = [
            self.title,
            *(f"{NAMES.get(metric, metric)}: {MEANINGS[metric]}" for metric in self.metrics if metric in MEANINGS),
            f"Mean ± sd over runs (ddof 1; none for one run), {runs} run{'s' if counts[-1] > 1 else ''}",
            "Without demonstrations, unless a column says + demos; base + demos is in-context learning (ICL)",
            *([f"Hyper-parameters, where several were trained: {self.rule}"] if self.adapter else []),
            "Bold: the best of its line, and what rounds to the same. A dash: not measured",
        ]
        if (self.cells["trained_dataset"] != self.cells["eval_dataset"]).any():
            sentences.append("*: out of distribution, not the dataset trained on")
        return ". ".join([*sentences, *([self.remark] if self.remark else [])]) + "."

    def pivot(self, text: Callable[[Row], str], missing: str = NO_CELL) -> pd.DataFrame:
        """The cells as texts: a row for each line, a column for each model and metric."""
        headings, lines = self.cells.sort_values("order")["heading"].unique(), self.cells[LINE].drop_duplicates()
        columns = pd.MultiIndex.from_product([headings, self.metrics])
        texts = self.cells.assign(text=[text(cell) for cell in rows_of(self.cells)])
        table = texts.pivot(index=LINE, columns=["heading", "metric"], values="text")
        table = table.reindex(index=pd.MultiIndex.from_frame(lines), columns=columns).astype(object)
        return table.where(table.notna(), missing)


def grids(scores: pd.DataFrame, metrics: Sequence[str], hp_selection: HpSelection) -> list[Grid]:
    """Every grid of an aggregate. UserError where two models share a cell."""
    if scores.empty:
        return []
    cells = pd.concat([_cells_of(metric, scores) for metric in metrics], ignore_index=True)
    found = []
    for _, models in cells.groupby(["model_id", "num_train_examples"]):
        model_id, num = str(models["model_id"].iloc[0]), int(models["num_train_examples"].iloc[0])
        for adapter in sorted(set(models["adapter"]) - {""}) or [None]:
            ours = models[models["adapter"].isin(["", adapter])]
            for label_type in sorted(ours["label_type"].dropna().unique()) or [None]:
                part = _laid_out(ours[ours["label_type"].isna() | (ours["label_type"] == label_type)])
                found.append(Grid(model_id, num, adapter, label_type, tuple(metrics), part, RULES[hp_selection]))
    return found


def _cells_of(metric: str, scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of a metric, of whole labels where the evaluation set has a closed set of them."""
    labelled = scores["eval_dataset"].isin(scores.loc[scores["metric"] == "label_accuracy", "eval_dataset"])
    rows = scores[scores["metric"] == labelled.map({True: OF_LABELS.get(metric, metric), False: metric})]
    rows = rows.reindex(columns=[*dict.fromkeys([*rows.columns, "label_type"])])
    adapters = ["" if method == "base" else parse_method(method).adapter for method in rows["method"]]
    return rows.assign(metric=metric, source="measured", adapter=adapters)


def _laid_out(part: pd.DataFrame) -> pd.DataFrame:
    """The cells of one grid, named by what models of a method differ in on one line, in order, the best marked."""
    kinds = list(zip(part["method"], part["with_icl"], part["control"], strict=True))
    lines = list(zip(part["trained_dataset"], part["eval_dataset"], part["metric"], strict=True))
    told = details(settings_of(part, OF_A_GRID | {"source", "adapter"}), kinds, lines)
    styles = [style_of(*kind) for kind in kinds]
    order: Any = [(style.order, in_order(text)) for style, text in zip(styles, told, strict=True)]
    cells = part.assign(
        details=told,
        heading=[full_name(style.tick.replace("\n", " "), text) for style, text in zip(styles, told, strict=True)],
        order=order,
        out_of_distribution=part["trained_dataset"] != part["eval_dataset"],
    )
    if (twice := cells.duplicated([*LINE, "heading", "metric"])).any():
        again = cells[twice].iloc[0]
        raise UserError(f"{again['records'][0]} is another record of {again['heading']}: delete one of the two")
    line = ["trained_dataset", "out_of_distribution", "eval_dataset"]
    ordered = cells.sort_values("order", kind="stable").sort_values(line, kind="stable")
    return ordered.assign(best=_best(ordered))


def shown(metric: str, value: float) -> str:
    """A number as tables show it: accuracies, which are percents, to one decimal, all else to three."""
    return format(value, ".1f" if metric.endswith("accuracy") else ".3f")


def _best(cells: pd.DataFrame) -> pd.Series[bool]:
    """True for all that show the best number of their line and metric, of two or more; a control is never the best."""
    signs = cells["metric"].map(_sign)
    numbers = signs * [float(shown(*pair)) for pair in zip(cells["metric"], cells["mean"], strict=True)]
    counted = (signs != 0) & (cells["control"] == "")
    groups = numbers.where(counted).groupby([cells[name] for name in (*LINE, "metric")])
    return counted & (numbers == groups.transform("max")) & (groups.transform("count") > 1)


def _sign(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is, 0 where neither is, as with the entropy."""
    if metric in ("nll", "brier") or "ece" in metric.split("_"):
        return -1
    return int(metric.endswith(("accuracy", "macro_f1", "auroc", "parse_rate")))


# Published numbers

SOURCE = "arXiv 2509.22621"
"""Mishra, Khashabi, Liu, "IA2: Alignment with ICL Activations Improves Supervised Fine-Tuning". Means over five runs,
without their sd, in published.csv; its SciQ without ECE is the free-text form, our sciqa, and its ECE our
`ece_published`."""


def beside_published(grid: Grid) -> Grid:
    """The grid with a published line below each line that the paper has, and a remark on what it has not."""
    numbers = pd.read_csv(Path(__file__).with_name("published.csv"))
    is_ours = numbers["model"].eq(short_model_name(grid.model_id)) & numbers["num_train_examples"].eq(grid.num_examples)
    numbers = numbers[is_ours] if (grid.adapter, grid.label_type) == ("lora", "ground_truth") else numbers[:0]
    if numbers.empty:
        return replace(grid, remark=f"{SOURCE} has no numbers of this model, N, adapter and label type")
    place = ["heading", "method", "with_icl", "control", "details", "order"]
    columns = grid.cells[place].drop_duplicates("heading")
    plain = columns[(columns["details"] == "") & (columns["control"] == "")]
    lines = grid.cells[["trained_dataset", "eval_dataset"]].drop_duplicates()
    theirs = numbers[numbers["metric"].isin(grid.metrics)].merge(plain, on=["method", "with_icl"]).merge(lines)
    theirs = theirs.assign(source="published", n=0, sd=float("nan"), best=False, rule="")
    cells = pd.concat([grid.cells, theirs], ignore_index=True)
    line = {pair: number for number, pair in enumerate(lines.itertuples(index=False, name=None))}
    pairs = list(zip(cells["trained_dataset"], cells["eval_dataset"], strict=True))
    cells = cells.assign(line=[line[pair] for pair in pairs]).sort_values(["line", "source"], kind="stable")
    there = set(zip(theirs["trained_dataset"], theirs["eval_dataset"], strict=True))
    missing = [" / ".join(_names(*pair)) for pair in line if pair not in there]
    remark = (
        f"Published: {SOURCE}, means over 5 runs, learning rates picked by accuracy on the evaluation set itself; its "
        "ECE is under ECE (published)"
    )
    remark += f". It has no numbers of {', '.join(missing)}" if missing else ""
    return replace(grid, cells=cells, remark=remark)


def _names(trained: str, evaluated: str, source: str = "measured") -> list[str]:
    """The training set, and the evaluation set with * where that is another."""
    starred = evaluated + "*" * (trained != evaluated)
    return [trained, f"{starred} (published)" if source == "published" else starred]


# Grids as files


def csv_table(grid: Grid) -> str:
    """A row for each cell, unrounded; what was not measured has no row, and what is not known is empty."""
    cells = grid.cells.assign(
        model_id=grid.model_id,
        num_train_examples=grid.num_examples,
        adapter=grid.adapter,
        label_type=grid.label_type,
        details=[
            ", ".join(filter(None, [control and f"control {control}", told]))
            for control, told in zip(grid.cells["control"], grid.cells["details"], strict=True)
        ],
        n=grid.cells["n"].astype(object).where(grid.cells["n"] > 0, ""),
        hyper_parameters=grid.cells["rule"],
    )
    text = io.StringIO()
    cells.to_csv(text, columns=list(CSV_COLUMNS), index=False, lineterminator="\n")
    return text.getvalue()


CSV_COLUMNS = (
    *("model_id", "num_train_examples", "adapter", "label_type", "trained_dataset", "eval_dataset", "source"),
    *("method", "with_icl", "details", "metric", "mean", "sd", "n", "best", "hyper_parameters"),
)


def markdown_table(grid: Grid) -> str:
    """The caption, then the table; the best in bold."""
    table = grid.pivot(lambda cell: _cell(cell, "**{}**", " ± "))
    names = [f"{heading}: {NAMES.get(metric, metric)}" for heading, metric in _levels(table)]
    headings = ["Trained on", "Evaluated on", *map(_plain, names)]
    rows = [[*map(_plain, _names(*line)), *cells] for line, cells in _lines(table)]
    lines = [headings, ["---", "---", *["---:"] * len(names)], *rows]
    return "\n".join([_plain(grid.caption), "", *(f"| {' | '.join(line)} |" for line in lines)]) + "\n"


def _lines(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], list[str]]]:
    """The lines of a pivot: training set, evaluation set and source, and the cells."""
    return zip(table.index.tolist(), table.to_numpy().tolist(), strict=True)


def _levels(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The headings and metrics of its columns."""
    columns: Any = table.columns
    return list(columns)


def _cell(cell: Row, bold: str, between: str, after: str = "") -> str:
    mean = shown(cell.metric, cell.mean)
    mean = bold.format(mean) if cell.best else mean
    return mean if cell.n < 2 else f"{mean}{between}{shown(cell.metric, cell.sd)}{after}"


def _plain(text: str) -> str:
    """The text, with a backslash before what Markdown would take for its own."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


_ESCAPED = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # behind a line's end it would be a distance
        "]": "{]}",
        "*": "{*}",  # and this would be a form of the line's end
        "±": r"$\pm$",
        "→": r"$\rightarrow$",
    }
)
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Shrinks what is wider than the line, and nothing else."""


def escaped(text: str) -> str:
    """The text as LaTeX sets it, character by character; two hyphens would be joined to a dash."""
    return text.translate(_ESCAPED).replace("--", "-{}-")


def latex_table(grid: Grid, label: str, command: str) -> str:
    r"""The grid as a `table` with caption and `\label{tab:...}`; a comment says what made it and what it needs."""
    table = grid.pivot(lambda cell: _cell(cell, r"\textbf{{{}}}", r"{\scriptsize\,$\pm$\,", "}"))
    headings, width = table.columns.unique(level=0), len(grid.metrics)
    rows = [["", "", *(rf"\multicolumn{{{width}}}{{c}}{{{escaped(heading)}}}" for heading in headings)]]
    rows.append(["Trained on", "Evaluated on", *(escaped(NAMES.get(metric, metric)) for _, metric in _levels(table))])
    starts = range(3, 3 + len(table.columns), width)
    body, last = [], None
    for line, cells in _lines(table):
        if last not in (None, line[0]):  # a gap before another training set
            body.append(r"\addlinespace")
        body.append(_row([*map(escaped, _names(*line)), *cells]))
        last = line[0]
    lines = [
        f"% {command}",
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escaped(grid.caption)}}}",
        rf"\label{{tab:{label}}}",
        FIT,
        rf"\begin{{tabular}}{{ll{'r' * len(table.columns)}}}",
        r"\toprule",
        _row(rows[0]),
        " ".join(rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start in starts),
        _row(rows[1]),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


# Similarities and overlaps, each beside its controls

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
    return _sections(found, _evaluated, _similarity_lines, OF_SIMILARITY)


def _evaluated(one: Similarity) -> str:
    source = f"at most {one.icl_max_demos} demonstrations of {one.icl_source_dataset}, N = {one.num_train_examples}"
    pool = "" if one.icl_pool == "train" else f", pool {one.icl_pool}"
    answers = f"{one.num_examples} examples, T = {one.num_generated_tokens_eval}"
    stop = "" if one.stop == "separator" else f", stop {one.stop}"
    chat = ", chat template" if one.chat_template else ""
    return f"{one.eval_dataset} ({answers}{stop}{chat}), {source}{pool}, {short_model_name(one.model_id)}"


def _similarity_lines(found: list[Similarity]) -> list[str]:
    order, references = (TEACHER, BASE, *METHODS), (*CONTROLS, *METHODS)
    found = sorted(found, key=lambda one: (order.index(one.method), references.index(one.reference)))
    names = [one.method if one.reference in CONTROLS else f"{one.method}, {one.reference}" for one in found]
    told = details([settings_of_runs(one.run, one.reference_run) for one in found], names)
    rows: dict[str, dict[str, list[float]]] = {}
    for one, name in zip(found, map(full_name, names, told), strict=True):
        reference = one.reference if one.reference in CONTROLS else "method"
        rows.setdefault(name, {}).setdefault(reference, []).append(one.mean)
    lines = [
        [name, *(mean_and_sd(row.get(control, [])) for control in CONTROLS), str(max(map(len, row.values())))]
        for name, row in rows.items()
        if "method" not in row
    ]
    text = aligned(["cosine with", *CONTROLS.values(), "runs"], lines)
    pairs = {name: row["method"] for name, row in rows.items() if "method" in row}
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
        told = details([settings_of_runs(one.config_a, one.config_b) for one in related], names)
        means = [one.frame()[list(SHOWN)].mean() for one in related]
        if related:
            frame = pd.DataFrame(means).assign(name=list(map(full_name, names, told)))
            lines = [[str(name), *_overlaps(rows), str(len(rows))] for name, rows in frame.groupby("name", sort=False)]
            text += aligned([heading, *SHOWN.values(), "pairs"], lines)
    return text


def _overlaps(means: pd.DataFrame) -> list[str]:
    """The mean over pairs; a chance level is no measurement, and has no spread."""
    return [
        number(float(means[column].mean()), ".3f") if column.startswith("chance") else mean_and_sd(means[column])
        for column in SHOWN
    ]
