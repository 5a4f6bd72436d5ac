"""A grid as text: LaTeX that is whole by its structure and compiles, Markdown and CSV of the same numbers."""

import csv
import io
import math
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from ia2.tables import CSV_COLUMNS, Grid, csv_table, escaped, latex_table, markdown_table

NASTY = r"a_b%c&d#e$f{g}h\i~j^k[l]m--n*<o>|"
MODELS = {
    "tok [lora_r 8]": {"method": "tok", "with_icl": False, "control": "", "details": "lora_r 8", "order": 0},
    "a2t + demos": {"method": "a2t", "with_icl": True, "control": "", "details": "", "order": 1},
}


def cell(pair: tuple[str, str], heading: str, metric: str, mean: float, **more: object) -> dict[str, object]:
    named = {"trained_dataset": pair[0], "eval_dataset": pair[1], "heading": heading, **MODELS[heading]}
    return {
        **named,
        "metric": metric,
        "mean": mean,
        "sd": math.nan,
        "n": 1,
        "source": "measured",
        "best": False,
        **more,
    }


def grid_of(*cells: dict[str, object], remark: str = "") -> Grid:
    frame = pd.DataFrame(cells).assign(rule=lambda frame: frame.get("rule", "")).fillna({"rule": ""})
    return Grid(NASTY, 8, "lora", "ground_truth", ("accuracy", "ece_equal_count"), frame, "none", remark)


TOK, A2T = MODELS
OURS, OTHER, LAST = ("sst2", "sst2"), ("sst2", NASTY), ("gsm8k", "gsm8ks")
CELLS = (
    cell(OURS, TOK, "accuracy", 75.04, sd=5.0, n=3, best=True, rule="0.001"),
    cell(OURS, TOK, "ece_equal_count", 0.2, sd=0.01, n=3, rule="0.001"),
    cell(OURS, A2T, "accuracy", 70.0),
    cell(OURS, TOK, "accuracy", 80.0, n=0, source="published"),
    cell(OTHER, A2T, "ece_equal_count", 0.0, sd=0.0, n=2),
    cell(LAST, A2T, "ece_equal_count", 0.5),
)
GRID = grid_of(*CELLS)
LATEX = latex_table(GRID, "made-up", "ia2 tables")


def rows(latex: str) -> list[list[str]]:
    """The cells of each row of a tabular; one that spans columns stands for as many."""
    body = latex.split(r"\toprule")[1].split(r"\bottomrule", maxsplit=1)[0]
    lines = [line.removesuffix(r"\\") for line in body.splitlines() if line.endswith(r"\\")]
    return [[one for cell in re.split(r"(?<!\\)&", line) for one in spanned(cell.strip())] for line in lines]


def spanned(cell: str) -> list[str]:
    span = re.match(r"\\multicolumn\{(\d+)\}", cell)
    return [cell] * int(span[1]) if span else [cell]


def test_every_row_has_a_cell_for_every_column() -> None:
    columns = re.search(r"\\begin\{tabular\}\{(.*)\}", LATEX)
    assert columns is not None
    assert columns[1] == "llrrrr"
    assert {len(row) for row in rows(LATEX)} == {6}
    assert len(rows(LATEX)) == 2 + 4


def test_cells_by_hand() -> None:
    headings, names, *lines = rows(LATEX)
    assert headings[2:] == [r"\multicolumn{2}{c}{tok {[}lora\_r 8{]}}"] * 2 + [r"\multicolumn{2}{c}{a2t + demos}"] * 2
    assert names == ["Trained on", "Evaluated on", r"Acc. \%", "ECE", r"Acc. \%", "ECE"]
    assert lines[0] == [
        *("sst2", "sst2", r"\textbf{75.0}{\scriptsize\,$\pm$\,5.0}", r"0.200{\scriptsize\,$\pm$\,0.010}", "70.0", "--"),
    ]
    assert lines[1] == ["sst2", "sst2 (published)", "80.0", "--", "--", "--"]
    assert lines[2][2:] == ["--", "--", "--", r"0.000{\scriptsize\,$\pm$\,0.000}"]
    assert lines[3] == ["gsm8k", "gsm8ks{*}", "--", "--", "--", "0.500"]


def test_braces_and_environments_are_closed_in_order() -> None:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", re.sub(r"%.*", "", LATEX.replace(r"\%", ""))):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\(begin|end)\{(\w+)\}", LATEX) == [
        *(("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")),
    ]


