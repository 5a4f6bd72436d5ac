"""Bad input through the command line: one line that names the value and the remedy, exit code 2, nothing written."""

import json
import logging
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import assert_whole, files_of, leftovers, write_dataset

from ia2 import cli

Say = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command that has to be refused in one line, and says that line."""

    def run(command: str) -> str:
        words = [word.replace("TINY", str(tiny_model_folder)) for word in command.split()]
        assert cli.main([*words, "--root", str(tmp_path)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("ia2: ")
        assert captured.err.count("\n") == 1
        assert_whole_unless_given(tmp_path)
        return captured.err

    return run


def assert_whole_unless_given(root: Path) -> None:
    assert leftovers(root) == []
    assert not list(root.glob("outputs/*/*/*/run.json"))
    assert not list(root.glob("outputs/evaluations/**/*.json"))


TRAIN = "train --training_method act --dataset capitals --model_id TINY --num_train_examples 4"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("prepare --datasets capital", "unknown dataset 'capital' (did you mean capitals"),
        ("create --datasets nothing_like_it", "unknown dataset 'nothing_like_it'; valid: capitals"),
        ("create --datasets capitals --num_train_examples 40", "num_train_examples=40: with 20 dev examples"),
        ("create --datasets capitals --num_train_examples 1", "num_train_examples=1: a teacher's demonstrations"),
        ("create --datasets past_tense_irregular", "is for evaluation only"),
        ("train --training_method sft", "unknown method 'sft'; valid: tok"),
        (f"{TRAIN} --lora_type qz", "lora_type='qz': give each wanted letter of q k v o g u d once"),
        (f"{TRAIN} --num_train_examples=1", "given twice"),
        ("train --training_method act --dataset capitals --num_train_examples 1", "num_train_examples=1"),
        ("train --training_method act --dataset capitals --num_train_examples 29", "pool of 30; choose a smaller N"),
        ("train --training_method act --dataset sst", "unknown dataset 'sst' (did you mean sst2"),
        ("train --training_method act --dataset capitals --no_prepare", "main.json does not exist; `ia2 prepare"),
        ("evaluate --model_types sft", "unknown method 'sft'"),
        ("evaluate --eval_datasets capital", "unknown dataset 'capital'"),
        ("evaluate --trained_datasets capitals --model_types tok", "no trained run below"),
        ("predict --adapter /no/where --text France", "/no/where is no trained adapter"),
    ],
)
def test_bad_values(refused: Say, command: str, says: str) -> None:
    assert says in refused(command)


@pytest.mark.parametrize("model_id", ["/no/such/folder", "/no/such/file.gguf", "no-such-org-0/no-such-model-0"])
def test_an_unknown_model(refused: Say, model_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ia2.models.loading.hub_resolves", lambda: False)
    told = refused(f"train --training_method act --dataset capitals --num_train_examples 4 --model_id {model_id}")
    assert f"model_id={model_id!r}" in told


def test_a_folder_that_is_no_model(refused: Say, tmp_path: Path) -> None:
    told = refused(f"train --training_method act --dataset capitals --num_train_examples 4 --model_id {tmp_path}")
    assert f"model_id={str(tmp_path)!r} could not be loaded" in told
    assert "smollm2-135m" in told


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("evaluate --run_idx 18446744073709551616", "run_indices=18446744073709551616"),
        (f"{TRAIN} --run_idx 9223372036854775808", "run_idx=9223372036854775808"),
        (f"{TRAIN} --lora_r 100000000000000000000", "lora_r=100000000000000000000"),
        ("evaluate --eval_datasets \udcff", "eval_datasets='\\udcff'"),
        ("predict --text France --adapter \udcff", "adapter='\\udcff'"),
        ("predict --text France --adapter a\x1b[31m", "adapter='a\\x1b[31m'"),
    ],
)
def test_values_that_no_tensor_file_or_terminal_takes(refused: Say, command: str, names: str) -> None:
    assert names in refused(command)


def test_more_memory_than_64_bits_count(tmp_path: Path, tiny_model_folder: Path) -> None:
    words = TRAIN.replace("TINY", str(tiny_model_folder)).split()
    assert cli.main([*words, "--lora_r", str(2**62), "--root", str(tmp_path)]) == 1
    assert_whole_unless_given(tmp_path)


@pytest.mark.parametrize(
    "device", ["cuda", "cuda:3", "cuda:256", "cuda:03", "gpu", "cpu:3", "meta", "xpu", "cuda:" + "9" * 30]
)
def test_a_device_that_is_not_there(refused: Say, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert f"device={device!r}" in refused(f"{TRAIN} --device {device}")


def test_a_prompt_longer_than_the_context(refused: Say, tmp_path: Path) -> None:
    write_dataset(tmp_path, "long", [f"{i} " + "x" * 150 for i in range(30)])
    # one question fits, eight before another do not
    told = refused("train --training_method act --dataset long --model_id TINY --num_train_examples 8")
    assert "the model's context holds 512: lower --max_icl_demos" in told


def test_a_root_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["prepare", "--datasets", "capitals", "--root", str(tmp_path / "file")]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("root", ["loop", "loop/x", "file/x", "x" * 5000, "\udcff", "a\nb"])
@pytest.mark.parametrize(
    "command", ["status", "results", "clean", "prepare --datasets capitals", "fit rows.csv", "demo"]
)
def test_a_root_that_can_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], root: str, command: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    assert cli.main([*command.split(), "--root", str(tmp_path / root)]) == 2
    told = capsys.readouterr().err
    assert "root=" in told
    assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


def test_a_root_where_no_folder_can_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepare", "--datasets", "capitals", "--root", "/proc/nothing/here"]) == 2
    told = capsys.readouterr().err
    assert "/proc/nothing" in told
    assert told.count("\n") == 1


# Every published file, cut in half


@pytest.fixture
def finished(tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """A root with a run and its records, and the commands that read them."""
    model = ["--model_id", str(tiny_model_folder), "--root", str(tmp_path)]
    small = ["--num_train_examples", "4", "--num_generated_tokens", "2", "--num_train_epochs", "1"]
    commands = {
        "train": ["train", "--training_method", "act", "--dataset", "capitals", *small, *model],
        "other lr": ["train", "--training_method", "act", "--dataset", "capitals", *small, "--lr", "0.01", *model],
        "evaluate": ["evaluate", "--model_types", "act", "--num_eval_examples", "3", *model],
    }
    assert cli.main(commands["train"]) == 0
    assert cli.main(commands["evaluate"]) == 0
    capsys.readouterr()
    return commands


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("data/capitals/main.json", "other lr"),
        ("data/capitals/main.json", "evaluate"),
        ("data/capitals/train/4_0.json", "other lr"),
        ("outputs/act/capitals/*/run.json", "evaluate"),
        ("outputs/act/capitals/*/adapter_config.json", "evaluate"),
        ("outputs/act/capitals/*/adapter_model.safetensors", "evaluate"),
        ("outputs/act/capitals/*/final_loss_statistics.json", "evaluate"),
    ],
)
def test_a_file_cut_in_half_is_named(
    finished: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], pattern: str, command: str
) -> None:
    (path,) = tmp_path.glob(pattern)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for record in tmp_path.glob("outputs/evaluations/**/*.json"):
        record.unlink()  # so that there is something to evaluate
    before = files_of(tmp_path)
    assert cli.main(finished[command]) == 2
    told = capsys.readouterr().err
    assert told.startswith("ia2: ")
    assert told.count("\n") == 1
    assert str(path) in told or str(path.parent) in told
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("outputs/targets/*/manifest.json", "other lr"),
        ("outputs/targets/*/tokens.safetensors", "other lr"),
        ("outputs/targets/*/activations.safetensors", "other lr"),
        ("outputs/act/capitals/*/run.json", "train"),
    ],
)
def test_what_the_command_itself_makes_is_named_and_made_again(
    finished: dict[str, list[str]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    pattern: str,
    command: str,
) -> None:
    """Targets and runs rest on data that are whole, so the command makes them again: exit code 0, and a warning."""
    (path,) = tmp_path.glob(pattern)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    tensors = {file: file.read_bytes() for file in path.parent.glob("*.safetensors") if file != path}
    caplog.clear()
    assert cli.main(finished[command]) == 0
    (warning,) = {one.getMessage() for one in caplog.records if one.levelno == logging.WARNING}
    assert str(path) in warning or str(path.parent) in warning
    assert ("the run is trained again" if command == "train" else "they are collected again") in warning
    assert path.stat().st_size >= len(content) - 50  # a run tells its seconds, of any number of digits
    assert {file: file.read_bytes() for file in tensors} == tensors
    if path.suffix == ".safetensors":
        assert path.read_bytes() == content
    assert_whole(tmp_path)


def test_an_undamaged_store_is_taken(finished: dict[str, list[str]], tmp_path: Path) -> None:
    for record in tmp_path.glob("outputs/evaluations/**/*.json"):
        record.unlink()
    assert [cli.main(command) for command in finished.values()] == [0, 0, 0]
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    ("example", "says"),
    [
        ('{"idx": Infinity, "question": "q", "answer": "a"}', "idx = inf"),
        ('{"idx": NaN, "question": "q", "answer": "a"}', "idx = nan"),
        ('{"idx": 1' + "0" * 400 + ', "question": "q", "answer": "a"}', "idx = 1000"),
        ('{"idx": ' + "9" * 5000 + ', "question": "q", "answer": "a"}', "limit"),
        ('{"idx": 1, "question": "\\ud83d", "answer": "a"}', "surrogates"),
        ('{"idx": 1, "question": ' + "[" * 10_000 + "]" * 10_000 + ', "answer": "a"}', "recursion"),
    ],
)
def test_a_prepared_dataset_of_odd_values_is_one_line(tmp_path: Path, refused: Say, example: str, says: str) -> None:
    write_dataset(tmp_path, "mine", "abcdefghij")
    path = tmp_path / "data" / "mine" / "main.json"
    data = json.loads(path.read_text(encoding="utf-8")) | {"train_examples": "HERE"}
    path.write_text(json.dumps(data).replace('"HERE"', f"[{example}]"), encoding="utf-8")
    line = refused("create --datasets mine --num_train_examples 4")
    assert str(path) in line
    assert says in line


def test_an_index_of_infinity_in_a_split_is_one_line(tmp_path: Path, refused: Say) -> None:
    write_dataset(tmp_path, "capitals", "abcdefghijklmnop")
    path = tmp_path / "data" / "capitals" / "train" / "4_0.json"
    assert cli.main(["create", "--datasets", "capitals", "--num_train_examples", "4", "--root", str(tmp_path)]) == 0
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"remaining_indices": [', '"remaining_indices": [Infinity,'), encoding="utf-8")
    assert "4_0.json" in refused(TRAIN)


@pytest.mark.parametrize("name", [b"\xff.csv", b"caf\xe9/rows.csv"])
def test_a_file_whose_name_is_no_text_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: bytes
) -> None:
    file = tmp_path / os.fsdecode(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("text,label\na,b\n", encoding="utf-8")
    assert cli.main(["tasks", "--init", str(file)]) == 2
    assert "\\udc" in capsys.readouterr().err


def test_a_suggested_command_can_be_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my rows.csv"
    file.write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20)), encoding="utf-8")
    assert cli.main(["tasks", "--init", str(file)]) == 0
    task_file, root = file.with_suffix(".toml"), str(tmp_path / "store")
    assert cli.main(["prepare", "--datasets", str(task_file), "--root", root]) == 0
    task_file.write_text(task_file.read_text(encoding="utf-8").replace("Text:", "Words:"), encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["create", "--datasets", str(task_file), "--num_train_examples", "4", "--root", root]) == 2
    suggested = capsys.readouterr().err.split("`")[1]
    assert shlex.split(suggested)[:4] == ["ia2", "prepare", "--datasets", str(task_file)]
    assert cli.main([*shlex.split(suggested)[1:], "--root", root]) == 0
