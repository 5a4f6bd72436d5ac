"""Similarities of real runs: against plain hooks, and what is made, kept and told."""

import json
import logging
import re
import shutil
import weakref
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from described import describe
from plain_similarity import Cosines, Plain, cosines, stored_responses
from tiny import EOS, tiny_model, tiny_tokenizer
from tiny_runs import leftovers, training, write_dataset
from torch import Tensor, nn

from ia2 import store
from ia2.analysis import similarity as stage
from ia2.analysis.similarity import Similarity, examine_similarities
from ia2.commands.similarity import similarity
from ia2.commands.train import train
from ia2.config import SimilarityConfig
from ia2.errors import MachineError, UserError
from ia2.methods import METHODS
from ia2.models.generation import generate
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import ModelCache
from ia2.prompts.prompt import Ids, TokenizedExample

KINDS = ("act", "tok", "ia3-act", "prompt-act", "prefix-act")
ENDS = {EOS, *range(60, 320, 7)}
"""Tokens that end a response: enough of them for responses of different lengths."""
T, SHOWN, ASKED = 8, 3, 9


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, model = tmp_path_factory.mktemp("models") / "tiny-ends", tiny_model("llama")
    assert model.generation_config is not None
    model.generation_config.eos_token_id = sorted(ENDS)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, models: ModelCache) -> Path:
    """A root with a run of every kind of adapter, and two methods that are LoRA."""
    root = tmp_path_factory.mktemp("trained")
    for kind in KINDS:
        more = {"num_virtual_tokens": 4, "num_train_epochs": 1, "keep": "last", "num_generated_tokens": T, "lr": 0.1}
        train(training(root, model_folder, training_method=kind, **more), models)
    return root


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, trained: Path, models: ModelCache) -> Path:
    root = shutil.copytree(trained, tmp_path_factory.mktemp("compared") / "root")
    similarity(asked(root), models)
    return root


@pytest.fixture
def root(compared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(compared, tmp_path / "root")


def asked(root: Path, **changes: Any) -> SimilarityConfig:
    fields = {"num_eval_examples": ASKED, "icl_max_demos": SHOWN, "device": "cpu", **changes}
    return SimilarityConfig(root=root, **fields)


def found(root: Path) -> dict[tuple[str, str], Similarity]:
    """By method and reference."""
    records = examine_similarities(root).found
    by_sides = {(one.method, one.reference): one for one in records}
    assert len(by_sides) == len(records)
    return by_sides


def rows(one: Similarity) -> Cosines:
    frame = pd.read_parquet(one.parquet)
    assert [str(kind) for kind in frame.dtypes] == ["int64", "int32", "int32", "float32"]
    return {(row.idx, row.layer, row.token): row.cosine for row in frame.itertuples()}


def assert_equal(ours: Cosines, plain: Cosines) -> None:
    assert ours.keys() == plain.keys()
    np.testing.assert_allclose([ours[key] for key in plain], list(plain.values()), atol=2e-6)


# The numbers


@pytest.fixture(scope="module")
def plain(compared: Path, model_folder: Path) -> Plain:
    return Plain(compared, model_folder)


@pytest.fixture(scope="module")
def responses(compared: Path) -> list[list[int]]:
    (folder,) = (compared / "outputs" / "responses").glob("[!.]*")
    return stored_responses(folder)


def prompts(plain: Plain, kind: str) -> list[list[int]]:
    shown = {
        "teacher": plain.demonstrations(4, 0, SHOWN),
        "other_demonstrations": plain.other_demonstrations(4, 0, SHOWN),
    }.get(kind, [])
    return [
        plain.prompt([demo for demo in shown if demo["question"] != query["question"]], query)
        for query in plain.queries[:ASKED]
    ]


def test_the_responses_are_the_teachers_and_of_different_lengths(plain: Plain, responses: list[list[int]]) -> None:
    model = plain.base()
    assert responses == [plain.response(model, prompt, T, ENDS) for prompt in prompts(plain, "teacher")]
    assert len({len(response) for response in responses}) > 2


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("base", "teacher"),
        ("base", "other_demonstrations"),
        ("teacher", "other_demonstrations"),
        *((kind, "teacher") for kind in KINDS),
        ("tok", "act"),
    ],
)
def test_equals_plain_hooks_one_example_at_a_time(
    compared: Path, plain: Plain, responses: list[list[int]], method: str, reference: str
) -> None:
    def model_of(kind: str) -> nn.Module:
        if kind not in KINDS:
            return plain.base()
        (folder,) = (compared / "outputs" / kind / "capitals").glob("[!.]*")
        return plain.adapted(folder)

    fed = dict(zip([query["idx"] for query in plain.queries], responses, strict=False))
    asks = prompts(plain, method), prompts(plain, reference)
    expected = cosines(model_of(method), model_of(reference), asks, fed)
    assert_equal(rows(found(compared)[method, reference]), expected)


