"""Names, roots, and writes of which nothing half-made is ever left or counted."""

import errno
import fcntl
import hashlib
import json
import math
import os
import resource
import shutil
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from described import describe
from hypothesis import given, settings
from hypothesis import strategies as st

from ia2 import store
from ia2.cli import main
from ia2.config import DemoConfig, PrepareConfig, TrainConfig, is_path_part
from ia2.errors import UserError
from ia2.methods import METHODS, parse_method


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_ROOT", raising=False)
    monkeypatch.delenv("IA2_MODEL_ID", raising=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Writing


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with store.atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.name.startswith(".")
        assert temporary.parent == path.parent
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file.txt"]


def test_a_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with store.atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_replaces_the_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "old").write_text("old")
    with store.atomic_write(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
        assert names(path) == ["old"]
    assert names(path) == ["new"]
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(tmp_path: Path, kind: str, error: type[BaseException]) -> None:
    def fail() -> None:
        with store.atomic_write(tmp_path / "result") as temporary:
            if kind == "folder":
                temporary.mkdir()
            (temporary / "part" if kind == "folder" else temporary).write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    store.write_json(tmp_path / "value.json", 1)
    with pytest.raises(TypeError):
        store.write_json(tmp_path / "value.json", {"no JSON": object()})
    assert store.read_json(tmp_path / "value.json") == 1
    assert names(tmp_path) == ["value.json"]


def test_the_content_is_on_the_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    original = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), original(*paths)))
    store.write_json(tmp_path / "value.json", 1)
    assert done == ["fsync", "replace"]


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    path = tmp_path / "result[1].json"
    (tmp_path / ".result[1].json.123.tmp").write_text("half")
    (tmp_path / ".result[1].json.456.tmp").mkdir()
    (tmp_path / ".result[1].json.456.tmp" / "part").write_text("half")
    (tmp_path / ".other.json.789.tmp").write_text("of a process that may be alive")
    with store.file_lock(path):
        assert not list(tmp_path.glob(".result*.tmp*"))
        assert (tmp_path / ".other.json.789.tmp").exists()


def test_leftovers_inside_a_folder_are_swept_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "digest"
    folder.mkdir()
    (folder / "tokens.safetensors").write_text("whole")
    (folder / ".activations.safetensors.123.tmp").write_text("half")
    with store.file_lock(folder):
        assert names(folder) == ["tokens.safetensors"]


def test_only_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with store.file_lock(tmp_path / "result"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with store.file_lock(tmp_path / "result"):
        inside.set()
        thread.join(timeout=0.2)
        order.append("first")
    thread.join(timeout=5)
    assert order == ["first", "second"]


def test_a_claim_never_waits_and_holds_what_is_locked_within(tmp_path: Path) -> None:
    path = tmp_path / "result"
    assert not store.is_locked(path)
    with store.try_lock(path) as ours:
        assert ours
        assert store.is_locked(path)
        with store.file_lock(path), store.try_lock(path) as again:
            assert again
        assert elsewhere(path) is False, "still held"
    assert not store.is_locked(path)
    assert elsewhere(path) is True
    with store.file_lock(path):
        assert elsewhere(path) is False


def elsewhere(path: Path) -> bool:
    """Whether another thread, whose lock is its own as another process's would be, can claim it."""
    got: list[bool] = []

    def claim() -> None:
        with store.try_lock(path) as ours:
            got.append(ours)

    thread = threading.Thread(target=claim)
    thread.start()
    thread.join(timeout=5)
    return got[0]


@pytest.mark.timeout(20)
def test_a_lock_where_no_file_can_be_made_is_an_error() -> None:
    with pytest.raises(OSError, match="/proc/"), store.file_lock(Path("/proc/result")):
        pass


def test_who_holds_a_lock_sweeps_once(tmp_path: Path) -> None:
    path = tmp_path / "result"
    (tmp_path / ".result.123.tmp").write_text("of a killed process")
    with store.try_lock(path):
        assert names(tmp_path) == [".result.lock"]
        with store.atomic_write(path) as temporary:
            temporary.write_text("half")
            with store.file_lock(path):
                assert temporary.exists()
    assert path.read_text() == "half"


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"[1,]", 5000 * b"1", 100_000 * b"["])
def test_a_malformed_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"value\.json is not valid JSON"):
        store.read_json(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"value\.json does not exist"):
        store.read_json(tmp_path / "value.json")


