"""A run: its folder, that it is made once and the same each time, and when it is not reused."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from losses_of import mean_loss
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from tiny import save_tiny_model
from tiny_runs import RUN_FILES, assert_whole, files_of, leftovers, training, write_dataset
from transformers import AutoModelForCausalLM, pipeline

from ia2 import store
from ia2.commands.data_files import create_all
from ia2.commands.train import first_phase, resolve, train, train_runs
from ia2.config import CreateConfig, ModelConfig, TrainConfig
from ia2.errors import UserError
from ia2.models.loading import ModelCache, load_model
from ia2.training.dataset import from_targets
from ia2.training.targets import load_targets
from ia2.training.trained_run import read_trained_run


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


def run_in(root: Path, model: Path, models: ModelCache, **changes: Any) -> Path:
    return train(training(root, model, **changes), models)


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("method", ["act", "tok", "tna", "tokl", "ia3-act", "prompt-tok", "prefix-act"])
def test_a_run_has_all_its_files(tmp_path: Path, tiny_model_folder: Path, models: ModelCache, method: str) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models, training_method=method, num_virtual_tokens=3)
    assert {path.name for path in folder.iterdir()} == RUN_FILES
    assert folder.parent == tmp_path / "outputs" / method / "capitals"
    assert_whole(tmp_path)
    assert leftovers(tmp_path) == []


def test_what_a_run_says_of_itself(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models)
    described = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    config = resolve(training(tmp_path, tiny_model_folder))
    assert described["config"] == config.relevant_fields()
    assert TrainConfig.model_validate(described["config"]).relevant_fields() == config.relevant_fields()
    split = tmp_path / "data" / "capitals" / "train" / "4_0.json"
    assert described["split_sha256"] == store.file_digest(split)
    assert described["base"]["revision"] == load_model(ModelConfig(model_id=str(tiny_model_folder))).revision
    assert described["task"]["name"] == "capitals"
    assert described["num_dev_used"] == 2
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    statistics = json.loads((folder / "final_loss_statistics.json").read_text())
    assert [entry["step"] for entry in history] == list(range(statistics["num_steps"] + 1)) == [0, 1, 2]
    assert {entry["phase"] for entry in history} == {"act"}
    assert statistics["best_dev_loss"] == min(entry["dev_loss"] for entry in history if "dev_loss" in entry)
    # r (in + out) for q (32 -> 32), k and v (32 -> 16) in 2 layers
    assert statistics["trainable_parameters"] == 2 * 8 * ((32 + 32) + 2 * (32 + 16))
    assert statistics["adapter_bytes"] == len(weights(folder))


@pytest.mark.parametrize("method", ["act", "ia3-act", "prompt-act", "prefix-act"])
def test_a_run_folder_loads_by_the_libraries_own_classes(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, method: str
) -> None:
    """A config.json of ours would be taken for a model's configuration."""
    folder = str(run_in(tmp_path, tiny_model_folder, models, training_method=method, num_virtual_tokens=3, lr=0.3))
    lm = load_model(ModelConfig(model_id=str(tiny_model_folder)))
    ids = torch.tensor([lm.tokenizer.encode("Input: France\nOutput:")])
    bare = lm.model(ids).logits[:, -1]
    adapted = AutoPeftModelForCausalLM.from_pretrained(folder).eval()(ids).logits[:, -1]
    assert not torch.allclose(adapted, bare, atol=1e-3)
    if method in {"act", "ia3-act"}:  # transformers injects adapters of weights, not of virtual tokens
        injected = AutoModelForCausalLM.from_pretrained(folder).eval()
        assert torch.allclose(injected(ids).logits[:, -1], adapted, atol=1e-5)
        generate = pipeline("text-generation", folder)
        (said,) = generate("Input: France\nOutput:", max_new_tokens=3, do_sample=False, return_full_text=False)
        expected = injected.generate(ids, max_new_tokens=3, do_sample=False)[0, ids.shape[1] :]
        assert said["generated_text"] == lm.tokenizer.decode(expected, skip_special_tokens=True)


def test_a_run_of_the_first_edition_is_read_under_its_name(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models)
    before = folder.stat()
    (folder / "run.json").rename(folder / "config.json")
    assert store.run_folders(tmp_path) == [folder]
    assert read_trained_run(folder).config == resolve(training(tmp_path, tiny_model_folder)).model_copy(
        update={"root": None}
    )
    assert run_in(tmp_path, tiny_model_folder, models) == folder
    assert folder.stat().st_ino == before.st_ino
    assert not (folder / "run.json").exists()


