"""Records: their numbers from their own examples, batched against one by one, and names that never collide."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import save_tiny_model
from tiny_runs import assert_whole, evaluation, files_of, leftovers, training, write_dataset

from ia2 import store
from ia2.commands.data_files import create_all
from ia2.commands.evaluate import evaluate, write_record
from ia2.commands.train import train
from ia2.config import CreateConfig, PlotConfig
from ia2.errors import UserError
from ia2.flows.plotting import plot
from ia2.models.generation import GenerationConfig
from ia2.models.loading import ModelCache
from ia2.results.frame import summarise
from ia2.results.read import read as read_store
from ia2.results.select import select


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, models: ModelCache) -> Path:
    """A root with one run."""
    root = tmp_path_factory.mktemp("trained")
    train(training(root, tiny_model_folder), models)
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "root")


def read(path: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    return json.loads(path.read_text(encoding="utf-8")), pd.read_parquet(path.with_suffix(".parquet"))


def test_every_run_and_the_base_model_get_a_record(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    run, base = evaluate(evaluation(root, tiny_model_folder), models)
    name = f"{tiny_model_folder.name}_qkv_8_8_3_4_0.01_0+num_train_epochs=2"
    evaluations = root / "outputs" / "evaluations"
    tail = "__capitals_on_capitals_demos4_T3+num_eval_examples=7.json"
    assert run == evaluations / "act" / "capitals" / f"{name}{tail}"
    assert base == evaluations / "base" / f"{tiny_model_folder.name}_4_0{tail}"
    assert_whole(root)
    assert leftovers(root) == []
    record, examples = read(base)
    assert (record["kind"], record["num_examples"], len(examples)) == ("base", 7, 14)
    assert record["labels_used"] == {"train": 4, "dev": 0}
    record, examples = read(run)
    assert (record["kind"], len(examples)) == ("adapter", 7)
    assert record["labels_used"] == {"train": 4, "dev": 0}
    assert record["run"]["training_method"] == "act"
    assert not any(key.startswith("with_icl") for key in record["metrics"])
    assert "accuracy_delta" not in record["metrics"]


def test_metrics_follow_from_the_examples(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    (path,) = evaluate(
        evaluation(
            root, tiny_model_folder, model_types=("base",), trained_datasets=("capitals",), uncertainty_analysis=True
        ),
        models,
    )
    record, examples = read(path)
    metrics = record["metrics"]
    for prefix, part in (("with_icl", examples[examples.with_icl]), ("without_icl", examples[~examples.with_icl])):
        # the first line, case-folded, is the answer; what cannot be read is wrong
        firsts = [text.strip().split("\n")[0].casefold().split() for text in part.response]
        golds = [text.strip().casefold().split() for text in part.gold]
        correct = [bool(first) and first == gold for first, gold in zip(firsts, golds, strict=True)]
        assert metrics[f"{prefix}_accuracy"] == pytest.approx(100 * np.mean(correct))
        assert metrics[f"{prefix}_parse_rate"] == pytest.approx(part.parsed.notna().mean())
        assert metrics[f"{prefix}_nll"] == pytest.approx(-part.gold_log_prob.mean())
        assert metrics[f"{prefix}_first_token_accuracy"] == pytest.approx(100 * part.first_token_correct.mean())
        assert metrics[f"{prefix}_entropy"] == pytest.approx(part.entropy.mean())
        assert metrics[f"{prefix}_uncertainty"] == pytest.approx(1 - part.confidence.mean())
        # fewer examples than bins: in equal-count bins every distinct confidence is a bin of its own
        assert part.confidence.nunique() == 7
        gaps = (part.first_token_correct - part.confidence).abs()
        assert metrics[f"{prefix}_ece_equal_count"] == pytest.approx(gaps.mean())
    delta = metrics["with_icl_accuracy"] - metrics["without_icl_accuracy"]
    assert metrics["accuracy_delta"] == pytest.approx(delta)


def test_answers_that_are_right_count(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    """The tiny model is never right by itself: give it the questions whose answers are what it says."""
    (path,) = evaluate(
        evaluation(root, tiny_model_folder, model_types=("base",), trained_datasets=("capitals",)), models
    )
    _, examples = read(path)
    said = examples[~examples.with_icl]
    data = store.read_json(store.pool_path(root, "capitals"))
    rows = zip(data["val_examples"], said.response, strict=False)
    data["val_examples"] = [{**row, "answer": text} for row, text in rows if text.strip()]
    readable = len(data["val_examples"])
    data["val_examples"].append({"idx": 99, "question": "Input: Nowhere\nOutput:", "answer": " nothing like this"})
    store.write_object(store.pool_path(root, "capitals"), data)
    shutil.rmtree(root / "outputs" / "evaluations")
    (path,) = evaluate(
        evaluation(
            root, tiny_model_folder, model_types=("base",), trained_datasets=("capitals",), num_eval_examples=None
        ),
        models,
    )
    assert readable > 0
    assert read(path)[0]["metrics"]["without_icl_accuracy"] == pytest.approx(100 * readable / (readable + 1))


def test_batched_equals_one_by_one(
    root: Path, tiny_model_folder: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = evaluation(root, tiny_model_folder, eval_with_icl=True)
    batched = [read(path) for path in evaluate(config, models)]
    shutil.rmtree(root / "outputs" / "evaluations")
    one_by_one: list[int] = []

    def single(num_generated_tokens: int, stopper: Any, token_budget: int) -> GenerationConfig:  # noqa: ANN401
        one_by_one.append(1)
        return GenerationConfig(num_generated_tokens, stopper, 1)

    monkeypatch.setattr("ia2.evaluation.scoring.GenerationConfig", single)
    for path, (record, examples) in zip(evaluate(config, models), batched, strict=True):
        alone, alone_examples = read(path)
        pd.testing.assert_frame_equal(alone_examples, examples, rtol=1e-4, atol=1e-6)
        assert alone["metrics"] == pytest.approx(record["metrics"], rel=1e-4, abs=1e-5)
    assert len(one_by_one) == 4  # two passes of the run and of the base model


def test_what_is_there_is_not_made_again(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    paths = evaluate(evaluation(root, tiny_model_folder), models)
    before = {path: path.stat().st_mtime_ns for path in paths}
    unused = ModelCache()
    assert evaluate(evaluation(root, tiny_model_folder), unused) == paths
    assert unused.num_loaded == 0
    assert {path: path.stat().st_mtime_ns for path in paths} == before


def test_no_two_questions_share_a_record(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    questions: Sequence[dict[str, Any]] = (
        {},
        {"icl_max_demos": 2},
        {"num_generated_tokens_eval": 2},
        {"num_eval_examples": 6},
        {"icl_pool": "remaining"},
        {"stop": "eos"},
        {"uncertainty_analysis": True},
        {"eval_datasets": ("past_tense",), "num_examples": (4,), "run_indices": (0,)},
        {"icl_source_datasets": ("past_tense",), "num_examples": (4,), "run_indices": (0,)},
        {"torch_dtype": "float32"},
    )
    paths = [path for one in questions for path in evaluate(evaluation(root, tiny_model_folder, **one), models)]
    assert len(paths) == len(set(paths)) == 2 * len(questions)


def test_a_record_whose_name_no_file_could_have(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    """A run's name and that of what it is asked are longer together than a file's may be."""
    trained_on, asked = "t" * 90, "é" * 60
    for name in (trained_on, asked):
        write_dataset(tmp_path, name, [f"q{i}" for i in range(16)])
    train(training(tmp_path, tiny_model_folder, dataset=trained_on, patience=77, dev_eval_steps=123456), models)
    config = evaluation(tmp_path, tiny_model_folder, model_types=("act",), eval_datasets=(asked,))
    (path,) = evaluate(config, models)
    assert read(path)[0]["eval"]["eval_dataset"] == asked
    assert leftovers(tmp_path) == []
    made = path.stat().st_ino
    assert evaluate(config, models) == [path]
    assert path.stat().st_ino == made


def test_both_passes_belong_to_one_record(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    without = evaluate(evaluation(root, tiny_model_folder, model_types=("act",)), models)
    both = evaluate(evaluation(root, tiny_model_folder, model_types=("act",), eval_with_icl=True), models)
    assert both == without
    record, examples = read(both[0])
    assert {"with_icl_accuracy", "without_icl_accuracy", "accuracy_delta"} <= set(record["metrics"])
    assert examples.with_icl.tolist() == [False] * 7 + [True] * 7
    unused = ModelCache()
    evaluate(evaluation(root, tiny_model_folder, model_types=("act",)), unused)
    assert unused.num_loaded == 0


@pytest.mark.parametrize("damage", ["half", "empty", "list", "no metrics", "no parquet"])
def test_a_damaged_record_is_made_again(root: Path, tiny_model_folder: Path, models: ModelCache, damage: str) -> None:
    paths = evaluate(evaluation(root, tiny_model_folder), models)
    whole = [read(path)[0]["metrics"] for path in paths]
    for path in paths:
        if damage == "no parquet":
            path.with_suffix(".parquet").unlink()
            continue
        content = path.read_text(encoding="utf-8")
        cut = {
            "half": content[: len(content) // 2],
            "empty": "",
            "list": "[]",
            "no metrics": '{"adapter_sha256": null}',
        }
        path.write_text(cut[damage], encoding="utf-8")
    evaluate(evaluation(root, tiny_model_folder), models)
    assert [read(path)[0]["metrics"] for path in paths] == whole


def test_a_record_never_stands_beside_the_examples_of_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, record = tmp_path / "record.json", {"examples": pd.DataFrame({"idx": [0]})}
    write_record(path, record, "one")

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ia2.store.measurements.write_object", cut)
    with pytest.raises(KeyboardInterrupt):
        write_record(path, {"examples": pd.DataFrame({"idx": [1]})}, "two")
    assert not path.exists()


def test_a_retrained_run_is_evaluated_again(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    (path,) = evaluate(evaluation(root, tiny_model_folder, model_types=("act",)), models)
    before = read(path)[0]
    create_all(
        CreateConfig(
            root=root, datasets=("capitals",), num_train_examples=(4,), num_runs=1, max_icl_demos=1, overwrite=True
        )
    )
    train(training(root, tiny_model_folder, retrain=True), models)
    evaluate(evaluation(root, tiny_model_folder, model_types=("act",)), models)
    after = read(path)[0]
    assert after["adapter_sha256"] != before["adapter_sha256"]
    assert after["metrics"]["without_icl_nll"] != before["metrics"]["without_icl_nll"]


def test_a_changed_split_is_shown_again(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    config = evaluation(root, tiny_model_folder, model_types=("base",), trained_datasets=("capitals",))
    (path,) = evaluate(config, models)
    before = read(path)[0]
    create_all(
        CreateConfig(
            root=root, datasets=("capitals",), num_train_examples=(4,), num_runs=1, num_dev_examples=1, overwrite=True
        )
    )
    evaluate(config, models)
    split = store.file_digest(store.split_path(root, "capitals", 4, 0))
    assert read(path)[0]["split_sha256"] == split != before["split_sha256"]


def test_models_of_one_short_name_never_share_a_record(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    (path,) = evaluate(
        evaluation(root, tiny_model_folder, model_types=("base",), trained_datasets=("capitals",)), models
    )
    before = path.read_bytes()
    twin = save_tiny_model(root.parent / "other" / tiny_model_folder.name, seed=1)
    with pytest.raises(UserError, match=r"is of model_id='.*', not '.*'"):
        evaluate(evaluation(root, twin, model_types=("base",), trained_datasets=("capitals",)), ModelCache())
    assert path.read_bytes() == before


def test_an_adapter_of_other_weights_is_refused(root: Path, tiny_model_folder: Path) -> None:
    model = shutil.copytree(tiny_model_folder, root.parent / "model" / "m")
    train(training(root, model), ModelCache())
    save_tiny_model(model, seed=1)
    with pytest.raises(UserError, match=r"was trained on '.*', whose weights are not those of the '.*' that is loaded"):
        evaluate(evaluation(root, model, model_types=("act",)), ModelCache())
    assert not list((root / "outputs" / "evaluations").rglob("*.json"))


# What is refused


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model_types": ("sft",)}, "unknown method 'sft'"),
        (
            {"num_examples": (25,), "run_indices": (0,), "trained_datasets": ("capitals",)},
            "num_train_examples=25: .*pool of 30",
        ),
        (
            {"num_examples": (9,), "trained_datasets": ("capitals",)},
            "no split of 'capitals' .*--num_examples and --run_indices",
        ),
        ({"model_id": "/no/such/model", "trained_datasets": ("capitals",)}, "model_id='/no/such/model'"),
        ({"device": "tpu"}, "device='tpu': valid are auto, cpu, cuda and cuda:N"),
    ],
    ids=str,
)
def test_what_evaluation_refuses(root: Path, tiny_model_folder: Path, asked: dict[str, Any], says: str) -> None:
    before = files_of(root)
    with pytest.raises(UserError, match=says):
        evaluate(evaluation(root, tiny_model_folder, **asked), ModelCache())
    assert files_of(root) == before


def test_without_runs_or_a_dataset_there_is_nothing_to_evaluate(tmp_path: Path, tiny_model_folder: Path) -> None:
    with pytest.raises(UserError, match="Give --eval_datasets"):
        evaluate(evaluation(tmp_path, tiny_model_folder), ModelCache())


def test_a_prompt_longer_than_the_context_leaves_no_record(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    write_dataset(tmp_path, "long", [f"{i} " + "x" * 600 for i in range(12)])
    config = evaluation(
        tmp_path, tiny_model_folder, model_types=("base",), eval_datasets=("long",), num_examples=(2,), run_indices=(0,)
    )
    with pytest.raises(UserError, match="context holds 512"):
        evaluate(config, models)
    assert not list((tmp_path / "outputs").rglob("*.json"))
    assert leftovers(tmp_path) == []


def test_all_of_the_demonstrations_are_one_record_whatever_number_was_asked_for(
    root: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    """N = 4: 4, 8 and 256 show the same; 3 does not, and nor do fresh draws from the rest of the pool."""
    config = evaluation(root, tiny_model_folder, model_types=("base",), trained_datasets=("capitals",))

    def paths(number: int, **changes: Any) -> list[Path]:
        return evaluate(config.model_copy(update={"icl_max_demos": number, **changes}), models)

    (first,) = paths(256)
    before = first.read_bytes()
    assert paths(4) == paths(8) == [first]
    assert first.read_bytes() == before
    (three,) = paths(3)
    (fresh,) = paths(8, icl_pool="remaining")
    assert len({first, three, fresh}) == 3
    assert paths(4) == [first]
    assert paths(256, icl_pool="remaining") != [fresh]


def test_a_store_that_has_both_shows_them_as_one(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    """As the first edition wrote them; their plots stand at either number."""
    config = evaluation(root, tiny_model_folder, model_types=("base",), trained_datasets=("capitals",))
    (path,) = evaluate(config.model_copy(update={"icl_max_demos": 256}), models)
    record, other = store.read_object(path), path.with_name(path.name.replace("demos256", "demos8"))
    shutil.copy(path.with_suffix(".parquet"), other.with_suffix(".parquet"))
    older = {key: value for key, value in record.items() if key not in ("sha256", "examples_sha256")}
    path.write_text(json.dumps({**older, "schema": 1}))
    other.write_text(path.read_text().replace('"icl_max_demos": 256', '"icl_max_demos": 8'))
    records = read_store(root).records
    assert [one.settings.icl_max_demos for one in records] == [256]
    assert len(summarise(select(records, ()))) == 2
    for numbers in ((), (8,), (256,)):
        (image, _) = plot(PlotConfig(root=root, plot_types=("accuracy",), icl_max_demos=numbers))[:2]
        assert image.parent.name == f"capitals_capitals_{numbers[0] if numbers else 256}"
    with pytest.raises(UserError, match="icl_max_demos 3"):
        plot(PlotConfig(root=root, plot_types=("accuracy",), icl_max_demos=(3,)))