def test_json_is_written_for_people(tmp_path: Path) -> None:
    store.write_json(tmp_path / "value.json", {"city": "Brasília"})
    assert (tmp_path / "value.json").read_text(encoding="utf-8") == '{\n "city": "Brasília"\n}\n'


# Names


def name(**fields: Any) -> str:
    return store.run_name(TrainConfig(**{"training_method": "tok", "num_generated_tokens": 1, **fields}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # every part from its flag
        (
            {
                "training_method": "tok",
                "model_id": "meta-llama/Llama-3.2-1B",
                "lora_type": "qko",
                "lora_r": 4,
                "lora_alpha": 16,
                "num_generated_tokens": 200,
                "num_train_examples": 8,
                "lr": 3e-4,
                "run_idx": 2,
                "label_type": "ground_truth",
            },
            "Llama-3.2-1B_qko_4_16_200_8_0.0003_2_ground_truth",
        ),
        ({"training_method": "act", "model_id": "/models/some.gguf"}, "some_qkv_8_8_1_100_0.0001_0"),
        ({"training_method": "act", "model_id": "models/folder/"}, "folder_qkv_8_8_1_100_0.0001_0"),
        # given away from the default, and not in the published name
        ({"training_method": "act", "batch_size": 8}, "Qwen3-4B-Base_qkv_8_8_1_100_0.0001_0+batch_size=8"),
        (
            {"training_method": "act", "stop": "eos", "keep": "last"},
            "Qwen3-4B-Base_qkv_8_8_1_100_0.0001_0+stop=eos+keep=last",
        ),
        # what does not change the result, or means nothing to the method, is no part of it
        ({"training_method": "act", "device": "cpu", "root": "/x"}, "Qwen3-4B-Base_qkv_8_8_1_100_0.0001_0"),
        ({"training_method": "act", "num_virtual_tokens": 3}, "Qwen3-4B-Base_qkv_8_8_1_100_0.0001_0"),
        ({"training_method": "act", "retrain": True, "no_prepare": True}, "Qwen3-4B-Base_qkv_8_8_1_100_0.0001_0"),
        ({"training_method": "act", "label_type": "ground_truth"}, "Qwen3-4B-Base_qkv_8_8_1_100_0.0001_0"),
    ],
)
def test_names(fields: dict[str, Any], expected: str) -> None:
    assert name(**fields) == expected


# By hand from the published scheme: {model}_{adapter}_{T}_{N}_{lr}_{run}_{what the variant adds}
ADAPTER_PARTS = {"": "qko_4_16", "ia3-": "ia3_v", "prompt-": "prompt_5", "prefix-": "prefix_5"}
VARIANT_PARTS = {
    "tok": ("_icl_outputs", "_ground_truth"),
    "tokl": ("_icl_outputs", "_icl_outputs_topk7"),
    "act": ("", "+layers=0-1+act_norm=layer"),
    "tna": ("_0.002", "_0.5+layers=0-1+act_norm=layer"),
    "a2t": ("_icl_outputs", "_ground_truth+layers=0-1+act_norm=layer"),
    "t2a": ("_icl_outputs", "_ground_truth+layers=0-1+act_norm=layer"),
}
"""As it is named with the defaults, and with every field that a variant may have given another value."""


@pytest.mark.parametrize("variant", VARIANT_PARTS)
@pytest.mark.parametrize("prefix", ADAPTER_PARTS)
def test_names_of_all_methods_and_options(prefix: str, variant: str) -> None:
    adapter = {"lora_type": "qko", "lora_r": 4, "lora_alpha": 16, "ia3_type": "v", "num_virtual_tokens": 5}
    options = {"tokl_top_k": 7, "ce_loss_weight": 0.5, "layers": "0-1", "act_norm": "layer"}
    if variant not in ("tokl", "tna"):  # which refuse it
        options["label_type"] = "ground_truth"
    method = {"training_method": prefix + variant, "num_generated_tokens": 3, "run_idx": 2, **adapter}
    start, (plain, full) = f"Qwen3-4B-Base_{ADAPTER_PARTS[prefix]}_3", VARIANT_PARTS[variant]
    assert name(**method) == f"{start}_100_0.0001_2{plain}"
    assert name(**method, **options) == f"{start}_100_0.0001_2{full}"
    low_data = {"ldr_mode": True, "num_labelled_samples": 6, "num_unlabelled_samples": 9, "max_permutations": 2}
    assert name(**method, **low_data) == f"{start}_6_0.0001_2_ldr6_9_2{plain}"
    assert name(**method, **low_data, **options) == f"{start}_6_0.0001_2_ldr6_9_2{full}"


