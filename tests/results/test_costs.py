"""What stages took: of all that stands, and of what the filters leave."""

from pathlib import Path

import pytest
from described import describe
from made_up import MadeUpStore, config

from ia2.config import ReportConfig
from ia2.flows.reporting import page_data
from ia2.store import read_json, write_json


@pytest.fixture
def root(store: MadeUpStore) -> Path:
    """A run on each of two datasets, with a record and targets of its own; and targets that no run is left of."""
    for number, (method, dataset) in enumerate((("act", "capitals"), ("tok", "past_tense")), 1):
        settled = config(method, dataset=dataset)
        folder = store.run(settled, 0.5)
        describe(folder, read_json(folder / "run.json") | {"split_sha256": dataset})
        store.adapter(settled, 70.0, 0.5)
        write_json(targets(store.root, number), {"split_sha256": dataset, "seconds": 10.0 * number})
    write_json(targets(store.root, 3), {"split_sha256": "gone", "seconds": 40.0})
    return store.root


def targets(root: Path, number: int) -> Path:
    return root / "outputs" / "targets" / str(number) / "manifest.json"


def costs(root: Path, **filters: tuple[str, ...]) -> dict[str, tuple[float, str]]:
    stages = page_data(root, ReportConfig(**filters)).stages
    return {stage.name: (stage.seconds, stage.note.split(",")[0]) for stage in stages}


def test_without_filters_all_that_stands_is_counted(root: Path) -> None:
    assert costs(root) == {
        "collect targets": (70.0, "3 sets"),
        "train act": (25.0, "1 runs"),
        "train tok": (25.0, "1 runs"),
        "evaluate": (8.0, "2 records"),
    }


@pytest.mark.parametrize(
    ("filters", "method", "seconds"),
    [({"trained_datasets": ("past_tense",)}, "tok", 20.0), ({"model_types": ("act",)}, "act", 10.0)],
)
def test_with_filters_only_what_passes_is_counted(
    root: Path, filters: dict[str, tuple[str, ...]], method: str, seconds: float
) -> None:
    assert costs(root, **filters) == {
        "collect targets": (seconds, "1 sets"),
        f"train {method}": (25.0, "1 runs"),
        "evaluate": (4.0, "1 records"),
    }
