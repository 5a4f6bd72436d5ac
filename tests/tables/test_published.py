"""The paper's numbers: those of section 3 of reference/method.md, and beside which of ours they stand."""

from dataclasses import replace

import pytest

from ia2.tables.grids import Cell, Grid, GridColumn, Line, Selected
from ia2.tables.published import PUBLISHED, beside_published

ABOUT = Selected("Qwen/Qwen3-4B-Base", 4, "lora", "ground_truth")
METHODS = {"ICL": ("base", True), "SFT": ("tok", False), "IA2": ("act", False), "IA2 -> SFT": ("a2t", False)}
COLUMNS = {name: GridColumn(*method) for name, method in METHODS.items()}
METRICS = ("accuracy", "ece_published")


def grid(about: Selected = ABOUT, **pairs: str) -> Grid:
    lines = tuple(
        Line(trained, evaluated, {(COLUMNS["SFT"], "accuracy"): Cell(1.0, 0.1, 3)})
        for trained, evaluated in pairs.items()
    )
    return Grid(about, METRICS, tuple(COLUMNS.values()), lines, "none")


@pytest.mark.parametrize(
    ("trained", "evaluated", "name", "accuracy", "ece"),
    [
        ("sst2", "sst2", "ICL", 85.4, 0.13),
        ("sst2", "finsen", "SFT", 68.4, 0.30),
        ("sst2", "poems", "IA2 -> SFT", 68.4, 0.30),
        ("agnews", "agnews", "IA2", 24.0, 0.11),
        ("sciq_remap", "qasc_remap", "SFT", 76.5, 0.09),
        ("gsm8k", "gsm8ks", "IA2 -> SFT", 68.8, None),
        ("sciqa", "sciqa", "IA2", 6.9, None),
    ],
)
def test_cells_of_the_paper(trained: str, evaluated: str, name: str, accuracy: float, ece: float | None) -> None:
    ours, theirs = beside_published(grid(**{trained: evaluated})).lines
    assert not ours.published
    assert theirs.published
    assert theirs.cells[COLUMNS[name], "accuracy"].mean == accuracy
    assert (COLUMNS[name], "ece_published") in theirs.cells or ece is None
    assert ece is None or theirs.cells[COLUMNS[name], "ece_published"].mean == ece
    assert len(theirs.cells) == (4 if ece is None else 8)


def test_all_of_them_are_there() -> None:
    sizes = {setting.model: {pair: len(cells) for pair, cells in lines.items()} for setting, lines in PUBLISHED.items()}
    assert sorted(sizes["Qwen3-4B-Base"].values()) == [4] * 4 + [8] * 8
    assert sizes["Llama-3.2-1B"] == {("sst2", "sst2"): 10}


def test_soft_labels_stand_under_tokl() -> None:
    ours = grid(replace(ABOUT, model_id="meta-llama/Llama-3.2-1B", num_examples=8), sst2="sst2")
    tokl = GridColumn("tokl", False)
    _, theirs = beside_published(replace(ours, columns=(*ours.columns, tokl))).lines
    assert theirs.cells[tokl, "accuracy"].mean == 55.9
    assert theirs.cells[tokl, "ece_published"].mean == 0.16


@pytest.mark.parametrize(
    "changes",
    [
        {"model_id": "meta-llama/Llama-3.2-1B-Instruct", "num_examples": 8},
        {"model_id": "Qwen/Qwen3-4B"},
        {"num_examples": 8},
        {"adapter": "ia3"},
        {"label_type": "icl_outputs"},
        {"label_type": None},
    ],
)
def test_where_the_setting_is_another_there_are_none(changes: dict[str, str | int | None]) -> None:
    ours = grid(replace(ABOUT, **changes), sst2="sst2")
    compared = beside_published(ours)
    assert compared.lines == ours.lines
    assert "arXiv 2509.22621 has no numbers of this model, N, adapter and label type" in compared.caption


def test_pairs_that_the_paper_lacks_are_named() -> None:
    compared = beside_published(grid(sst2="sst2", finsen="poems", gsm8ks="gsm8k"))
    assert [line.published for line in compared.lines] == [False, True, False, False]
    assert "It has no numbers of finsen / poems*, gsm8ks / gsm8k*." in compared.caption
    assert "It has no" not in beside_published(grid(sst2="sst2")).caption


def test_a_metric_that_is_not_shown_brings_no_line() -> None:
    ours = replace(grid(sst2="sst2"), metrics=("nll",))
    assert [line.published for line in beside_published(ours).lines] == [False]
