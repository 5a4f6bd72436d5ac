"""The card in a run's folder: written with it, brought up to date by what is measured, and of no other consequence."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import save_tiny_model, tiny_tokenizer
from tiny_runs import assert_whole, evaluation, leftovers, training, write_dataset

from ia2 import store
from ia2.cli import main
from ia2.commands.evaluate import evaluate
from ia2.commands.predict import predict
from ia2.commands.train import train
from ia2.config import ModelConfig
from ia2.models.loading import ModelCache
from ia2.page.card import NOT_MEASURED, part_of
from ia2.training.trained_run import read_trained_run


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, models: ModelCache) -> Path:
    """A root with one run that nothing was measured of."""
    root = tmp_path_factory.mktemp("made") / "root"
    train(training(root, tiny_model_folder), models)
    return root


def run_of(root: Path) -> Path:
    (folder,) = store.run_folders(root)
    return folder


def part(root: Path) -> str:
    return part_of((run_of(root) / "README.md").read_text(encoding="utf-8")) or ""


def measured(root: Path, model: Path, models: ModelCache, **changes: Any) -> str:
    evaluate(evaluation(root, model, model_types=("act",), **changes), models)
    return part(root)


def numbers(root: Path) -> list[str]:
    """The lines of the table of what was measured."""
    return [line for line in part(root).splitlines() if line.startswith("| capitals")]


def test_what_is_measured_stands_in_the_card(
    made: Path, tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    root = shutil.copytree(made, tmp_path / "root")
    assert part(root) == NOT_MEASURED
    before = {path: path.read_bytes() for path in run_of(root).iterdir() if path.name != "README.md"}
    measured(root, tiny_model_folder, models, eval_with_icl=True)
    (record,) = (root / "outputs" / "evaluations" / "act").rglob("[!.]*.json")
    told = store.read_object(record)["metrics"]
    without, shown = numbers(root)
    assert without.startswith(f"| capitals | none | 3 | 7 | {told['without_icl_accuracy']:.1f} [")
    assert shown.startswith(f"| capitals | 4 from capitals | 3 | 7 | {told['with_icl_accuracy']:.1f} [")
    assert f"| {told['without_icl_nll']:.3f} [" in without
    command = store.read_object(record)["command"].replace(str(tiny_model_folder), tiny_model_folder.name)
    assert command in part(root)
    assert {path: path.read_bytes() for path in before} == before
    assert_whole(root)
    assert leftovers(root) == []


def test_every_evaluation_has_its_line_and_one_with_uncertainty_no_second(
    made: Path, tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    root = shutil.copytree(made, tmp_path / "root")
    measured(root, tiny_model_folder, models)
    measured(root, tiny_model_folder, models, uncertainty_analysis=True)
    assert len(numbers(root)) == 1
    measured(root, tiny_model_folder, models, icl_pool="remaining", eval_with_icl=True, icl_max_demos=2)
    assert [line.split(" | ")[:2] for line in numbers(root)] == [
        ["| capitals (icl_pool remaining)", "none"],
        ["| capitals (icl_pool remaining)", "2 from capitals"],
        ["| capitals", "none"],
    ]


def test_records_of_an_adapter_that_was_trained_anew_do_not_count(
    made: Path, tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    root = shutil.copytree(made, tmp_path / "root")
    measured(root, tiny_model_folder, models)
    weights = run_of(root) / "adapter_model.safetensors"
    old = store.file_digest(weights)
    train(training(root, tiny_model_folder, retrain=True), models)
    assert part(root) == NOT_MEASURED
    assert store.file_digest(weights) == old  # the same run again: its records are of this adapter
    measured(root, tiny_model_folder, models)
    assert len(numbers(root)) == 1
    (record,) = (root / "outputs" / "evaluations" / "act").rglob("[!.]*.json")
    stands = store.read_object(record)
    others = {"adapter_sha256": "0" * 64, "metrics": {**stands["metrics"], "without_icl_accuracy": 99.0}}
    store.write_json(record, {**stands, **others})
    os.utime(run_of(root) / "README.md", ns=(0, 0))
    measured(root, tiny_model_folder, models, icl_max_demos=2)
    assert len(numbers(root)) == 1


def test_a_card_that_a_stopped_command_left_behind_is_mended(
    made: Path, tmp_path: Path, tiny_model_folder: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(made, tmp_path / "root")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ia2.commands.evaluate.refresh_card", stop)
        with pytest.raises(KeyboardInterrupt):
            measured(root, tiny_model_folder, models)
    assert part(root) == NOT_MEASURED
    assert len(list((root / "outputs" / "evaluations").rglob("[!.]*.json"))) == 1
    measured(root, tiny_model_folder, models)
    assert len(numbers(root)) == 1
    (run_of(root) / "README.md").unlink()
    measured(root, tiny_model_folder, models)  # nothing is left to measure, and the card is written anew
    assert len(numbers(root)) == 1


def test_what_a_person_wrote_stays(made: Path, tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    root = shutil.copytree(made, tmp_path / "root")
    card = run_of(root) / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("## Limits", "## Mine\n\n## Limits"), encoding="utf-8")
    measured(root, tiny_model_folder, models)
    assert "## Mine\n\n## Limits" in card.read_text(encoding="utf-8")
    assert len(numbers(root)) == 1


def test_a_record_that_is_read_again_changes_the_card(
    made: Path, tmp_path: Path, tiny_model_folder: Path, models: ModelCache
) -> None:
    root = shutil.copytree(made, tmp_path / "root")
    measured(root, tiny_model_folder, models)
    command = ["reparse", "--root", str(root), "--parser", "regex", "--pattern", ""]
    assert main([*command[:-1], "."]) == 0  # a gold answer and a response are the same where their first letters are
    (record,) = (root / "outputs" / "evaluations" / "act").rglob("[!.]*.json")
    stands = store.read_object(record)
    assert "reader regex '.'" in part(root)
    assert f"| {stands['metrics']['without_icl_accuracy']:.1f} [" in part(root)


def code_of(card: str) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    return block.replace('"..."', '"France"')


def said_by(card: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.chdir(card.parent)
    capsys.readouterr()
    exec(compile(code_of(card.read_text(encoding="utf-8")), str(card), "exec"), {})
    return capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")  # PEFT's own, of prompt tuning
@pytest.mark.parametrize("method", ["ia3-tok", "prompt-act", "prefix-act"])
def test_the_code_of_a_card_says_what_ia2_predicts(
    tmp_path: Path, models: ModelCache, method: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny_model(tmp_path / "model")
    changes = {"training_method": method, "lr": 0.3, "keep": "last", "num_virtual_tokens": 3, "num_train_epochs": 4}
    folder = train(training(tmp_path / "root", model, **changes), models)
    fields = {"model_id": str(model), "torch_dtype": "float32"}
    (expected,) = predict(read_trained_run(folder), [{"country": "France"}], ModelConfig.model_validate(fields), models)
    assert said_by(folder / "README.md", monkeypatch, capsys) == expected.response + "\n"
    assert expected.response


def test_the_code_of_a_card_prompts_as_it_was_trained(
    tmp_path: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a turn of the chat template, after the task's instruction, with a column whose name is no name in Python."""
    model = save_tiny_model(tmp_path / "model")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(model)
    asks = {"template": "Input: {the country}\nOutput:", "instruction": "Name {its} capital.", "instruct": "both"}
    spec = {"name": "towns", "answer_template": " {y}", "parser": "line", "num_generated_tokens": 3, **asks}
    write_dataset(tmp_path / "root", "towns", [f"town {i}" for i in range(20)], task=spec)
    folder = train(training(tmp_path / "root", model, dataset="towns", chat_template=True), models)
    fields = {"model_id": str(model), "torch_dtype": "float32"}
    row = {"the country": "France"}
    (expected,) = predict(read_trained_run(folder), [row], ModelConfig.model_validate(fields), models)
    assert said_by(folder / "README.md", monkeypatch, capsys) == expected.response + "\n"


def test_the_code_of_a_merged_models_card_says_the_same(
    made: Path, tmp_path: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_of(made)
    assert main(["merge", "--adapter", str(folder), "--out", str(tmp_path / "merged")]) == 0
    card = tmp_path / "merged" / "README.md"
    text = card.read_text(encoding="utf-8")
    assert "library_name: transformers" in text
    assert "merging changes float32 logits by" in text
    assert "PeftModel" not in text
    adapter = said_by(folder / "README.md", monkeypatch, capsys)
    assert said_by(card, monkeypatch, capsys) == adapter


def test_a_card_says_no_place_on_somebodys_machine(made: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    """Neither the base model's folder nor the root: the card goes with the adapter to others."""
    measured(made, tiny_model_folder, models)
    card = (run_of(made) / "README.md").read_text(encoding="utf-8")
    assert str(made.parent) not in card
    assert str(tiny_model_folder.parent) not in card
    assert card.count(f"--model_id {tiny_model_folder.name} ") == 2
