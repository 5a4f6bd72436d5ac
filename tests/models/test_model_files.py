"""What a base model is known by, whether its files are whole, and how often they are read."""

import json
import logging
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from test_loading import load
from tiny import save_tiny_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from ia2 import store
from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.models.loading import (
    LanguageModel,
    ModelCache,
    changed_parts,
    load_model,
    model_folder,
    parts_of,
    parts_on_disk,
)
from ia2.sources import digests, file_digests, forget_digests

LARGE = 3 * 2**20
"""Bytes of which the first edition read 17 stretches of 64 KiB."""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, in which digests are remembered at once."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("IA2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "TICK", -1)
    return tmp_path / "cache"


@pytest.fixture
def copied(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "copy"))


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# Parts

CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a bit of a weight": (lambda folder: flip(folder / "model.safetensors", -5), ["weights"]),
    "an entry of the configuration": (lambda folder: rewrite(folder / "config.json", rms_norm_eps=1e-3), ["config"]),
    "what ends a response": (lambda folder: rewrite(folder / "generation_config.json", eos_token_id=7), ["config"]),
    "a token": (lambda folder: flip(folder / "tokenizer.json", -50), ["tokenizer"]),
    "a chat template": (lambda folder: (folder / "chat_template.jinja").write_text("x"), ["tokenizer"]),
    "another tokenizer": (lambda folder: tiny_tokenizer("two").save_pretrained(folder), ["tokenizer"]),
    "the number format that is written": (lambda folder: rewrite(folder / "config.json", dtype="bfloat16"), []),
    "the version that wrote it": (lambda folder: rewrite(folder / "config.json", transformers_version="9"), []),
    "notes": (lambda folder: (folder / "README.md").write_text("notes"), []),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_which_part(change: str, tiny_model_folder: Path, copied: Path) -> None:
    before = parts_of(tiny_model_folder)
    assert parts_of(copied) == before, "whatever the folder is called"
    assert before.keys() == {"weights", "tokenizer", "config"}
    make, expected = CHANGES[change]
    make(copied)
    assert changed_parts(before, parts_of(copied)) == expected


