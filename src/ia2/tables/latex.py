"""A grid as a LaTeX table: booktabs rules, and nothing in a name that LaTeX would take for a command."""

from ia2.tables.grids import MISSING, Cell, Grid, GridColumn, Line, name_of, shown

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
NAMES = 2
"""Columns before the methods'."""
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Shrinks what is wider than the line, and nothing else."""


def escaped(text: str) -> str:
    """The text as LaTeX sets it, character by character; two hyphens would be joined to a dash."""
    return text.translate(_ESCAPED).replace("--", "-{}-")


def latex_table(grid: Grid, label: str, command: str) -> str:
    r"""The grid as a `table` with caption and `\label{tab:...}`; a comment says what made it and what it needs."""
    lines = [
        f"% {command}",
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escaped(grid.caption)}}}",
        rf"\label{{tab:{label}}}",
        FIT,
        rf"\begin{{tabular}}{{ll{'r' * len(grid.places)}}}",
        r"\toprule",
        *_headings(grid),
        r"\midrule",
        *(text for line in _with_gaps(grid) for text in line),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _headings(grid: Grid) -> list[str]:
    """The methods, each above its metrics and joined to them by a rule."""
    width = len(grid.metrics)
    methods = [rf"\multicolumn{{{width}}}{{c}}{{{escaped(column.heading)}}}" for column in grid.columns]
    starts = range(NAMES + 1, NAMES + 1 + len(grid.places), width)
    rules = [rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start in starts]
    names = ["Trained on", "Evaluated on", *(escaped(name_of(metric)) for _, metric in grid.places)]
    return [_row(["", "", *methods]), " ".join(rules), _row(names)]


def _with_gaps(grid: Grid) -> list[list[str]]:
    """The lines, with a gap before another training set."""
    before = [None, *(line.trained for line in grid.lines)]
    return [
        [*([r"\addlinespace"] if last not in (None, line.trained) else []), _row(_cells(grid, line))]
        for line, last in zip(grid.lines, before, strict=False)
    ]


def _cells(grid: Grid, line: Line) -> list[str]:
    names = [escaped(name) for name in line.names]
    return [*names, *(_cell(place, line.cells.get(place)) for place in grid.places)]


def _cell(place: tuple[GridColumn, str], cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    mean = shown(place[1], cell.mean)
    mean = rf"\textbf{{{mean}}}" if cell.best else mean
    return mean if cell.n < 2 else rf"{mean}{{\scriptsize\,$\pm$\,{shown(place[1], cell.sd)}}}"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