def test_the_table_of_names_holds_every_method() -> None:
    assert {prefix + variant for prefix in ADAPTER_PARTS for variant in VARIANT_PARTS} == set(METHODS)


def test_the_folder_says_method_and_dataset(tmp_path: Path) -> None:
    config = TrainConfig(training_method="ia3-act", dataset="sst2", num_generated_tokens=1)
    folder = store.run_folder(tmp_path, config)
    assert folder == tmp_path / "outputs" / "ia3-act" / "sst2" / "Qwen3-4B-Base_ia3_qkv_1_100_0.0001_0"


def test_a_long_tail_becomes_a_digest() -> None:
    fields = {f"field_{index}": "value" for index in range(20)}
    tail = store.name_tail(fields)
    assert len(tail) == 21
    assert tail.startswith("+")
    assert tail != store.name_tail({**fields, "field_0": "other"})
    assert tail == store.name_tail(dict(reversed(fields.items())))


def test_a_tail_just_short_enough_is_readable() -> None:
    fields = {"f": "v" * (store.LONGEST_TAIL - len("+f="))}
    assert store.name_tail(fields) == f"+f={fields['f']}"
    assert len(store.name_tail({"f": fields["f"] + "v"})) == 21


def test_a_slash_in_a_tail_is_no_folder() -> None:
    assert store.name_tail({"model": "a/b"}) == "+model=a-b"


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "training_method": st.sampled_from(sorted(METHODS)),
    "dataset": st.sampled_from(["gsm8k", "gsm8ks"]),
    "model_id": st.sampled_from(["a/Llama-3.2-1B", "a/Llama-3.2-1B-Instruct", "m_qkv"]),
    "lora_type": st.sampled_from(["q", "qkv", "vkq"]),
    "lora_r": st.sampled_from([1, 8, 88]),
    "lora_alpha": st.sampled_from([8, 1]),
    "ia3_type": st.sampled_from(["qkv", "q"]),
    "num_virtual_tokens": st.sampled_from([1, 20]),
    "num_generated_tokens": st.sampled_from([1, 11]),
    "num_train_examples": st.sampled_from([100, 10]),
    "lr": st.sampled_from([1e-4, 1e-3, 1.0]),
    "run_idx": st.sampled_from([0, 1]),
    "label_type": st.sampled_from(["ground_truth", "icl_outputs"]),
    "ce_loss_weight": st.sampled_from([0.002, 0.5]),
    "tokl_top_k": st.sampled_from(["all", 5]),
    "batch_size": st.sampled_from([4, 8]),
    "num_train_epochs": st.sampled_from([50, 5]),
    "patience": st.sampled_from([5, 50]),
    "dev_eval_steps": st.sampled_from([2, 1]),
    "max_icl_demos": st.sampled_from([None, 256]),
    "num_dev_examples": st.sampled_from([None, 50]),
    "stop": st.sampled_from(["separator", "eos", "published"]),
    "keep": st.sampled_from(["best", "last"]),
    "gradient_clip_val": st.sampled_from([None, 1.0]),
    "layers": st.sampled_from(["all", "0-1", "::2"]),
    "act_norm": st.sampled_from(["none", "layer"]),
    "chat_template": st.booleans(),
    "ldr_mode": st.booleans(),
    "num_labelled_samples": st.sampled_from([8, 10]),
    "num_unlabelled_samples": st.sampled_from([1000, 10]),
    "max_permutations": st.sampled_from([24, 2]),
    "fixed_demos": st.booleans(),
    "shuffle_demos": st.booleans(),
    "num_shuffles": st.sampled_from([4, 2]),
    "continue_training": st.sampled_from([None, "same", "some/folder"]),
    "protocol": st.sampled_from(["default", "published"]),
    "torch_dtype": st.sampled_from(["auto", "float32"]),
    "device": st.sampled_from(["auto", "cpu"]),
    "verify": st.booleans(),
    "micro_batch_size": st.sampled_from([None, 2]),
}