def test_every_byte_of_the_weights_counts(tiny_model_folder: Path, copied: Path) -> None:
    """Where the first edition took samples too."""
    seen = set()
    for place in (None, 100_000, LARGE // 2 + 100_000, LARGE - 100_000):
        (copied / "model.safetensors").write_bytes(bytes(LARGE))
        if place is not None:
            flip(copied / "model.safetensors", place)
        seen.add(parts_of(copied)["weights"])
    assert len(seen) == 4


def test_shards_count_and_other_files_of_weights_do_not(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path, max_shard_size="50KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    before = parts_of(tmp_path)
    (tmp_path / "consolidated.safetensors").write_bytes(b"x")
    assert parts_of(tmp_path) == before == load(tmp_path).parts
    flip(max(tmp_path.glob("model-*.safetensors")), -5)
    assert changed_parts(before, parts_of(tmp_path)) == ["weights"]


def test_a_loaded_model_has_the_parts_of_its_files_in_any_number_format(tiny_model_folder: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        lm = load_model(ModelConfig(model_id=str(tiny_model_folder), torch_dtype=dtype, device="cpu"))  # type: ignore[arg-type]
        assert lm.parts == parts_of(tiny_model_folder) == parts_on_disk(str(tiny_model_folder))
        assert lm.description["parts"] == lm.parts
        assert lm.source == str(tiny_model_folder)


def test_what_is_not_known_is_no_change() -> None:
    assert changed_parts(None, {"weights": "a"}) == changed_parts({"weights": "a"}, None) == []
    assert changed_parts({"weights": "a", "config": "b"}, {"weights": "a", "config": "c"}) == ["config"]


def test_a_model_that_has_changed_is_loaded_again(copied: Path) -> None:
    models, config = ModelCache(), ModelConfig(model_id=str(copied), device="cpu")
    first = models.load(config)
    assert models.load(config) is first
    flip(copied / "model.safetensors", -5)
    assert changed_parts(first.parts, models.load(config).parts) == ["weights"]


# Digests that are remembered


def test_a_file_is_read_once_until_it_changes_or_is_to_be_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    read = list[str]()
    known = store.file_digest
    monkeypatch.setattr(store, "file_digest", lambda path: read.append(path.name) or known(path))

    def digests_of() -> list[str]:
        read.clear()
        digests._remembered.clear()  # as in another process
        found = file_digests(tmp_path, ["a", "b"])
        assert found == {name: sha256((tmp_path / name).read_bytes()).hexdigest() for name in "ab"}
        return [*read]

    assert digests_of() == ["a", "b"]
    assert digests_of() == []
    (tmp_path / "b").write_text("c")
    assert digests_of() == ["b"]
    forget_digests()
    assert digests_of() == ["a", "b"]
    (kept,) = (tmp_path / "cache" / "digests").iterdir()
    kept.write_text(kept.read_text().replace('"a"', '"c"'))
    assert digests_of() == ["a", "b"], "what is remembered is damaged"


def test_a_file_that_may_change_within_a_tick_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "TICK", 10**18)
    (tmp_path / "a").write_text("a")
    file_digests(tmp_path, ["a"])
    assert not (tmp_path / "cache").exists()


def test_verifying_reads_what_has_the_same_size_and_time(copied: Path, cache: Path) -> None:
    known = load(copied).parts
    (kept,) = (cache / "digests").iterdir()
    content = json.loads(kept.read_text())
    content["files"]["model.safetensors"][1] = "0" * 64  # stands for what was read before a disk lost a bit
    content["digest"] = store.value_digest(content["files"])
    kept.write_text(json.dumps(content))
    digests._remembered.clear()
    assert changed_parts(known, load(copied).parts) == ["weights"]
    verified = load_model(ModelConfig(model_id=str(copied), device="cpu", verify=True))
    assert verified.parts == known


# Unpacked GGUF files


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that transformers reads as the tiny model."""
    for kind, made in ((AutoModelForCausalLM, lambda: tiny_model("llama")), (AutoTokenizer, tiny_tokenizer)):
        known = kind.from_pretrained

        def opened(*given: Any, known: Any = known, made: Any = made, **more: Any) -> Any:  # noqa: ANN401
            assert more["trust_remote_code"] is False
            return made() if "gguf_file" in more else known(*given, **more)

        monkeypatch.setattr(kind, "from_pretrained", opened)
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    return tmp_path / "tiny.gguf"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of a weight": lambda folder: flip(folder / "model.safetensors", -5),
    "a layer less": lambda folder: rewrite(folder / "config.json", num_hidden_layers=1),
    "a token": lambda folder: flip(folder / "tokenizer.json", -50),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "its own list": lambda folder: (folder / "files.json").write_text("{"),
    "no list, as the first edition left it": lambda folder: (folder / "files.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_unpacked_model_is_unpacked_again_and_that_is_said(
    damage: str, gguf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(model_folder(str(gguf)))
    whole, parts = {path.name: path.read_bytes() for path in folder.iterdir()}, parts_of(folder)
    DAMAGES[damage](folder)
    with caplog.at_level(logging.INFO, logger="ia2"):
        lm = load(gguf)
    assert lm.parts == parts
    assert lm.source == str(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert any(str(folder) in record.getMessage() for record in caplog.records)


def test_another_file_of_the_same_name_is_another_model(gguf: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = model_folder(str(gguf))
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ia2"):
        assert model_folder(str(gguf)) == first
        assert not caplog.records, "it is unpacked once"
        gguf.write_bytes(b"GGUF2")
        assert parts_on_disk(str(gguf)) is not None
        assert model_folder(str(gguf)) != first


# The hub's cache

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached_in_hub(tmp_path: Path) -> Path:
    """The tiny model as the hub's client keeps it: files are links to blobs."""
    repository = tmp_path / "hub" / "models--org--tiny"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs").mkdir()
    for file in save_tiny_model(tmp_path / "plain").iterdir():
        blob = repository / "blobs" / store.file_digest(file)
        shutil.copy(file, blob)
        (folder / file.name).symlink_to(blob)
    return folder


def test_a_model_of_the_hub_is_its_snapshot(tmp_path: Path) -> None:
    folder = cached_in_hub(tmp_path)
    lm: LanguageModel = load("org/tiny")
    assert (lm.revision, lm.source, lm.model_id) == (COMMIT, "org/tiny", "org/tiny")
    assert lm.parts == parts_of(tmp_path / "plain") == parts_on_disk("org/tiny")
    flip((folder / "tokenizer.json").resolve(), -50)
    assert changed_parts(lm.parts, parts_on_disk("org/tiny")) == ["tokenizer"]
    flip((folder / "model.safetensors").resolve(), -5)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        parts_on_disk("org/tiny")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="org/tiny"):
        load("org/tiny")
