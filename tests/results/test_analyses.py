"""From stored similarities and overlaps to the frames of figures, worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
from made_up import MadeUpStore, settings
from made_up_comparisons import ROWS, write_overlap, write_similarity

from ia2.analysis.similarity import examine_similarities
from ia2.analysis.subspace import examine_overlaps
from ia2.cli import main
from ia2.config import PlotConfig, TrainConfig
from ia2.errors import MachineError, UserError
from ia2.flows.plotting import plot
from ia2.results.analyses import compared, heat_map_series, layer_series, overlap_series, performance_pairs
from ia2.results.records import examine_records
from ia2.results.runs import TrainedRun

BASE = {"run": None, "method": "base"}
OTHERS = {"run": None, "method": "teacher", "reference": "other_demonstrations", "shows_demonstrations": True}


def run(method: str = "act", **changes: Any) -> TrainConfig:
    fields = {"dataset": "capitals", "num_train_examples": 8, "num_generated_tokens": 2, "model_id": "tiny", **changes}
    return TrainConfig(training_method=method, **fields)


def fill(root: Path) -> None:
    """Two runs of `act`, a run of `tok`, the controls, and what is no comparison with the teacher."""
    for run_idx in (0, 1):
        rows = [(idx, layer, token, cosine / (1 + run_idx)) for idx, layer, token, cosine in ROWS]
        layers = [{"layer": layer, "cosine": 0.5, "sd": 0.1 * (1 + run_idx), "n": 4} for layer in (0, 1)]
        changes = {"run": run(run_idx=run_idx).relevant_fields(), "run_idx": run_idx, "mean": 0.5 + run_idx / 10}
        write_similarity(root, f"act{run_idx}", rows, layers=layers, **changes)
    write_similarity(root, "tok", run=run("tok").relevant_fields(), method="tok")
    write_similarity(root, "base", **BASE)
    write_similarity(root, "teacher", **OTHERS)
    write_similarity(root, "other", run=run().relevant_fields(), reference="other_demonstrations")
    write_similarity(
        root, "pair", run=run().relevant_fields(), reference="tok", reference_run=run("tok").relevant_fields()
    )


def trained(*configs: TrainConfig) -> list[TrainedRun]:
    return [TrainedRun(config, 0.5) for config in configs]


def test_models_stand_beside_the_teacher_and_controls_beside_them(tmp_path: Path) -> None:
    fill(tmp_path)
    models = compared(examine_similarities(tmp_path).found, trained(run(), run(run_idx=1), run("tok")))
    assert [(model.name, len(model.runs)) for model in models] == [
        ("Base, no demonstrations", 1),
        ("Base, other demonstrations (control)", 1),
        ("tok (SFT)", 1),
        ("act (IA2)", 2),
    ]


def test_only_the_chosen_rate_is_shown(tmp_path: Path) -> None:
    for lr, mean in ((1e-4, 0.3), (1e-3, 0.7)):
        write_similarity(tmp_path, f"{lr}", run=run(lr=lr).relevant_fields(), mean=mean)
    losses = [TrainedRun(run(lr=1e-4), 0.2), TrainedRun(run(lr=1e-3), 0.9)]
    (model,) = compared(examine_similarities(tmp_path).found, losses)
    assert [one.mean for one in model.runs] == [0.3]


def test_runs_whose_folders_have_gone_are_shown_unless_there_is_a_choice(tmp_path: Path) -> None:
    write_similarity(tmp_path, "one", run=run(lr=1e-4).relevant_fields())
    assert len(compared(examine_similarities(tmp_path).found, [])) == 1
    write_similarity(tmp_path, "two", run=run(lr=1e-3).relevant_fields())
    with pytest.raises(UserError, match="has no dev loss to choose by"):
        compared(examine_similarities(tmp_path).found, [])


def test_heat_maps_are_means_over_runs(tmp_path: Path) -> None:
    fill(tmp_path)
    models = compared(examine_similarities(tmp_path).found, trained(run(), run(run_idx=1), run("tok")))
    series = heat_map_series(models)
    cells = series.set_index(["name", "layer", "token"])["cosine"]
    # layer 0, token 0: (1 + .25) / 2 in the first run and half of it in the second
    assert cells["act (IA2)", 0, 0] == pytest.approx(0.75 * 0.625)
    assert cells["tok (SFT)", 0, 0] == pytest.approx(0.625)
    assert len(cells["act (IA2)"]) == 4
    assert heat_map_series([]).empty


def test_lines_by_layer_have_the_normal_interval_over_examples(tmp_path: Path) -> None:
    fill(tmp_path)
    models = compared(examine_similarities(tmp_path).found, trained(run(), run(run_idx=1), run("tok")))
    series = layer_series(models)
    act = series[series["name"] == "act (IA2)"]
    assert list(act["cosine"]) == [0.5, 0.5]
    # half widths 1.96 sd / sqrt 4 of sd .1 and .2, averaged
    assert list(act["high"] - act["cosine"]) == pytest.approx([1.96 * 0.15 / 2] * 2)
    assert list(act["cosine"] - act["low"]) == pytest.approx([1.96 * 0.15 / 2] * 2)
    assert layer_series([]).empty


def test_a_pair_is_of_one_run_and_its_own_record(tmp_path: Path) -> None:
    store = MadeUpStore(tmp_path)
    fill(tmp_path)
    for run_idx, accuracy in enumerate((60.0, 70.0)):
        asked = settings(run_idx=run_idx, model_id="tiny", num_generated_tokens_eval=2)
        store.adapter(run(run_idx=run_idx), accuracy, 0.5, eval=asked)
        longer = asked | {"num_generated_tokens_eval": 8}
        store.adapter(run(run_idx=run_idx), accuracy + 10, 0.5, eval=longer)
    store.adapter(run("tok"), 50.0, 0.5, eval=settings(eval_dataset="capitals_rare", model_id="tiny"))
    models = compared(examine_similarities(tmp_path).found, trained(run(), run(run_idx=1), run("tok")))
    pairs = performance_pairs(models, examine_records(tmp_path).found)
    assert pairs[["name", "similarity", "accuracy", "ece_equal_count"]].values.tolist() == [
        ["act (IA2)", 0.5, 60.0, 0.2],
        ["act (IA2)", 0.6, 70.0, 0.2],
    ], "of tok there is no record on this evaluation set, and of longer responses no similarity"


def test_pairs_of_methods_come_before_controls_and_tell_what_they_differ_in(tmp_path: Path) -> None:
    def config(method: str, **changes: Any) -> dict[str, Any]:
        return TrainConfig(
            training_method=method, dataset="capitals", num_train_examples=8, **changes
        ).relevant_fields()

    write_overlap(tmp_path, "control", 0.9, relation="runs", config_b=config("act", run_idx=1))
    for lr, value in ((1e-3, 0.2), (1e-4, 0.3)):
        changes = {"config_a": config("act", lr=lr), "config_b": config("tok", lr=lr)}
        write_overlap(tmp_path, f"pair{lr}", value, **changes)
    write_overlap(tmp_path, "absent", num_rows=0, config_b=config("a2t"))
    series = overlap_series(examine_overlaps(tmp_path).found)
    means = series.groupby("name", sort=False)["left_overlap"].mean()
    assert means.to_dict() == {"act – tok [lr 0.0001]": 0.3, "act – tok [lr 0.001]": 0.2, "act – act": 0.9}
    assert overlap_series([]).empty


# The command on a store without evaluations


@pytest.mark.usefixtures("undrawn")
def test_analyses_alone_are_plotted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    write_overlap(tmp_path, "one")
    paths = plot(PlotConfig(root=tmp_path, plot_types=("similarity", "overlap")))
    made = {path.relative_to(tmp_path / "plots/unified/capitals").as_posix() for path in paths if path.suffix == ".png"}
    shapes = [f"{kind}_{shape}" for kind in ("overlap", "energy_overlap") for shape in ("bars", "violins", "boxes")]
    assert made == {
        "capitals_capitals_8/tiny_similarity_layers_and_tokens_N8.png",
        "capitals_capitals_8/tiny_similarity_layers_N8.png",
        *(f"Qwen3-4B-Base_subspace_{shape}_N8.png" for shape in shapes),
    }
    assert "tiny_similarity_against_performance: no run has both a similarity and a record" in capsys.readouterr().out
    of_act = plot(PlotConfig(root=tmp_path, plot_types=("similarity",), model_types=("act",)))
    assert "tiny_similarity_layers_N8+model_types=act.png" in {path.name for path in of_act}
    with pytest.raises(UserError, match="no evaluation record"):
        plot(PlotConfig(root=tmp_path, plot_types=("similarity", "accuracy")))


@pytest.mark.usefixtures("undrawn")
def test_a_file_that_is_not_whole_is_left_out_and_fails_the_command(tmp_path: Path) -> None:
    fill(tmp_path)
    write_similarity(tmp_path, "cut").write_text("{")
    with pytest.raises(MachineError, match="1 record cannot be read"):
        plot(PlotConfig(root=tmp_path, plot_types=("similarity",)))
    assert list((tmp_path / "plots").rglob("*layers_N8.png"))


def test_the_script_of_similarities_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--plot_types", "similarity", "--root", str(tmp_path)]) == 2
    assert "nothing is drawn" in capsys.readouterr().err
