"""Methods against datasets: what stands in which cell, what is best, and what is said of it."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from made_up import MadeUpStore, config, settings

from ia2.config import HpSelection
from ia2.errors import UserError
from ia2.results.frame import rows_of
from ia2.tables import Grid, grids, markdown_table, shown

METRICS = ("accuracy", "ece_equal_count")


def grids_of(
    store: MadeUpStore, hp_selection: HpSelection = "dev_loss", metrics: Sequence[str] = METRICS
) -> list[Grid]:
    return grids(store.scores(hp_selection), metrics, hp_selection)


def numbers(grid: Grid, metric: str = "accuracy") -> dict[tuple[str, ...], dict[str, float]]:
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for cell in rows_of(grid.cells[grid.cells["metric"] == metric]):
        found.setdefault((cell.trained_dataset, cell.eval_dataset), {})[cell.heading] = cell.mean
    return found


def test_the_grid_of_a_full_store_by_hand(full_store: MadeUpStore) -> None:
    (grid,) = grids_of(full_store)
    assert (grid.model_id, grid.num_examples, grid.adapter, grid.label_type) == (
        *("smollm2-135m", 8, "lora", "ground_truth"),
    )
    wanted = {"base": 0.0, "base + demos": 75.0, "tok": 75.0, "act": 65.0, "a2t": 85.0}
    assert list(grid.pivot(lambda cell: str(cell.n)).columns) == [
        (name, metric) for name in wanted for metric in METRICS
    ]
    assert numbers(grid) == {("capitals", "capitals"): pytest.approx(wanted)}
    # the runs of tok at the chosen learning rate: 70, 80 and 75, of mean 75 and squares 25 + 25 + 0 over 2
    accuracies = grid.cells[grid.cells["metric"] == "accuracy"]
    (cell,) = rows_of(accuracies[accuracies["method"] == "tok"])
    assert (cell.mean, cell.sd, cell.n) == (75.0, 5.0, 3)
    assert cell.rule.startswith("0.001, of lowest mean dev loss over 3 runs")
    assert list(accuracies["heading"][accuracies["best"]]) == ["a2t"]
    assert len({one.rule for one in (grid, *grids_of(full_store, "performance"))}) == 2


def test_the_number_of_runs_is_a_range_where_it_differs(full_store: MadeUpStore) -> None:
    full_store.adapter(config("tok"), 30.0, 0.5, eval=settings(eval_dataset="past_tense"))
    (grid,) = grids_of(full_store)
    assert "n = 1 to 3 runs" in grid.caption
    (cell,) = rows_of(grid.cells[(grid.cells["n"] == 1) & (grid.cells["metric"] == "accuracy")])
    assert math.isnan(cell.sd)


def test_out_of_distribution_is_starred_and_stands_below(store: MadeUpStore) -> None:
    for evaluated in ("aaa", "capitals", "bbb"):
        store.adapter(config("tok"), 70.0, 0.5, eval=settings(eval_dataset=evaluated))
    store.base((10.0, 20.0), eval=settings(eval_dataset="bbb"))
    (grid,) = grids_of(store)
    assert list(grid.cells["eval_dataset"]) == ["capitals"] * 2 + ["aaa"] * 2 + ["bbb"] * 6
    assert [line.split(" | ")[1] for line in markdown_table(grid).splitlines()[4:]] == ["capitals", r"aaa\*", r"bbb\*"]


def test_what_was_not_measured_has_no_cell(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5, metrics={"without_icl_accuracy": 70.0})
    store.adapter(config("act"), 60.0, 0.5, metrics={"without_icl_accuracy": 60.0})
    (grid,) = grids_of(store)
    assert set(zip(grid.cells["method"], grid.cells["metric"], strict=True)) == {
        ("tok", "accuracy"),
        ("act", "accuracy"),
    }
    assert set(grid.pivot(lambda _: "")[("tok", "ece_equal_count")]) == {"--"}


def test_a_table_for_each_model_n_adapter_and_label_type(store: MadeUpStore) -> None:
    """`act` has no label type and stands in the tables of both; the base model stands in all of its N."""
    store.base((0.0, 50.0))
    for method in ("tok", "act", "ia3-act"):
        store.adapter(config(method), 70.0, 0.5)
    store.adapter(config("tok", label_type="icl_outputs"), 60.0, 0.5)
    store.adapter(config("tok", num_train_examples=4), 40.0, 0.5, eval=settings(num_train_examples=4))
    store.base((0.0, 30.0), eval=settings(model_id="another/model"))
    found = {(g.model_id, g.num_examples, g.adapter, g.label_type): g for g in grids_of(store)}
    capitals = ("capitals", "capitals")
    base = {"base": 0.0, "base + demos": 50.0}
    assert {about: numbers(grid)[capitals] for about, grid in found.items()} == {
        ("another/model", 8, None, None): {"base": 0.0, "base + demos": 30.0},
        ("smollm2-135m", 4, "lora", "ground_truth"): {"tok": 40.0},
        ("smollm2-135m", 8, "ia3", None): {**base, "ia3-act": 70.0},
        ("smollm2-135m", 8, "lora", "ground_truth"): {**base, "tok": 70.0, "act": 70.0},
        ("smollm2-135m", 8, "lora", "icl_outputs"): {**base, "tok": 60.0, "act": 70.0},
    }
    assert "Hyper-parameters" not in found["another/model", 8, None, None].caption


def test_configurations_of_one_method_have_columns_of_their_own(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    store.adapter(config("tok", lora_r=16), 60.0, 0.5)
    store.adapter(config("act", chat_template=True), 50.0, 0.5, eval=settings(chat_template=True))
    store.adapter(config("act"), 40.0, 0.5)
    (grid,) = grids_of(store)
    headings = {"tok [lora_r 16]": 60.0, "tok [lora_r 8]": 70.0, "act": 40.0}
    heading = "act [chat_template True, train_chat_template True]"
    assert numbers(grid)["capitals", "capitals"] == {**headings, heading: 50.0}


def test_columns_differ_only_in_what_differs_on_one_line(store: MadeUpStore) -> None:
    for dataset, num_tokens in (("capitals", 8), ("sst2", 1)):
        changes = settings(eval_dataset=dataset, icl_source_dataset=dataset, num_generated_tokens_eval=num_tokens)
        store.adapter(config("tok", dataset=dataset, num_generated_tokens=num_tokens), 70.0, 0.5, eval=changes)
    (grid,) = grids_of(store)
    assert set(grid.cells["heading"]) == {"tok"}


def test_two_records_of_one_cell_are_refused(store: MadeUpStore) -> None:
    """The setting `late` was added after the first of them was written."""
    store.adapter(config("tok"), 70.0, 0.5)
    store.adapter(config("tok"), 60.0, 0.5, eval=settings(late=False))
    with pytest.raises(UserError, match=r"record00[01]\.json is another record of tok"):
        grids_of(store)


def test_what_was_measured_with_uncertainty_too_counts_once(store: MadeUpStore) -> None:
    for uncertainty in (True, False):
        extra = {"without_icl_entropy": 1.5} if uncertainty else {}
        changes: dict[str, Any] = {"eval": settings(uncertainty_analysis=uncertainty)}
        changes["metrics"] = {"without_icl_accuracy": 70.0} | extra
        store.adapter(config("tok"), 70.0, 0.5, **changes)
    (grid,) = grids_of(store)
    assert numbers(grid) == {("capitals", "capitals"): {"tok": 70.0}}


def test_records_read_by_another_reader_are_never_pooled(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    store.adapter(config("tok", run_idx=1), 90.0, 0.5, eval=settings(run_idx=1, reader="exact"))
    (grid,) = grids_of(store)
    assert numbers(grid)["capitals", "capitals"] == {"tok": 70.0, "tok [reader exact]": 90.0}


# The best


@pytest.mark.parametrize(
    ("metric", "tok", "act", "wanted"),
    [
        ("accuracy", 70.0, 69.9, {"tok"}),
        ("accuracy", 70.04, 69.96, {"tok", "act"}),  # both are shown as 70.0
        ("accuracy", 70.06, 70.04, {"tok"}),  # 70.1 and 70.0, though they are nearer to each other
        ("accuracy", 100.0, 99.0, {"tok"}),  # as numbers, not as text
        ("ece_equal_count", 0.1, 0.2, {"tok"}),
        ("label_ece_equal_width", 0.2, 0.1, {"act"}),
        ("nll", 10.5, 9.5, {"act"}),
        ("brier", 0.5, 0.4, {"act"}),
        ("macro_f1", 0.5, 0.4, {"tok"}),
        ("auroc", 0.5, 0.4, {"tok"}),
        ("parse_rate", 0.5, 0.4, {"tok"}),
        ("entropy", 0.5, 0.4, set()),
        ("uncertainty", 0.5, 0.4, set()),
    ],
)
def test_the_best_is_what_shows_best(
    full_store: MadeUpStore, metric: str, tok: float, act: float, wanted: set[str]
) -> None:
    scores = full_store.scores()
    means = {"tok": tok, "act": act}
    part = scores[scores["method"].isin(means) & (scores["metric"] == "accuracy")]
    (grid,) = grids(part.assign(metric=metric, mean=part["method"].map(means)), [metric], "dev_loss")
    assert set(grid.cells["method"][grid.cells["best"]]) == wanted


def test_one_alone_is_not_the_best(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    (grid,) = grids_of(store)
    assert not grid.cells["best"].any()


def test_percents_have_one_decimal_and_all_else_three() -> None:
    assert shown("label_accuracy", 70.06) == "70.1"
    assert shown("macro_f1", 0.12345) == "0.123"
