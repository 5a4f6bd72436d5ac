"""What was shown wrong demonstrations is a control: never the teacher, never compared, never chosen by."""

import math
from pathlib import Path

import pandas as pd
import pytest
from made_up import MadeUpStore, config, settings

from ia2.cli import main
from ia2.config import PlotConfig, ReportConfig
from ia2.flows.plotting import plot
from ia2.flows.reporting import write_report
from ia2.results.advice import advice
from ia2.results.frame import aggregate, points, rows_of, summarise
from ia2.results.text import without_teacher
from ia2.tables import grids

TEACHER, CONTROL = "Base + demonstrations (teacher)", "Base + wrong labels (control)"


@pytest.fixture
def only_control(store: MadeUpStore) -> MadeUpStore:
    store.base((10.0, 62.5), eval=settings(control="wrong_labels"))
    store.adapter(config("tok"), 70.0, 0.5)
    store.adapter(config("act"), 60.0, 0.5)
    return store


def test_without_a_teacher_a_control_is_not_called_one(only_control: MadeUpStore) -> None:
    summary = only_control.summary()
    assert list(summary["label"][:2]) == ["Base, no demonstrations", CONTROL]
    assert TEACHER not in set(summary["label"])
    assert without_teacher(summary)
    named = set(points(only_control.scores(), "accuracy")["name"])
    assert CONTROL in named
    assert TEACHER not in named


def test_every_command_that_shows_results_names_it(
    only_control: MadeUpStore, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(only_control.root)
    assert main(["results", "--root", root]) == 0
    told = capsys.readouterr().out
    assert CONTROL in told
    assert TEACHER not in told
    assert main(["tables", "--root", root]) == 0
    assert "base + wrong" in capsys.readouterr().out
    page = write_report(ReportConfig(root=only_control.root)).read_text(encoding="utf-8")
    assert CONTROL in page
    assert TEACHER not in page
    assert "it is the <em>teacher</em>" not in page
    (table,) = Path(root).glob("reports/tables/*.csv")
    rows = pd.read_csv(table, keep_default_na=False)
    assert set(rows["details"][rows["with_icl"]]) == {"control wrong_labels"}
    assert plot(PlotConfig(root=only_control.root, plot_types=("accuracy",)))


def test_beside_the_teacher_it_has_a_row_of_its_own_and_the_other_pass_counts_once(store: MadeUpStore) -> None:
    store.base((10.0, 75.0), eval=settings(control="none"))
    store.base((10.0, 62.5), eval=settings(control="wrong_labels"))
    rows = store.rows()
    assert [(row.name, row.accuracy) for row in rows] == [
        ("Base, no demonstrations", 10.0),
        (TEACHER, 75.0),
        (CONTROL, 62.5),
    ]
    assert len({row.colour for row in rows}) == 3


def test_it_is_in_no_difference_no_selection_and_never_the_best(store: MadeUpStore) -> None:
    store.base((10.0, 75.0), eval=settings(control="none"))
    store.base((10.0, 100.0), eval=settings(control="wrong_labels"))
    for lr, accuracy, control in ((1e-3, 60.0, 90.0), (3e-4, 70.0, 50.0)):
        store.adapter(config("tok", lr=lr), accuracy, 0.5)
        store.adapter(config("tok", lr=lr), control, 0.5, eval=settings(control="wrong_labels"))
    chosen = store.selection("performance")
    assert [choice.chosen.lr for choice in chosen.choices] == [3e-4]
    rows = rows_of(summarise(chosen))
    assert all(math.isnan(row.p_value) for row in rows)
    (grid,) = grids(aggregate(chosen), ("accuracy",), "performance")
    best = list(grid.cells["heading"][grid.cells["best"]])
    assert best == ["base + demos"]
    (found,) = advice(summarise(chosen), chosen.records)
    assert "teacher 75.0%" in found.verdict
