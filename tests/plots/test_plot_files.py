"""`ia2 plot` and `ia2 plot-all`: which files are written, of what, and what is told where none is."""

import logging
from pathlib import Path
from typing import Any

import pytest
from made_up import MadeUpStore, config, rewrite, settings

from ia2 import cli
from ia2.config import PlotAllConfig, PlotConfig
from ia2.errors import MachineError, UserError
from ia2.flows.plotting import plot, plot_all

FOLDER = Path("plots/unified/capitals/capitals_capitals_8")
UNCERTAIN = {"top1_accuracy": 60.0, "top5_accuracy": 70.0, "top10_accuracy": 80.0, "auroc": 0.7}


def names(paths: list[Path]) -> set[str]:
    assert all(path.exists() for path in paths)
    return {path.stem.removeprefix("smollm2-135m_") for path in paths}


def plotted(store: MadeUpStore, *kinds: str, **flags: Any) -> set[str]:
    return names(plot(PlotConfig(root=store.root, plot_types=kinds or ("accuracy",), **flags)))


@pytest.fixture
def two(store: MadeUpStore) -> MadeUpStore:
    """One run of `act` and one of `tok`, and the base model, with 8 examples."""
    store.base((1.0, 70.0))
    for method in ("act", "tok"):
        settled = config(method)
        store.run(settled, 0.5)
        store.adapter(settled, 60.0, 0.5)
    return store