def test_every_model_is_compared_with_both_teachers_and_its_other_methods(compared: Path) -> None:
    """All runs have one learning rate, so that adapters differ in their method alone too; each pair stands once."""
    alone = {(kind, reference) for kind in (*KINDS, "base") for reference in ("teacher", "other_demonstrations")}
    order = sorted(KINDS, key=list(METHODS).index)
    assert order[:2] == ["tok", "act"]
    assert found(compared).keys() == alone | {("teacher", "other_demonstrations"), *combinations(order, 2)}


@pytest.mark.parametrize(("bytes_at_most", "token_budget"), [(1, 1), (20_000, 60)])
def test_one_by_one_equals_batched(
    root: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch, bytes_at_most: int, token_budget: int
) -> None:
    before = {key: rows(one) for key, one in found(root).items()}
    shutil.rmtree(root / "outputs" / "similarity")
    shutil.rmtree(root / "outputs" / "responses")
    monkeypatch.setattr(stage, "ACTIVATION_BYTES", bytes_at_most)
    similarity(asked(root, token_budget=token_budget), models)
    after = found(root)
    assert before.keys() == after.keys()
    for key, one in after.items():
        assert_equal(rows(one), before[key])


def test_a_model_is_exactly_like_itself(root: Path, models: ModelCache) -> None:
    """The same adapter as a run of another method."""
    (tok,), (act,) = (list((root / "outputs" / kind / "capitals").glob("[!.]*")) for kind in ("tok", "act"))
    shutil.copy(act / "adapter_model.safetensors", tok / "adapter_model.safetensors")
    describe(tok, store.read_object(tok / "run.json"))
    similarity(asked(root), models)
    again = found(root)
    np.testing.assert_allclose(list(rows(again["tok", "act"]).values()), 1, atol=1e-6)
    assert again["tok", "act"].mean == pytest.approx(1, abs=1e-6)
    assert again["tok", "act"].sd < 1e-6
    assert rows(again["tok", "teacher"]) == rows(again["act", "teacher"])


