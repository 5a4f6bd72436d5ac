"""Which runs are compared: those that differ in their method or their run alone."""

from pathlib import Path
from typing import Any

import pytest

from ia2.analysis.pairing import name_beside, pairs, together
from ia2.config import TrainConfig
from ia2.tasks import task
from ia2.training.trained_run import TrainedRun


def run(method: str = "act", revision: str = "weights", **changes: Any) -> TrainedRun:
    config = TrainConfig(training_method=method, num_train_examples=8, dataset="capitals", **changes)
    return TrainedRun(Path(method), config, task("capitals").spec, {"base": {"revision": revision}})


GOLD: dict[str, Any] = {"label_type": "ground_truth"}


@pytest.mark.parametrize(
    ("one", "other", "relation"),
    [
        (run("act"), run("tok"), "methods"),
        (run("act"), run("tok", **GOLD), "methods"),  # a field that only one of them has
        (run("tok", **GOLD), run("a2t", **GOLD), "methods"),
        (run("tok", **GOLD), run("a2t"), None),
        (run("act"), run("tna", ce_loss_weight=0.5), "methods"),
        (run("act"), run("ia3-act"), "methods"),
        (run("act"), run("tok", lr=1e-3), None),
        (run("act"), run("tok", run_idx=1), None),
        (run("act"), run("tok", lora_r=4), None),
        (run("act"), run("tok", revision="others"), None),
        (run("act"), run("act", run_idx=1), "runs"),
        (run("act"), run("act", run_idx=1, lr=1e-3), None),
        (run("act"), run("act", lr=1e-3), None),
        (run("act"), run("act", run_idx=1, revision="others"), None),
        (run("act"), run("tok", ldr_mode=True, num_labelled_samples=8), None),
        (run("act"), run("act", run_idx=1, ldr_mode=True, num_labelled_samples=8), None),
        (run("act", ldr_mode=True), run("tok", ldr_mode=True), "methods"),
        (run("act", ldr_mode=True), run("tok", ldr_mode=True, max_permutations=2), None),
        (run("act"), run("act"), None),
    ],
)
def test_relation(one: TrainedRun, other: TrainedRun, relation: str | None) -> None:
    for both in ([one, other], [other, one]):
        assert [pair.relation for pair in pairs(both)] == ([relation] if relation else [])


def test_each_pair_stands_once_the_method_that_comes_first_in_front() -> None:
    runs = [run("a2t"), run("act", run_idx=1), run("tok"), run("act")]
    found = [
        (pair.one.config.training_method, pair.one.config.run_idx, pair.other.config.training_method, pair.relation)
        for pair in pairs(runs)
    ]
    assert sorted(found) == [
        ("act", 0, "a2t", "methods"),
        ("act", 0, "act", "runs"),
        ("tok", 0, "a2t", "methods"),
        ("tok", 0, "act", "methods"),
    ]


def test_names_tell_two_runs_of_one_method_apart() -> None:
    assert name_beside(run("act"), run("a2t", **GOLD)) == "a2t+label_type=ground_truth"
    assert name_beside(run("act"), run("a2t")) == "a2t"
    assert name_beside(run("tok", lr=1e-3, **GOLD), run("a2t", lr=1e-3, **GOLD)) == "a2t"
    assert name_beside(run("tok"), run("tna", ce_loss_weight=0.5)) == "tna+ce_loss_weight=0.5"


def test_what_is_compared_is_sorted_together() -> None:
    runs = [run(method, lr=lr) for lr in (1e-4, 1e-3) for method in ("act", "tok", "a2t")]
    mixed = sorted(runs[::2] + runs[1::2], key=together)
    assert [one.config.lr for one in mixed] in ([1e-4] * 3 + [1e-3] * 3, [1e-3] * 3 + [1e-4] * 3)