def test_the_readmes_command_writes_the_readmes_files(two: MadeUpStore, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "--trained_dataset capitals --eval_dataset capitals --icl_source_dataset capitals --icl_max_demos 8"
    shown = "--model_types base tok act --plot_types accuracy"
    assert cli.main(["plot", "--root", str(two.root), *asked.split(), *shown.split()]) == 0
    written = {path.relative_to(two.root / FOLDER).as_posix() for path in (two.root / "plots").rglob("*.*")}
    stems = [f"smollm2-135m_accuracy_{when}_icl" for when in ("with", "without")]
    assert written == {f"{stem}.{end}" for stem in stems for end in ("png", "pdf")}
    assert f"wrote {FOLDER}/{stems[0]}.png and .pdf" in capsys.readouterr().out


def test_the_files_have_the_same_bytes_every_time(two: MadeUpStore) -> None:
    asked = PlotConfig(root=two.root, plot_types=("accuracy",), model_types=("act", "tok"))
    before = {path: path.read_bytes() for path in plot(asked)}
    assert {path.read_bytes()[:4] for path in before} == {b"\x89PNG", b"%PDF"}
    left = next(iter(before)).with_name(f".{next(iter(before)).name}.999999999.tmp")
    left.write_text("of a process that was killed", encoding="utf-8")
    assert {path: path.read_bytes() for path in plot(asked)} == before
    assert {path for path in left.parent.iterdir() if path.is_file()} == set(before), "nothing is left beside them"


@pytest.mark.usefixtures("undrawn")
def test_every_standard_type(two: MadeUpStore) -> None:
    paths = plot(PlotConfig(root=two.root, plot_types=("curves", "reliability", "cost", "calibration")))
    passes = ("with_icl", "without_icl")
    metrics = {f"{name}_{when}" for name in ("ece_equal_count", "nll", "brier") for when in passes}
    assert names(paths) == metrics | {f"reliability_N8_{when}" for when in passes} | {
        "dev_loss_N8",
        "cost_without_icl",
    }


@pytest.mark.usefixtures("undrawn")
def test_uncertainty_mode_plots_what_the_analysis_adds(store: MadeUpStore, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {f"without_icl_{name}": value for name, value in {"accuracy": 60.0, **UNCERTAIN}.items()}
    path = store.adapter(config("tok"), 60.0, 0.5, metrics=metrics)
    rewrite(path, gold_rank=range(40))
    assert plotted(store, "accuracy", uncertainty_mode=True) == {f"top{k}_accuracy_without_icl" for k in (1, 5, 10)}
    told = capsys.readouterr().out
    assert "top1_accuracy_with_icl: not measured with demonstrations; `ia2 evaluate --eval_with_icl` does" in told
    assert "label_accuracy: not measured; tasks with labels have it" in told
    assert plotted(store, "accuracy") == {"accuracy_without_icl"}


@pytest.mark.usefixtures("undrawn")
def test_where_there_is_no_auroc_the_analysis_may_have_been_made(
    store: MadeUpStore, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {f"without_icl_{name}": value for name, value in {"accuracy": 0.0, **UNCERTAIN}.items()}
    metrics.pop("without_icl_auroc", None)
    rewrite(store.adapter(config("tok"), 0.0, 0.5, metrics=metrics), gold_rank=range(40))
    plotted(store, "accuracy", "calibration", uncertainty_mode=True)
    assert "auroc: not measured (`ia2 evaluate --uncertainty_analysis` does), or all " in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_a_type_of_one_mode_is_drawn_in_either(two: MadeUpStore) -> None:
    with pytest.raises(UserError, match="nothing is drawn"):
        plotted(two, "entropy")
    assert "brier_without_icl" not in plotted(two, "reliability", uncertainty_mode=True)


def test_plot_all_is_both_modes_unless_one_is_named(store: MadeUpStore, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[list[tuple[str, bool]]] = []
    monkeypatch.setattr("ia2.flows.plotting._plot", lambda _, kinds: wanted.append(list(kinds)) or [])
    everything = PlotAllConfig(root=store.root)
    for changes in ({}, {"include_standard": True, "include_uncertainty": True}):
        plot_all(everything.model_copy(update=changes))
    assert wanted[0] == wanted[1]
    assert len(wanted[0]) == len(set(wanted[0])) == 12
    assert {("accuracy", False), ("accuracy", True), ("entropy", True), ("cost", False)} < set(wanted[0])
    plot_all(everything.model_copy(update={"include_standard": True}))
    assert not any(uncertain for _, uncertain in wanted[2])
    assert "entropy" not in dict(wanted[2])
    plot_all(everything.model_copy(update={"include_uncertainty": True}))
    assert ("accuracy", False) not in wanted[3]
    plot(PlotConfig(root=store.root, uncertainty_mode=True))
    assert wanted[4] == wanted[3]


# Names


@pytest.mark.usefixtures("undrawn")
def test_a_filter_that_leaves_something_out_stands_in_the_name(two: MadeUpStore) -> None:
    assert plotted(two, model_types=("base", "act", "tok")) == {"accuracy_without_icl", "accuracy_with_icl"}
    assert plotted(two, model_types=("act",)) == {"accuracy_without_icl+model_types=act"}
    two.adapter(config("act", num_train_examples=4), 40.0, 0.5, eval=settings(num_train_examples=4))
    assert plotted(two, num_examples=(4,)) == {"accuracy_without_icl+num_examples=4"}
    assert plotted(two, num_examples=(4, 8)) == {"accuracy_without_icl", "accuracy_with_icl"}
    two.adapter(config("tok", label_type="icl_outputs"), 40.0, 0.5)
    tail = "+label_types=icl_outputs"
    assert plotted(two, label_types=("icl_outputs",)) == {f"accuracy_with_icl{tail}", f"accuracy_without_icl{tail}"}
    assert "accuracy_without_icl+hp_selection=performance" in plotted(two, hp_selection="performance")


@pytest.mark.usefixtures("undrawn")
def test_folders_are_places_and_names_begin_with_the_model(store: MadeUpStore) -> None:
    rare = settings(eval_dataset="capitals_rare", icl_source_dataset="past_tense", icl_max_demos=3)
    store.adapter(config("act"), 60.0, 0.5, eval=settings())
    store.adapter(config("act"), 30.0, 0.5, eval=rare)
    store.base((0.0, 40.0), eval=rare)
    store.base((0.0, 40.0), eval=settings(model_id="org/Other-1B"))
    paths = plot(PlotConfig(root=store.root, plot_types=("accuracy",)))
    found = {path.relative_to(store.root / "plots" / "unified").as_posix() for path in paths if path.suffix == ".png"}
    assert found == {
        "capitals/capitals_capitals_8/smollm2-135m_accuracy_without_icl.png",
        "capitals/capitals_rare_past_tense_3/smollm2-135m_accuracy_without_icl.png",
        "capitals/capitals_rare_past_tense_3/smollm2-135m_accuracy_with_icl.png",
        "capitals/capitals_capitals_8/Other-1B_accuracy_without_icl.png",
        "capitals/capitals_capitals_8/Other-1B_accuracy_with_icl.png",
    }
    narrow = {"eval_datasets": ("capitals_rare",), "icl_source_datasets": ("past_tense",), "icl_max_demos": (3,)}
    assert plotted(store, **narrow, trained_datasets=("capitals",)) == {"accuracy_without_icl", "accuracy_with_icl"}


@pytest.mark.usefixtures("undrawn")
def test_two_models_of_one_name_are_not_drawn_over_each_other(two: MadeUpStore) -> None:
    two.base((0.0, 40.0), eval=settings(model_id="other/smollm2-135m"))
    with pytest.raises(UserError, match="have one name: choose with --model_id"):
        plotted(two)
    assert plotted(two, model_id="other/smollm2-135m") == {"accuracy_without_icl", "accuracy_with_icl"}


@pytest.mark.usefixtures("undrawn")
def test_a_base_model_alone_is_plotted(store: MadeUpStore) -> None:
    store.base((1.0, 70.0))
    assert plotted(store) == {"accuracy_without_icl", "accuracy_with_icl"}


# What is not drawn


@pytest.mark.usefixtures("undrawn")
def test_what_is_missing_is_told(two: MadeUpStore, capsys: pytest.CaptureFixture[str]) -> None:
    plotted(two, "cost", "adapters", "similarity", "overlap")
    told = capsys.readouterr().out
    for line in (
        "smollm2-135m_cost_with_icl: no trained run was evaluated with demonstrations",
        "smollm2-135m_adapters: two adapters at one N are needed to compare; evaluated: lora",
        "smollm2-135m_similarity: no comparison with the teacher; `ia2 similarity` makes them",
        "plots/unified/subspace_overlap: no pair of LoRA runs was compared; `ia2 subspace` does",
    ):
        assert line in told


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"eval_datasets": ("sst2",)}, "no record passes --eval_datasets sst2; there are capitals"),
        ({"trained_datasets": ("sst2",)}, "no record passes --trained_datasets sst2; there are capitals"),
        ({"icl_max_demos": (5,)}, "no record passes --icl_max_demos 5; there are 8"),
        ({"model_types": ("ia3-act",)}, "no record passes --model_types ia3-act; there are act, base, tok"),
        ({"model_types": ("sft",)}, "unknown method 'sft'"),
        ({"plot_types": ("similarity",)}, "nothing is drawn: nothing of what was asked for was measured"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_what_leaves_nothing_is_refused(two: MadeUpStore, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plot(PlotConfig(root=two.root, **flags))
    assert not (two.root / "plots").exists()


@pytest.mark.usefixtures("undrawn")
def test_an_empty_store_and_a_newer_record_are_refused(store: MadeUpStore) -> None:
    with pytest.raises(UserError, match=r"no evaluation record below .*; `ia2 evaluate` makes them"):
        plotted(store)
    store.base((1.0, 70.0), schema=99)
    with pytest.raises(UserError, match="schema 99, newer"):
        plotted(store)


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_record_is_named_and_the_rest_is_drawn(two: MadeUpStore, caplog: pytest.LogCaptureFixture) -> None:
    two.written[1].write_text("{")
    with caplog.at_level(logging.WARNING), pytest.raises(MachineError, match="1 record cannot be read"):
        plotted(two)
    assert f"{two.written[1]} is not counted" in caplog.text
    assert (two.root / FOLDER / "smollm2-135m_accuracy_without_icl.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_adapters_are_compared_where_there_are_two(two: MadeUpStore) -> None:
    two.adapter(config("ia3-act"), 50.0, 0.5)
    assert plotted(two, "adapters") == {f"adapters_{name}_N8_without_icl" for name in ("accuracy", "ece_equal_count")}