def test_the_summary_is_that_of_the_rows(compared: Path) -> None:
    for one in found(compared).values():
        frame = pd.read_parquet(one.parquet).astype({"cosine": float})
        assert (one.num_examples, one.num_tokens) == (ASKED, len(frame) // one.num_layers)
        of_examples = frame.groupby(["idx", "layer"])["cosine"].mean().unstack()
        np.testing.assert_allclose(one.by_layer()["cosine"], of_examples.mean())
        np.testing.assert_allclose(one.by_layer()["sd"], of_examples.std(ddof=1))
        whole = of_examples.mean(axis=1)
        assert one.mean == pytest.approx(whole.mean())
        assert one.sd == pytest.approx(whole.std(ddof=1))
        counts = one.by_layer_and_token().groupby("token")["n"].first()
        assert counts[0] == ASKED > counts[T - 1], "fewer examples have so many tokens"


# What is made, and how often


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts were answered, at each decoding."""
    sizes: list[int] = []

    def counted(reader: HookedModel, prompts: Sequence[Ids], *how: Any, **more: Any) -> list[Ids]:
        sizes.append(len(prompts))
        return generate(reader, prompts, *how, **more)

    monkeypatch.setattr("ia2.training.targets.generate", counted)
    return sizes


def test_a_model_is_read_once_for_all_comparisons(
    trained: Path, tmp_path: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    read: list[str] = []

    def counted(reader: HookedModel, examples: Sequence[TokenizedExample], budget: int) -> Tensor:
        read.append(type(reader.model).__name__)
        return forced(reader, examples, budget)

    forced = stage.forced_activations
    monkeypatch.setattr(stage, "forced_activations", counted)
    similarity(asked(shutil.copytree(trained, tmp_path / "root")), models)
    assert decoded == [ASKED]
    assert len(read) == 3 + len(KINDS), "teacher, other teacher, untrained student, runs"


def test_responses_are_decoded_once_for_runs_that_come_later_too(
    trained: Path, tmp_path: Path, models: ModelCache, decoded: list[int]
) -> None:
    root = shutil.copytree(trained, tmp_path / "root")
    similarity(asked(root, model_types=("act",)), models)
    similarity(asked(root, model_types=("act", "tok")), models)
    assert decoded == [ASKED]
    assert ("tok", "act") in found(root)


def test_memory_does_not_grow_with_the_number_of_examples(
    trained: Path, tmp_path: Path, models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of the activations that live at once, for 6 examples and for 30."""
    live: dict[int, int] = {}
    peaks: dict[int, int] = {}

    def watched(reader: HookedModel, examples: Sequence[TokenizedExample], budget: int) -> Tensor:
        found = forced(reader, examples, budget)
        live[id(found)] = found.nbytes
        weakref.finalize(found, live.pop, id(found))
        peaks[num] = max(peaks.get(num, 0), sum(live.values()))
        return found

    forced = stage.forced_activations
    monkeypatch.setattr(stage, "forced_activations", watched)
    monkeypatch.setattr(stage, "ACTIVATION_BYTES", 25_000)
    root = shutil.copytree(trained, tmp_path / "root")
    for num in (6, 30):
        similarity(asked(root, num_eval_examples=num), models)
    assert max(peaks.values()) <= 25_000
    assert peaks[30] < 1.5 * peaks[6]
    assert not live
    whole = [one for one in examine_similarities(root).found if one.num_examples == 30]
    assert all(pd.read_parquet(one.parquet).memory_usage().sum() > 0 for one in whole)
    assert sum(one.num_tokens for one in whole) / len(whole) * 2 * 32 * 4 > 25_000, "too few to tell"


def times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root / "outputs" / "similarity").rglob("[!.]*.*")}


def test_what_stands_is_not_made_again(root: Path) -> None:
    before = times(root)
    unloaded = ModelCache()
    assert len(similarity(asked(root), unloaded)) == len(before) // 2
    assert unloaded.num_loaded == 0
    assert times(root) == before


def changed_by(root: Path, models: ModelCache) -> set[tuple[str, str]]:
    before = times(root)
    similarity(asked(root), models)
    after = times(root)
    return {key for key, one in found(root).items() if after[one.path] != before.get(one.path)}


def test_what_rests_on_a_changed_adapter_is_made_again(root: Path, models: ModelCache) -> None:
    (act,) = (root / "outputs" / "act" / "capitals").glob("[!.]*")
    weights = act / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    describe(act, store.read_object(act / "run.json"))
    everyone = found(root).keys()
    assert changed_by(root, models) == {key for key in everyone if "act" in key}
    assert leftovers(root) == []


@pytest.mark.parametrize("what", ["cut parquet", "no parquet", "cut json", "older json"])
def test_what_is_damaged_is_made_again(root: Path, models: ModelCache, what: str) -> None:
    one = found(root)["tok", "teacher"]
    match what:
        case "cut parquet":
            one.parquet.write_bytes(one.parquet.read_bytes()[:-9])
        case "no parquet":
            one.parquet.unlink()
        case "cut json":
            one.path.write_text(one.path.read_text()[:-9])
        case "older json":
            content = json.loads(one.path.read_text())
            store.write_object(one.path, {key: value for key, value in content.items() if key != "source_sha256"})
    assert changed_by(root, models) == {("tok", "teacher")}
    assert rows(found(root)["tok", "teacher"])


def test_other_data_make_everything_again(root: Path, models: ModelCache) -> None:
    path = store.pool_path(root, "capitals")
    content = store.read_json(path)
    content["val_examples"][0]["question"] = "Input: Nowhere\nOutput:"
    store.write_object(path, content)
    assert changed_by(root, models) == found(root).keys()
    assert len(list((root / "outputs" / "responses").glob("[!.]*"))) == 2