def test_the_saved_adapter_loads_with_plain_peft_and_gives_the_best_dev_loss(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models, num_train_epochs=12, lr=0.3)
    statistics = json.loads((folder / "final_loss_statistics.json").read_text())
    assert statistics["best_step"] < statistics["num_steps"]
    lm = load_model(ModelConfig(model_id=str(tiny_model_folder)))
    (targets_folder,) = (tmp_path / "outputs" / "targets").glob("[!.]*")
    targets = load_targets(targets_folder, {"activations"})
    assert targets is not None
    split = json.loads((tmp_path / "data" / "capitals" / "train" / "4_0.json").read_text(encoding="utf-8"))
    queries = [row["question"] for part in ("train", "dev") for row in split[part]["examples"]]
    prompts = [(lm.tokenizer.bos_token_id, *lm.tokenizer(text, add_special_tokens=False).input_ids) for text in queries]
    lessons = from_targets(prompts, targets)
    model = PeftModel.from_pretrained(lm.model, str(folder))  # type: ignore[arg-type]
    loss = mean_loss(model, lessons.part(4, 6), ["act"])["act"]
    assert loss == pytest.approx(statistics["best_dev_loss"], abs=1e-6)
    assert abs(loss - statistics["final_dev_loss"]) > 1e-4


@pytest.mark.parametrize("method", ["act", "tok"])
def test_the_same_run_twice_gives_the_same_bits(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, method: str
) -> None:
    first, second = (
        run_in(tmp_path / name, tiny_model_folder, models, training_method=method, lr=0.05) for name in "ab"
    )
    assert weights(first) == weights(second)
    other = run_in(tmp_path / "a", tiny_model_folder, models, training_method=method, lr=0.05, run_idx=1)
    ours, theirs = load_file(first / "adapter_model.safetensors"), load_file(other / "adapter_model.safetensors")
    assert all(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_model_that_served_other_runs_gives_the_same_bits(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    run_in(tmp_path, tiny_model_folder, models, training_method="ia3-act")
    run_in(tmp_path, tiny_model_folder, models, training_method="prompt-act", num_virtual_tokens=2)
    used = run_in(tmp_path, tiny_model_folder, models)
    assert weights(used) == weights(run_in(tmp_path / "fresh", tiny_model_folder, ModelCache()))


def test_a_run_that_is_there_is_not_trained_again(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix != ".lock"}
    unused = ModelCache()
    assert run_in(tmp_path, tiny_model_folder, unused) == folder
    assert unused.num_loaded == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("num_tokens", [1, 8])
def test_a_teacher_that_is_cut_short_is_told_once(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, caplog: pytest.LogCaptureFixture, num_tokens: int
) -> None:
    """The tokenizer has a token for each byte: ` 7` is two of them, ` 17` three."""
    write_dataset(tmp_path, "made_up", [f"q{i}" for i in range(20)])
    with caplog.at_level(logging.INFO):
        for method in ("act", "tok"):
            changes = {"training_method": method, "dataset": "made_up", "num_generated_tokens": num_tokens}
            run_in(tmp_path, tiny_model_folder, models, **changes)
    assert caplog.text.count("the median answer has 2 tokens, T is 1: the teacher is cut short") == (num_tokens == 1)
    assert ("cut short" in caplog.text) == (num_tokens == 1)


def test_targets_are_collected_once(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(tmp_path, tiny_model_folder, models)
    monkeypatch.setattr("ia2.training.targets.collect", None)
    monkeypatch.setattr("ia2.training.targets.add_kinds", None)
    run_in(tmp_path, tiny_model_folder, models, lr=0.02)
    run_in(tmp_path, tiny_model_folder, models, training_method="tok")
    run_in(tmp_path, tiny_model_folder, models, training_method="ia3-act")
    assert len(list((tmp_path / "outputs" / "targets").glob("[!.]*"))) == 1


@pytest.mark.parametrize("changed", [{"num_generated_tokens": 2}, {"run_idx": 1}, {"stop": "eos"}], ids=str)
def test_targets_of_another_question_are_others(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, changed: dict[str, Any]
) -> None:
    run_in(tmp_path, tiny_model_folder, models)
    run_in(tmp_path, tiny_model_folder, models, **changed)
    assert len(list((tmp_path / "outputs" / "targets").glob("[!.]*"))) == 2


def test_kinds_are_added_to_targets_that_are_there(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    for method in ("tok", "act", "tokl"):
        run_in(tmp_path, tiny_model_folder, models, training_method=method)
    (manifest,) = (tmp_path / "outputs" / "targets").glob("[!.]*/manifest.json")
    assert store.read_json(manifest)["kinds"] == ["activations", "distributions", "tokens"]


def test_what_tna_is_chosen_by_does_not_depend_on_its_weight(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    """At a rate too small to move a weight all runs end where they began, at the same two losses."""
    found = {}
    for w in (0.0, 0.25, 1.0):
        settings = {"training_method": "tna", "ce_loss_weight": w, "lr": 1e-30, "num_train_epochs": 1}
        statistics = store.read_json(
            run_in(tmp_path, tiny_model_folder, models, **settings) / "final_loss_statistics.json"
        )
        found[w] = statistics["dev_losses"]
        assert statistics["best_dev_loss"] == pytest.approx((1 - w) * found[w]["act"] + w * found[w]["tok"])
        assert statistics["phases"]["tna"]["dev_losses"] == found[w]
    assert found[0.0] == found[0.25] == found[1.0]


# Two phases


def test_the_second_phase_begins_where_the_first_ended(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    """At a rate too small to move a float32 weight, what comes out is what went in: here a run of another rate."""
    start = run_in(tmp_path, tiny_model_folder, models)
    still = resolve(training(tmp_path, tiny_model_folder, training_method="a2t", lr=1e-30))
    first = first_phase(still)
    assert first is not None
    shutil.copytree(start, store.run_folder(tmp_path, first))
    (folder,) = train_runs([still], models)
    assert isinstance(folder, Path)
    assert weights(folder) == weights(start)


# What is not reused


def test_another_configuration_under_the_name_is_an_error(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    """Two base models whose ids end alike."""
    folder = run_in(tmp_path, tiny_model_folder, models)
    before = files_of(folder)
    twin = shutil.copytree(tiny_model_folder, tmp_path / "twin" / tiny_model_folder.name)
    with pytest.raises(UserError, match=r"was trained with model_id='.*', not '.*'; --retrain replaces it"):
        run_in(tmp_path, twin, ModelCache())
    assert files_of(folder) == before


def test_a_run_whose_split_has_changed_is_an_error(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models)
    before = weights(folder)
    create_all(
        CreateConfig(
            root=tmp_path, datasets=("capitals",), num_train_examples=(4,), num_runs=1, max_icl_demos=1, overwrite=True
        )
    )
    with pytest.raises(UserError, match=r"was trained on another .*4_0\.json; --retrain"):
        run_in(tmp_path, tiny_model_folder, ModelCache())
    assert weights(folder) == before
    run_in(tmp_path, tiny_model_folder, models, retrain=True)
    assert weights(folder) != before
    unused = ModelCache()
    run_in(tmp_path, tiny_model_folder, unused)
    assert unused.num_loaded == 0


def test_a_failed_retraining_leaves_the_run_that_was_there(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models)
    before = files_of(folder)
    monkeypatch.setattr("ia2.models.stacked_lora.StackedLora.save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_in(tmp_path, tiny_model_folder, models, retrain=True)
    assert files_of(folder) == before
    assert leftovers(tmp_path) == []


def test_other_settings_of_a_split_that_is_there_are_an_error(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    run_in(tmp_path, tiny_model_folder, models)
    with pytest.raises(UserError, match="max_icl_demos=4, not 2"):
        run_in(tmp_path, tiny_model_folder, models, max_icl_demos=2)


def test_weights_that_changed_in_place_get_targets_of_their_own(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    model = shutil.copytree(tiny_model_folder, tmp_path / "model")
    run_in(tmp_path, model, ModelCache())
    save_tiny_model(model, seed=1)
    run_in(tmp_path, model, ModelCache(), lr=0.02)
    assert len(list((tmp_path / "outputs" / "targets").glob("[!.]*"))) == 2


def test_a_run_without_dev_examples(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    folder = run_in(tmp_path, tiny_model_folder, models, num_dev_examples=0)
    statistics = json.loads((folder / "final_loss_statistics.json").read_text())
    assert statistics["best_dev_loss"] is statistics["dev_losses"] is None
    assert statistics["stopped_by"] == "epochs"


@pytest.mark.parametrize("method", ["act", "tok"])
@pytest.mark.parametrize("label_type", ["icl_outputs", "ground_truth"])
def test_a_prompt_longer_than_the_context_is_an_error(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache, method: str, label_type: str
) -> None:
    write_dataset(tmp_path, "long", [f"{i} " + "x" * 600 for i in range(12)])
    with pytest.raises(UserError, match=r"take \d{3,} tokens, the model's context holds 512: lower"):
        run_in(tmp_path, tiny_model_folder, models, dataset="long", training_method=method, label_type=label_type)
    assert leftovers(tmp_path) == []
    assert store.run_folders(tmp_path) == []


def test_targets_are_the_bare_models_also_where_a_second_phase_needs_them_first(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    """`tok` on ground truth collects nothing, so `t2a` does, after it: not from the adapter that it goes on with."""
    run_in(tmp_path / "one", tiny_model_folder, models, training_method="t2a", label_type="ground_truth")
    run_in(tmp_path / "other", tiny_model_folder, models)
    ((one,), (other,)) = (
        list((tmp_path / root / "outputs" / "targets").glob("*/activations.safetensors")) for root in ("one", "other")
    )
    assert one.read_bytes() == other.read_bytes()


# Several runs in the same passes


def stack(root: Path, model: Path) -> list[TrainConfig]:
    changes: list[dict[str, Any]] = [{"run_idx": 0}, {"run_idx": 1, "lr": 3e-2}, {"run_idx": 0, "lora_r": 2}]
    return [resolve(training(root, model, **one)) for one in changes]


def summary(folder: Path) -> dict[str, Any]:
    return dict(store.read_object(folder / "final_loss_statistics.json"))


def test_runs_trained_together_are_those_trained_alone(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    together = train_runs(stack(tmp_path / "one", tiny_model_folder), models)
    for config, folder in zip(stack(tmp_path / "other", tiny_model_folder), together, strict=True):
        assert isinstance(folder, Path)
        alone = train(config, models)
        assert folder.name == alone.name
        assert {file.name for file in folder.iterdir()} == {file.name for file in alone.iterdir()} == RUN_FILES
        assert (folder / "adapter_config.json").read_text() == (alone / "adapter_config.json").read_text()
        assert described(folder) == described(alone)
        for key in ("best_step", "num_steps", "trainable_parameters", "adapter_bytes"):
            assert summary(folder)[key] == summary(alone)[key]
        for key in ("best_dev_loss", "final_dev_loss", "final_train_loss"):
            assert summary(folder)[key] == pytest.approx(summary(alone)[key], rel=1e-4)
    assert leftovers(tmp_path) == []


def described(folder: Path) -> dict[str, Any]:
    """run.json, whose digests are those of the files; without them, since rounding moves weights and losses."""
    description = store.read_description(folder)
    del description["sha256"]
    return {**description, "files": sorted(description["files"])}


def test_of_runs_trained_together_only_those_are_trained_that_are_not_there(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    runs = stack(tmp_path, tiny_model_folder)
    known = train(runs[1], models)
    before = files_of(known)
    outcomes = train_runs(runs, models)
    assert outcomes[1] == known
    assert files_of(known) == before
    assert [store.run_folder(tmp_path, config) for config in runs] == outcomes


def test_a_run_that_fails_leaves_nothing_and_takes_no_other_along(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    good, _, other = stack(tmp_path, tiny_model_folder)
    bad = good.model_copy(update={"lr": 1e30})
    outcomes = train_runs([good, bad, other], models)
    assert isinstance(outcomes[1], UserError)
    assert "lower --lr" in str(outcomes[1])
    assert not store.run_folder(tmp_path, bad).exists()
    assert all(isinstance(outcomes[place], Path) for place in (0, 2))
    assert leftovers(tmp_path) == []
    assert_whole(tmp_path)


def test_a_micro_batch_size_changes_neither_name_nor_result(
    tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    whole = run_in(tmp_path / "one", tiny_model_folder, models)
    parts = run_in(tmp_path / "other", tiny_model_folder, models, micro_batch_size=1)
    assert whole.name == parts.name
    assert summary(parts)["best_dev_loss"] == pytest.approx(summary(whole)["best_dev_loss"], rel=1e-4)
