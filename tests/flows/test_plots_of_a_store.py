"""Every plot of the readme from a small store of real SmolLM2 runs: made, readable, and of the records' numbers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from layouts import assert_readable
from matplotlib.figure import Figure

from ia2.commands.evaluate import evaluate
from ia2.commands.similarity import similarity
from ia2.commands.subspace import subspace
from ia2.commands.train import train
from ia2.config import EvaluateConfig, PlotAllConfig, PlotConfig, SimilarityConfig, SubspaceConfig, TrainConfig
from ia2.evaluation.calibration import CONDITIONS
from ia2.flows.plotting import plot, plot_all
from ia2.models.loading import ModelCache
from ia2.results.compare import SCORES, read_examples
from ia2.results.records import examine_records
from ia2.store import file_digest

pytestmark = pytest.mark.model

MODEL = "smollm2-135m"
RUNS = [("tok", 4, 0), ("tok", 4, 1), ("act", 4, 0), ("act", 4, 1), ("a2t", 4, 0), ("ia3-tok", 4, 0), ("tok", 8, 0)]
NUM_DEMOS = 2
METRICS = [
    *("accuracy", "ece_equal_count", "nll", "brier", "top1_accuracy", "top5_accuracy", "top10_accuracy", "uncertainty"),
    *("entropy", "response_entropy", "reliability_N4", "reliability_N8"),
]
OTHERS = [
    *("dev_loss_N4", "dev_loss_N8", "cost_without_icl", "adapters_accuracy_N4_without_icl"),
    *("adapters_ece_equal_count_N4_without_icl", "similarity_layers_and_tokens_N4", "similarity_layers_N4"),
    "similarity_against_performance",
]
OVERLAPS = [f"{kind}_{shape}_N4" for kind in ("overlap", "energy_overlap") for shape in ("bars", "violins", "boxes")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with 4 examples and one with 8, an adapter that is not LoRA; evaluated and compared on a few queries."""
    folder, models = tmp_path_factory.mktemp("plots"), ModelCache()
    for method, num, run_idx in RUNS:
        fields = {"label_type": "ground_truth"} if method != "act" else {}
        config = TrainConfig(
            root=folder,
            training_method=method,
            dataset="capitals",
            model_id=MODEL,
            num_train_examples=num,
            run_idx=run_idx,
            num_generated_tokens=2,
            num_train_epochs=1,
            lr=1e-3,
            **fields,
        )
        train(config, models)
    asked = {"root": folder, "model_id": MODEL, "eval_datasets": ("capitals",), "icl_max_demos": NUM_DEMOS}
    asked |= {"num_generated_tokens_eval": 2}
    evaluate(EvaluateConfig(**asked, num_eval_examples=4, uncertainty_analysis=True), models)
    compared = {"model_types": ("tok", "act"), "num_examples": (4,), "run_indices": (0,)}
    similarity(SimilarityConfig(**asked, **compared, num_eval_examples=2), models)
    subspace(SubspaceConfig(root=folder))
    return folder


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """Every figure is looked over as it is saved."""
    saved: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr("ia2.flows.plotting.SAVED", {"savefig.dpi": 60})  # looked over as they are, saved coarsely

    def look_and_save(figure: Figure, path: Path, **options: object) -> None:
        if options["format"] == "pdf" and saved[1:]:  # one is enough to see that they can be written
            path.write_bytes(f"%PDF {len(saved)} /Creator (ia2)".encode())
            return
        if options["format"] == "png":
            assert_readable(figure)
            saved.append(figure)
        save(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", look_and_save)
    yield saved
    assert saved


def test_every_plot_is_made_and_can_be_read(root: Path, readable: list[Figure]) -> None:
    paths = plot_all(PlotAllConfig(root=root))
    folder = root / "plots" / "unified" / "capitals"
    stems = [f"capitals_capitals_{NUM_DEMOS}/{MODEL}_{name}_{when}" for name in METRICS for when in CONDITIONS.values()]
    stems += [f"capitals_capitals_{NUM_DEMOS}/{MODEL}_{name}" for name in OTHERS]
    stems += [f"{MODEL}_subspace_{name}" for name in OVERLAPS]
    made = {path.relative_to(folder).as_posix() for path in paths}
    auroc = {name for name in made if "auroc" in name}  # absent where all are right, or all are wrong
    assert made - auroc == {f"{stem}.{end}" for stem in stems for end in ("png", "pdf")}
    assert len({file_digest(path) for path in paths}) == len(paths), "no two show the same"


def test_the_scores_of_examples_are_what_the_records_average(root: Path) -> None:
    records = examine_records(root).found
    assert len(records) == len(RUNS) + 3, "and the base model of each split"
    checked = 0
    for record in records:
        for metric, (column, score) in SCORES.items():
            for with_icl, when in CONDITIONS.items():
                if (name := f"{when}_{metric}") in record.metrics:
                    scores = score(read_examples(str(record.path), with_icl, column).to_numpy())
                    assert np.mean(scores) == pytest.approx(record.metrics[name], rel=1e-5), name
                    checked += 1
    assert checked == (len(RUNS) + 2 * 3) * 8, "all metrics but those of labels; the base model in both passes"


def test_a_plot_shows_the_numbers_of_the_records(root: Path, readable: list[Figure]) -> None:
    plot(PlotConfig(root=root, plot_types=("accuracy",), model_types=("act",)))
    (figure,) = readable
    measured = [
        record.metrics["without_icl_accuracy"] for record in examine_records(root).found if record.method == "act"
    ]
    assert list(figure.axes[0].containers[0][0].get_ydata()) == [np.mean(measured)]