def test_responses_that_were_changed_make_everything_again(root: Path, models: ModelCache) -> None:
    (folder,) = (root / "outputs" / "responses").glob("[!.]*")
    tokens = folder / "tokens.safetensors"
    tokens.write_bytes(tokens.read_bytes()[:-8] + b"\4" + bytes(7))
    assert changed_by(root, models) == found(root).keys()


@pytest.mark.parametrize("of_the_same_size", [False, True])
def test_an_adapter_that_was_edited_stops_nobody_else(root: Path, models: ModelCache, of_the_same_size: bool) -> None:
    (act,) = (root / "outputs" / "act" / "capitals").glob("[!.]*")
    weights = act / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1" if of_the_same_size else b"nothing")
    shutil.rmtree(root / "outputs" / "similarity")
    told = f"1 teachers or runs could not .*, the others stand; .*{re.escape(str(weights))} is damaged"
    with pytest.raises(MachineError, match=told):
        similarity(asked(root), models)
    assert {key for key in found(root) if "act" in key} == set()
    assert ("tok", "teacher") in found(root)
    assert leftovers(root) == []


# What can be asked


def test_any_evaluation_set_source_and_number_of_demonstrations(root: Path, models: ModelCache) -> None:
    write_dataset(root, "towns", [f"town {i}" for i in range(20)])
    config = asked(
        root,
        model_types=("act",),
        eval_datasets=("towns",),
        icl_source_datasets=("capitals", "towns"),
        icl_max_demos=2,
        num_generated_tokens_eval=2,
    )
    paths = similarity(config, models)
    records = [one for one in examine_similarities(root).found if one.path in paths]
    assert {(one.eval_dataset, one.icl_source_dataset, one.icl_max_demos) for one in records} == {
        ("towns", "capitals", 2),
        ("towns", "towns", 2),
    }
    assert {one.trained_dataset for one in records if one.method == "act"} == {"capitals"}
    assert {one.num_generated_tokens_eval for one in records} == {2}
    assert len(records) == len(paths) == 10


def test_the_pool_of_what_remains(root: Path, models: ModelCache) -> None:
    paths = similarity(asked(root, model_types=("tok",), icl_pool="remaining"), models)
    assert len(paths) == 5
    assert all("+icl_pool=remaining" in path.name for path in paths)


def test_a_control_that_cannot_be_shown_is_left_out_and_told(
    root: Path, models: ModelCache, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.pool_path(root, "towns")
    write_dataset(root, "towns", [f"town {i}" for i in range(14)])
    assert len(store.read_json(path)["train_examples"]) == 7
    config = asked(root, model_types=("act",), eval_datasets=("towns",), icl_source_datasets=("towns",))
    with caplog.at_level(logging.WARNING):
        paths = similarity(config, models)
    assert "the control of other demonstrations is left out: 1 examples of 'towns'" in caplog.text
    assert {json.loads(path.read_text())["reference"] for path in paths} == {"teacher"}


def test_no_run_is_a_mistake(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UserError, match=r"no trained run below .*; `ia2 train` makes one"):
        similarity(asked(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"no trained run below .* matches --lrs 5.0"):
        similarity(asked(root, lrs=(5.0,)))
    with pytest.raises(UserError, match="unknown method 'atc'"):
        similarity(asked(root, model_types=("atc",)))


def test_two_examples_of_one_idx_are_refused(root: Path, models: ModelCache) -> None:
    path = store.pool_path(root, "capitals")
    content = store.read_json(path)
    content["val_examples"][1]["idx"] = content["val_examples"][0]["idx"]
    store.write_object(path, content)
    with pytest.raises(UserError, match="two val_examples share an idx"):
        similarity(asked(root), models)


def test_the_table_says_who_is_alike(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = similarity(asked(root))
    printed = capsys.readouterr().out
    assert printed.startswith(f"capitals ({ASKED} examples, T = 8), at most 3 demonstrations of capitals, N = 4")
    for one in found(root).values():
        assert f"{one.mean:.3f}" in printed
    assert f"{len(paths)} comparisons below {root / 'outputs' / 'similarity'}" in printed