def test_the_rules_are_those_of_booktabs() -> None:
    assert re.findall(r"\\(\w+rule)\b", LATEX) == ["toprule", "cmidrule", "cmidrule", "midrule", "bottomrule"]
    assert r"\cmidrule(lr){3-4} \cmidrule(lr){5-6}" in LATEX
    assert r"\hline" not in LATEX
    assert "|" not in LATEX.split(r"\begin{tabular}")[1].split("\n")[0]
    before_gap, after_gap = LATEX.split(r"\addlinespace")
    assert "gsm8ks" not in before_gap.split(r"\midrule")[1]
    assert "gsm8ks" in after_gap
    assert LATEX.splitlines()[:2] == ["% ia2 tables", r"% needs \usepackage{booktabs,graphicx}"]


def test_names_are_escaped() -> None:
    assert escaped("a_b 50% x&y") == r"a\_b 50\% x\&y"
    assert escaped("\\") == r"\textbackslash{}"
    assert escaped("{}~^#$") == r"\{\}\textasciitilde{}\textasciicircum{}\#\$"
    assert escaped("±→") == r"$\pm$$\rightarrow$"
    assert escaped("a--b-c") == "a-{}-b-c"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex (Debian: texlive-latex-recommended)")
def test_it_compiles(tmp_path: Path) -> None:
    """Names appear as they are, and a line that begins with a bracket or an asterisk is not taken for an option."""
    more = [cell((name, "x"), TOK, "accuracy", 1.0) for name in ("[1ex]", "*")]
    grid = grid_of(*CELLS, *more, remark="R_1 & 50%")
    (tmp_path / "table.tex").write_text(latex_table(grid, "made-up", "ia2 tables --x 50%"), encoding="utf-8")
    document = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{table}\end{document}"
    (tmp_path / "document.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    log = (tmp_path / "document.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log
    assert (tmp_path / "document.pdf").read_bytes().startswith(b"%PDF")
    assert "Overfull" not in log
    assert "Missing character" not in log


def test_markdown_by_hand() -> None:
    caption, _, headings, rule, first, *_, nasty, last = markdown_table(GRID).splitlines()
    assert caption.startswith(r"a\_b%c&d#e$f{g}h\\i~j^k\[l\]m--n\*\<o\>\|, N = 8, LoRA, labels: ground\_truth.")
    assert headings.startswith(r"| Trained on | Evaluated on | tok \[lora\_r 8\]: Acc. % | tok \[lora\_r 8\]: ECE |")
    assert rule == "| --- | --- | ---: | ---: | ---: | ---: |"
    assert first == "| sst2 | sst2 | **75.0** ± 5.0 | 0.200 ± 0.010 | 70.0 | -- |"
    assert nasty.endswith(r"\<o\>\|\* | -- | -- | -- | 0.000 ± 0.000 |")
    assert last == r"| gsm8k | gsm8ks\* | -- | -- | -- | 0.500 |"


def test_csv_by_hand() -> None:
    found = list(csv.DictReader(io.StringIO(csv_table(GRID))))
    assert len(found) == 6
    assert found[0] == {
        "model_id": NASTY,
        "num_train_examples": "8",
        "adapter": "lora",
        "label_type": "ground_truth",
        "trained_dataset": "sst2",
        "eval_dataset": "sst2",
        "source": "measured",
        "method": "tok",
        "with_icl": "False",
        "details": "lora_r 8",
        "metric": "accuracy",
        "mean": "75.04",
        "sd": "5.0",
        "n": "3",
        "best": "True",
        "hyper_parameters": "0.001",
    }
    assert [row["sd"] for row in found] == ["5.0", "0.01", "", "", "0.0", ""]
    assert [row["n"] for row in found] == ["3", "3", "1", "", "2", "1"]
    assert [row["source"] for row in found] == ["measured"] * 3 + ["published", "measured", "measured"]


def test_the_columns_of_the_csv_are_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "artifacts.md").read_text(encoding="utf-8")
    table = text.split("The CSV has a row for each number")[1].split("\n\n")[1]
    assert tuple(re.findall(r"`(\w+)`", "\n".join(line.split(" | ")[0] for line in table.splitlines()))) == CSV_COLUMNS