def test_the_strategy_knows_every_field() -> None:
    logging = {
        "log_gradient_norms",
        "log_weight_norms",
        "log_checkpoints",
        "checkpoint_frequency",
        "track",
        "wandb_log",
    }
    excluding_a_device = {"device_map", "max_memory"}
    never_kept = {"root", "retrain", "no_prepare"} | logging | excluding_a_device
    assert set(FIELDS) == set(TrainConfig.model_fields) - never_kept


def taken(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, without ground truth where the method refuses it, and with one way of showing demonstrations."""
    refuses = parse_method(fields["training_method"]).variant in ("tokl", "tna")
    label_type = "icl_outputs" if refuses else fields["label_type"]
    return {**fields, "label_type": label_type, "shuffle_demos": fields["shuffle_demos"] and not fields["fixed_demos"]}


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries(FIELDS), st.data())
def test_configurations_share_a_folder_only_if_they_give_the_same_result(fields: dict[str, Any], data: Any) -> None:  # noqa: ANN401
    """Two configurations that differ in a few fields, which is where a name would fall short."""
    changed = data.draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=3))
    others = {key: data.draw(FIELDS[key]) if key in changed else value for key, value in fields.items()}
    one, other = TrainConfig(**taken(fields)), TrainConfig(**taken(others))
    folders = [store.run_folder(Path(), config) for config in (one, other)]
    assert (folders[0] == folders[1]) == (one.relevant_fields() == other.relevant_fields())


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.integers(0, 3), max_size=24), st.data())
def test_tails_differ_where_fields_do(fields: dict[str, int], data: Any) -> None:  # noqa: ANN401
    other = data.draw(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.integers(0, 3), max_size=24))
    ordered = [dict(sorted(one.items())) for one in (fields, other)]
    assert (store.name_tail(ordered[0]) == store.name_tail(ordered[1])) == (fields == other)


# Places


def test_the_root_that_is_given_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IA2_ROOT", "/elsewhere")
    assert store.resolve_root(PrepareConfig(root=tmp_path)) == tmp_path
    assert store.resolve_root(PrepareConfig()) == Path("/elsewhere")


def test_the_root_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store.resolve_root(DemoConfig()) == tmp_path


def test_the_root_of_a_command_in_scripts_is_the_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    monkeypatch.chdir(scripts)
    assert store.resolve_root(PrepareConfig()) == scripts, "some other folder of that name"
    (scripts / "train_unified.py").touch()
    assert store.resolve_root(PrepareConfig()) == tmp_path


def test_finished_runs_are_those_with_weights_and_both_descriptions(tmp_path: Path) -> None:
    """One that lost a file but still says what it is remains among the runs, for its reader to name."""
    files = ("adapter_config.json", "adapter_model.safetensors", "run.json")
    for run in ("tok/d/whole", "tok/d/.half.123.tmp", "act/d/whole"):
        folder = tmp_path / "outputs" / run
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).touch()
    for left_out in files:
        folder = tmp_path / "outputs" / "tok" / "d" / f"without_{left_out}"
        folder.mkdir()
        for file in set(files) - {left_out}:
            (folder / file).touch()
    found = {str(folder.relative_to(tmp_path / "outputs")): folder for folder in store.run_folders(tmp_path)}
    lost = [f"tok/d/without_{file}" for file in ("adapter_config.json", "adapter_model.safetensors")]
    assert list(found) == ["act/d/whole", "tok/d/whole", *lost]
    assert [name for name, folder in found.items() if store.is_run(folder)] == ["act/d/whole", "tok/d/whole"]


def test_splits_on_disk_are_those_of_that_dataset(tmp_path: Path) -> None:
    for path in ("gsm8k/train/8_0.json", "gsm8k/train/16_1.json", "gsm8ks/train/4_0.json", "gsm8k/train/.8_3.json"):
        store.write_json(tmp_path / "data" / path, {})
    for other in ("shuffled_2_8_0", "8", "8_x", "²_0", "notes"):
        store.write_json(tmp_path / "data" / "gsm8k" / "train" / f"{other}.json", {})
    assert store.splits_on_disk(tmp_path, "gsm8k") == [(8, 0), (16, 1)]


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, the example of SHA-256
    assert store.file_digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert store.value_digest({"a": 1, "b": 2}) == store.value_digest({"b": 2, "a": 1})
    assert store.value_digest({"a": 1}) != store.value_digest({"a": "1"})


# Replacing a folder


def folder_with(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize("new_is_there", [False, True])
def test_a_replacing_that_was_killed_is_ended_by_the_next(new_is_there: bool, tmp_path: Path) -> None:
    """Killed between its two renames, and before the old folder was removed."""
    path = tmp_path / "run"
    folder_with(tmp_path / ".run.old", "old")
    folder_with(path if new_is_there else tmp_path / ".run.7.tmp", "new")
    with store.file_lock(path):
        assert (path / "file").read_text() == ("new" if new_is_there else "old")
        assert names(tmp_path) == [".run.lock", "run"]


def test_a_run_whose_replacing_was_killed_is_read(tmp_path: Path) -> None:
    old = tmp_path / "outputs" / "tok" / "d" / ".run.old"
    for file in ("adapter_config.json", "adapter_model.safetensors", "run.json"):
        store.write_json(old / file, {})
    assert store.run_folders(tmp_path) == [old.with_name("run")]


def test_what_is_read_of_a_folder_that_is_replaced_meanwhile_is_read_again(tmp_path: Path) -> None:
    path, read = folder_with(tmp_path / "run", "old"), list[str]()

    def both() -> str:
        """Half of the old and half of the new, the first time."""
        first = (path / "file").read_text()
        if not read:
            with store.atomic_write(path) as temporary:
                folder_with(temporary, "new")
        read.append(first)
        return first + (path / "file").read_text()

    assert store.read_steadily(path, both) == "newnew"
    assert read == ["old", "new"]


def test_what_is_read_between_two_renames_is_read_again(tmp_path: Path) -> None:
    path, old = tmp_path / "run", folder_with(tmp_path / ".run.old", "old")
    begun, replaced = threading.Event(), threading.Event()

    def replace() -> None:
        """Another thread stands for another process: the lock of a file is its own there too."""
        with store.file_lock(path):
            path.rename(old)
            begun.set()
            assert replaced.wait(20)
            folder_with(path, "new")

    old.rename(path)
    other = threading.Thread(target=replace)
    other.start()
    assert begun.wait(20)

    def read() -> str:
        text = (path / "file").read_text() if path.exists() else ""
        replaced.set()
        if not text:
            raise UserError("there is no file")
        return text

    assert store.read_steadily(path, read) == "new"
    other.join()


def test_what_is_missing_is_missing(tmp_path: Path) -> None:
    def read() -> str:
        raise UserError("there is no file")

    with pytest.raises(UserError, match="there is no file"):
        store.read_steadily(tmp_path / "run", read)
    assert names(tmp_path) == []


def test_a_file_of_a_person_is_not_replaced(tmp_path: Path) -> None:
    def replace(path: Path) -> None:
        with store.replacing(path, "made by ia2") as temporary:
            temporary.write_text("made by ia2: 2")

    path = tmp_path / "page.html"
    for before in (None, "", "made by ia2: 1"):
        if before is not None:
            path.write_text(before)
        replace(path)
        assert path.read_text() == "made by ia2: 2"
    path.write_text("precious")
    with pytest.raises(UserError, match=r"page\.html was not written by ia2, and is not replaced; move it away"):
        replace(path)
    assert path.read_text() == "precious"
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder is a folder, where a file is to be written; move it away"):
        replace(tmp_path / "folder")
    assert names(tmp_path) == ["folder", "page.html"]


def test_a_folder_called_as_a_file_of_ours_is_a_strangers(tmp_path: Path) -> None:
    folder = tmp_path / "targets"
    (folder / "manifest.json").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    assert store.unknown_entries(folder, {"manifest.json", "checkpoints"}) == ["manifest.json"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rename = folder_with(tmp_path / "run", "old"), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp") and target == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    def replace() -> None:
        with store.atomic_write(path) as temporary:
            folder_with(temporary, "new")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output error"):
        replace()
    assert names(tmp_path) == ["run"]
    assert (path / "file").read_text() == "old"


def test_nobody_sees_a_folder_half_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rmtree = folder_with(tmp_path / "run", "old"), shutil.rmtree
    seen = list[bool]()
    monkeypatch.setattr(shutil, "rmtree", lambda folder: (seen.append(path.exists()), rmtree(folder)))
    store.remove(path)
    assert seen == [False]
    assert names(tmp_path) == []


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    kept = folder_with(tmp_path / "kept", "precious")
    (tmp_path / "link").symlink_to(kept)
    store.remove(tmp_path / "link")
    assert names(tmp_path) == ["kept"]
    assert names(kept) == ["file"]


@pytest.mark.parametrize(
    ("files", "ours"),
    [
        ({}, True),
        ({"failure.log": ""}, True),
        ({"run.json": '{"split_sha256": "0"}', "history.jsonl": ""}, True),
        ({"config.json": '{"split_sha256": "0"}', "README.md": ""}, True),  # as the first edition wrote it
        ({"notes": ""}, False),
        ({"README.md": ""}, False),
        ({"config.json": '{"model_type": "llama"}', "adapter_config.json": ""}, False),
        ({"run.json": '{"split_sha256": "0"}', "notes": ""}, False),
    ],
)
def test_whose_a_folder_is(files: dict[str, str], ours: bool, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    store.check_replaceable(folder)
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with nullcontext() if ours else pytest.raises(UserError, match="which ia2 did not write"):
        store.check_replaceable(folder)


# Parts of paths


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc",
        "a/b",
        "a\\b",
        ".hidden",
        "a\nb",
        "\x1b[31m",
        "a\x00b",
        "<i>",
        "\ud800",
        "x" * 201,
        "数" * 67,
    ],
)
def test_what_is_no_part_of_a_path_is_refused(text: str, tmp_path: Path) -> None:
    config = TrainConfig(training_method="act").model_copy(update={"dataset": text, "num_generated_tokens": 1})
    for place in (
        lambda: store.pool_path(tmp_path, text),
        lambda: store.low_data_path(tmp_path, text, (1, 2, 3), 0),
        lambda: store.run_folder(tmp_path, config),
        lambda: store.evaluations_folder(tmp_path, "act", text, uncertainty=False),
    ):
        with pytest.raises(UserError, match="is no name for a file"):
            place()


@given(st.text(max_size=300))
def test_a_fitting_name_is_a_part_of_a_path(text: str) -> None:
    name = store.safe_filename(text)
    assert is_path_part(name, 230)
    assert store.safe_filename(name) == name
    assert (name == text) == is_path_part(text, 230)


def test_a_model_called_by_a_control_character_names_a_run(tmp_path: Path) -> None:
    one, other = (
        store.run_folder(
            tmp_path, TrainConfig(training_method="act", model_id=f"/models/a{char}b", num_generated_tokens=1)
        )
        for char in "\n\t"
    )
    assert one != other
    assert is_path_part(one.name, 230)


def test_names_that_begin_the_same_have_temporary_names_of_their_own(tmp_path: Path) -> None:
    """As two runs have that are trained in the same passes, which process and time do not tell apart."""
    one, other = tmp_path / f"{'x' * 160}_1", tmp_path / f"{'x' * 160}_2"
    with store.atomic_write(one) as first, store.atomic_write(other) as second:
        folder_with(first, "first")
        folder_with(second, "second")
    assert [(path / "file").read_text() for path in (one, other)] == ["first", "second"]
    with store.file_lock(one):
        assert not store.is_locked(other)


def test_what_is_swept_is_of_the_whole_name(tmp_path: Path) -> None:
    left = [tmp_path / name for name in (".m.7.tmp", ".m.json.7.tmp", ".m.parquet.7.tmp", ".m.json.original.7.tmp")]
    others = [tmp_path / name for name in (".m.2.7.tmp", ".m2.7.tmp", ".m.tmp", ".m.notes.tmp")]
    for path in (*left, *others):
        path.write_text("")
    with store.file_lock(tmp_path / "m", keep=False):
        assert sorted(tmp_path.glob(".*.tmp")) == sorted(others)
    assert sorted(tmp_path.iterdir()) == sorted(others), "and the lock is gone"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_in_a_line(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_lock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    assert main(["prepare", "--datasets", "capitals", "--root", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert os.strerror(number) in line
    assert str(tmp_path) in line


def test_a_limit_of_file_sizes_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        code = main(["prepare", "--datasets", "capitals", "--root", str(tmp_path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1
    assert os.strerror(errno.EFBIG) in line
    assert not list(tmp_path.rglob("*.tmp"))


# A full disk


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.write_text

    def full(path: Path, text: str, **how: Any) -> int:
        original(path, text[: len(text) // 2], **how)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    store.write_json(tmp_path / "value.json", "old")
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left on device"):
        store.write_json(tmp_path / "value.json", "new")
    assert store.read_json(tmp_path / "value.json") == "old"
    assert names(tmp_path) == ["value.json"]


def test_a_name_that_no_file_could_have_ends_in_a_digest() -> None:
    long = "run" * 100
    names = [store.safe_filename(name) for name in ("short", long, long + "s")]
    assert names[0] == "short"
    assert [len(name) for name in names[1:]] == [230, 230]
    assert names[1] != names[2]
    assert names[1].startswith("run" * 69)


@pytest.mark.parametrize("one", ["x", "é", "数", "𝛼"], ids=["1 byte", "2 bytes", "3 bytes", "4 bytes"])
def test_names_are_as_long_as_their_bytes(tmp_path: Path, one: str) -> None:
    """So that every name that fits can be locked, written and written beside, in whatever letters."""
    path = tmp_path / f"{store.safe_filename(one * 300)}.parquet"
    assert one * (200 // len(one.encode())) in path.name
    with store.file_lock(path.with_suffix("")):
        path.with_suffix("").mkdir()
        store.write_json(path, "whole")
        assert store.temporaries(path) == []
    assert store.read_json(path) == "whole"


def test_the_folder_of_a_run_can_be_made_whatever_its_fields(tmp_path: Path) -> None:
    config = TrainConfig(training_method="act", model_id="m" * 100, layers="0," * 90 + "1")
    folder = store.run_folder(tmp_path, config)
    folder.mkdir(parents=True)
    assert folder.name != store.run_folder(tmp_path, config.model_copy(update={"lr": 0.5})).name


# Digests


def test_an_object_is_read_as_it_was_written_with_its_digest_last(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    store.write_object(path, {"b": (1.5, None), "sha256": "of another", 3: {"ü": math.inf}})
    content = store.read_object(path, has_digest=True)
    assert list(content) == ["b", "3", "sha256"]
    assert content["b"] == [1.5, None]
    path.write_text(json.dumps(content, sort_keys=True, indent=7), encoding="utf-8")
    assert store.read_object(path) == content


@pytest.mark.parametrize("change", [{"a": 2}, {"b": 0}, {"sha256": "0"}])
def test_an_object_that_was_changed_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "one.json"
    store.write_object(path, {"a": 1})
    store.write_json(path, store.read_json(path) | change)
    with pytest.raises(UserError, match=str(path)):
        store.read_object(path)


def test_an_object_without_a_digest_is_read_where_none_has_to_be(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    store.write_json(path, {"a": 1})
    assert store.read_object(path) == {"a": 1}
    with pytest.raises(UserError, match=str(path)):
        store.read_object(path, has_digest=True)


def test_a_file_is_digested_again_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"one", b"two", b"three"):
        with store.atomic_write(path) as temporary:
            temporary.write_bytes(content)
        assert store.file_digest(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", store.RUN_FILES)
def test_a_run_without_one_of_its_files_or_with_another_is_named(tmp_path: Path, name: str) -> None:
    describe(tmp_path, {"config": {}})
    assert store.read_description(tmp_path)["config"] == {}
    (tmp_path / name).write_bytes(b"other")
    with pytest.raises(UserError, match=str(tmp_path / name)):
        store.read_description(tmp_path, tensors=False)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=str(tmp_path / name)):
        store.read_description(tmp_path, tensors=False)


def test_weights_of_the_same_size_are_damage_where_they_are_loaded(tmp_path: Path) -> None:
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(b"one")
    describe(tmp_path, {})
    with store.atomic_write(weights) as temporary:
        temporary.write_bytes(b"two")
    store.read_description(tmp_path, tensors=False)
    with pytest.raises(UserError, match=str(weights)):
        store.read_description(tmp_path)
