"""What was trained, chosen and evaluated, and the commands that do it again."""

import json
import math
import shlex
from typing import Any

from made_up import MadeUpStore, config, settings, training

from ia2.cli import parse_arguments
from ia2.config import ReportConfig, TrainConfig
from ia2.flows.reporting import page_data
from ia2.page.sections import reproduction
from ia2.results.records import examine_records
from ia2.results.runs import read_runs
from ia2.results.select import select
from ia2.results.trials import Trial, trials


def trials_of(store: MadeUpStore) -> list[Trial]:
    records = examine_records(store.root).found
    runs = read_runs(store.root, records)
    return trials(runs, select(records, runs), records)


def reproductions_of(store: MadeUpStore) -> list[dict[str, Any]]:
    data = page_data(store.root, ReportConfig(root=store.root))
    return [reproduction(row, data) for row in store.rows()]


def test_every_learning_rate_is_told_and_the_shown_one_marked(full_store: MadeUpStore) -> None:
    told = [(one.method, one.hyperparameters.lr, one.chosen) for one in trials_of(full_store)]
    assert told == [
        *(("tok", 3e-4, False), ("tok", 1e-3, True)),
        *(("act", 3e-4, False), ("act", 1e-3, True)),
        *(("a2t", 3e-4, False), ("a2t", 1e-3, True)),
    ]
    first = trials_of(full_store)[0]
    assert (first.dataset, first.run_indices, first.evaluated_on, first.details) == (
        "capitals",
        (0, 1, 2),
        ("capitals",),
        "",
    )
    assert math.isclose(first.dev_loss, (0.8 + 0.9 + 1.0) / 3)


def test_what_was_trained_and_never_evaluated_is_told_too(store: MadeUpStore) -> None:
    store.base((0.0, 75.0))
    store.run(config("act"), None)
    (one,) = trials_of(store)
    assert (one.method, one.evaluated_on, one.chosen) == ("act", (), False)
    assert math.isnan(one.dev_loss)


def test_what_tells_settings_of_one_method_apart_is_told(store: MadeUpStore) -> None:
    for rank, label_type in ((4, "ground_truth"), (8, "icl_outputs")):
        store.run(config("tok", lora_r=rank, label_type=label_type), 0.5)
    store.run(config("act"), 0.5)
    told = {one.details for one in trials_of(store)}
    assert told == {"lora_r 4, label_type ground_truth", "lora_r 8, label_type icl_outputs", ""}


def test_a_training_command_gives_the_configuration_of_the_run_back(store: MadeUpStore) -> None:
    asked = [
        config("tok", lora_r=4, torch_dtype="bfloat16", num_train_epochs=7),
        config("tna", ce_loss_weight=0.25, lr=3e-4, label_type="icl_outputs"),
        TrainConfig(training_method="prompt-a2t", num_virtual_tokens=5, run_idx=3, model_id="a folder/with 'quotes'"),
        TrainConfig(
            training_method="ia3-act", dataset="sst2", ldr_mode=True, num_labelled_samples=4, shuffle_demos=True
        ),
    ]
    for one in asked:
        store.adapter(one, 70.0, 0.5)
    told = [line for one in reproductions_of(store) for line in one["train"]]
    found = [parse_arguments(shlex.split(line)[1:]) for line in told]
    assert len(told) == len(asked)
    assert {json.dumps(one.identity(), sort_keys=True) for one in found} == {
        json.dumps(one.identity(), sort_keys=True) for one in asked
    }


def test_each_run_is_trained_and_what_one_command_evaluated_is_told_once(full_store: MadeUpStore) -> None:
    base, *_, a2t = reproductions_of(full_store)
    assert base["train"] == []
    assert [parse_arguments(shlex.split(line)[1:]).run_idx for line in a2t["train"]] == [0, 1, 2]
    assert a2t["evaluate"] == ["ia2 evaluate --made_up"]
    assert [path.parts[:3] for path in a2t["records"]] == [("outputs", "evaluations", "a2t")] * 3
    assert all((full_store.root / path).exists() for path in a2t["records"])


def test_a_record_that_was_read_again_tells_the_command_that_read_it(store: MadeUpStore) -> None:
    again = {"reader": "line", "command": "ia2 reparse --parser line"}
    store.base((0.0, 75.0), reparsed=again)
    for one in reproductions_of(store):
        assert one["evaluate"] == ["ia2 evaluate --made_up", "ia2 reparse --parser line"]


def test_a_record_without_its_command_has_none(store: MadeUpStore) -> None:
    store.base((0.0, 75.0), command="")
    assert all(one["evaluate"] == [] for one in reproductions_of(store))


def test_the_published_way_of_choosing_marks_what_is_shown_on_any_set(store: MadeUpStore) -> None:
    for lr, accuracies in ((3e-4, (80.0, 40.0)), (1e-3, (60.0, 70.0))):
        for dataset, accuracy in zip(("capitals", "past_tense"), accuracies, strict=True):
            changes = {"eval": settings(eval_dataset=dataset), "train": training(None)}
            store.adapter(config("tok", lr=lr), accuracy, None, **changes)
    records = examine_records(store.root).found
    runs = read_runs(store.root, records)
    told = trials(runs, select(records, runs, "performance"), records)
    assert [(one.chosen, one.evaluated_on) for one in told] == [(True, ("capitals", "past_tense"))] * 2
