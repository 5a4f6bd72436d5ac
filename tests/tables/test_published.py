"""The paper's numbers: those of section 3 of reference/method.md, and beside which of ours they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ia2.tables
from ia2.tables import Grid, beside_published

METHODS = {"ICL": ("base", True), "SFT": ("tok", False), "IA2": ("act", False), "IA2 -> SFT": ("a2t", False)}
METRICS = ("accuracy", "ece_published")


def grid(pair: tuple[str, str], *more: str) -> Grid:
    """All methods measured on one pair of datasets."""
    methods = [*METHODS.values(), *((name, False) for name in more)]
    cells = [
        {
            **{"trained_dataset": pair[0], "eval_dataset": pair[1], "source": "measured", "method": method},
            **{"with_icl": with_icl, "control": "", "details": "", "heading": f"{method} {with_icl}", "order": place},
            **{"metric": metric, "mean": 1.0, "sd": 0.1, "n": 3, "best": False, "rule": ""},
        }
        for place, (method, with_icl) in enumerate(methods)
        for metric in METRICS
    ]
    return Grid("Qwen/Qwen3-4B-Base", 4, "lora", "ground_truth", METRICS, pd.DataFrame(cells), "none")


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
    compared = beside_published(grid((trained, evaluated))).cells
    theirs = compared[compared["source"] == "published"]
    assert len(theirs) == (4 if ece is None else 8)
    method, with_icl = METHODS[name]
    found = theirs[(theirs["method"] == method) & (theirs["with_icl"] == with_icl)]
    wanted = {"accuracy": accuracy} if ece is None else {"accuracy": accuracy, "ece_published": ece}
    assert found.set_index("metric")["mean"].to_dict() == wanted
    assert list(compared["source"]) == ["measured"] * 8 + ["published"] * len(theirs)


def test_all_of_them_are_there() -> None:
    numbers = pd.read_csv(Path(ia2.tables.__file__).with_name("published.csv"))
    sizes = numbers.groupby(["model", "trained_dataset", "eval_dataset"]).size()
    assert sorted(sizes["Qwen3-4B-Base"]) == [4] * 4 + [8] * 8
    assert sizes["Llama-3.2-1B"].to_dict() == {("sst2", "sst2"): 10}


def test_soft_labels_are_those_of_tokl() -> None:
    ours = replace(grid(("sst2", "sst2"), "tokl"), model_id="meta-llama/Llama-3.2-1B", num_examples=8)
    cells = beside_published(ours).cells
    theirs = cells[(cells["source"] == "published") & (cells["method"] == "tokl")]
    assert theirs.set_index("metric")["mean"].to_dict() == {"accuracy": 55.9, "ece_published": 0.16}


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
def test_where_the_setting_is_another_there_are_none(changes: dict[str, Any]) -> None:
    ours = replace(grid(("sst2", "sst2")), **changes)
    compared = beside_published(ours)
    assert compared.cells is ours.cells
    assert compared.remark


def test_pairs_that_the_paper_lacks_are_named() -> None:
    cells = pd.concat([grid(pair).cells for pair in (("sst2", "sst2"), ("finsen", "poems"), ("gsm8ks", "gsm8k"))])
    compared = beside_published(replace(grid(("sst2", "sst2")), cells=cells))
    assert set(compared.cells.loc[compared.cells["source"] == "published", "eval_dataset"]) == {"sst2"}
    assert "finsen / poems*, gsm8ks / gsm8k*" in compared.remark


def test_a_metric_that_is_not_shown_brings_no_line() -> None:
    ours = replace(grid(("sst2", "sst2")), metrics=("nll",))
    assert set(beside_published(ours).cells["source"]) == {"measured"}
