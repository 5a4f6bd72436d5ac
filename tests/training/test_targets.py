"""The teacher's targets: against the plain model, one by one, on disk, and what is damaged."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from made_up_ids import made_up_ids
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from ia2 import store
from ia2.errors import UserError
from ia2.methods import Kind
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.prompts.prompt import Ids
from ia2.training.targets import (
    Targets,
    add_kinds,
    collect,
    kinds_on_disk,
    load_or_collect,
    load_targets,
    register,
)


def save_targets(folder: Path, targets: Targets, provenance: Mapping[str, object]) -> None:
    """Write the files of kinds that do not count yet, and register them."""
    folder.mkdir(exist_ok=True)
    for kind, tensor in targets.tensors.items():
        if kind not in kinds_on_disk(folder):
            save_file({kind: tensor.contiguous()}, folder / f"{kind}.safetensors")
    register(folder, targets, provenance)


KINDS: frozenset[Kind] = frozenset({"tokens", "activations", "distributions"})
SHARED = made_up_ids("shared", 9)[0]
PROMPTS: list[Ids] = [SHARED + rest for rest in made_up_ids("prompts", 3, 12, 1, 7)]


@pytest.fixture
def how(lm: LanguageModel) -> GenerationConfig:
    return GenerationConfig(5, lm.stopper("separator"), token_budget=50)


@pytest.fixture
def targets(teacher: HookedModel, how: GenerationConfig) -> Targets:
    return collect(teacher, PROMPTS, how, KINDS)


def plainly(model: PreTrainedModel, prompt: Ids, response: Ids) -> tuple[Tensor, Tensor]:
    """Activations [G, L, D] and log-probabilities [G, V], by one forward pass over everything and a plain hook."""
    seen: list[Tensor] = []
    hooks = [
        layer.self_attn.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
        for layer in model.model.layers
    ]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + response])).logits[0]
    for hook in hooks:
        hook.remove()
    positions = range(len(prompt) - 1, len(prompt) + len(response) - 1)
    activations = torch.stack([torch.stack([layer[0, at] for layer in seen]) for at in positions])
    return activations, logits[list(positions)].log_softmax(-1)


def log_probabilities(lm: LanguageModel, targets: Targets) -> torch.Tensor:
    """What the model's head makes of the stored hidden states."""
    assert targets.hidden_states is not None
    with torch.no_grad():
        return lm.model.get_output_embeddings()(targets.hidden_states).log_softmax(-1)


def test_targets_are_those_of_the_plain_model(lm: LanguageModel, targets: Targets) -> None:
    pairs = [plainly(lm.model, *pair) for pair in zip(PROMPTS, targets.responses, strict=True)]
    torch.testing.assert_close(targets.activations, torch.cat([pair[0] for pair in pairs]), atol=1e-5, rtol=1e-5)
    found = log_probabilities(lm, targets)
    torch.testing.assert_close(found, torch.cat([pair[1] for pair in pairs]), atol=1e-5, rtol=1e-5)


def test_collecting_together_equals_one_by_one(teacher: HookedModel, how: GenerationConfig, targets: Targets) -> None:
    alone = [collect(teacher, [prompt], how, KINDS) for prompt in PROMPTS]
    assert targets.responses == tuple(one.responses[0] for one in alone)
    for kind in ("activations", "distributions"):
        joined = torch.cat([one.tensors[kind] for one in alone])
        torch.testing.assert_close(targets.tensors[kind], joined, atol=1e-5, rtol=1e-5)


def test_only_what_is_asked_for_is_kept(teacher: HookedModel, how: GenerationConfig) -> None:
    assert collect(teacher, PROMPTS, how, {"tokens"}).kinds == {"tokens"}
    assert collect(teacher, PROMPTS, how, {"tokens", "activations"}).kinds == {"tokens", "activations"}


@pytest.mark.parametrize("late", [{"activations"}, {"distributions"}, {"activations", "distributions"}])
def test_adding_kinds_equals_collecting_them_in_one_pass(
    teacher: HookedModel, how: GenerationConfig, targets: Targets, late: set[Kind]
) -> None:
    early = collect(teacher, PROMPTS, how, KINDS - late)
    full = add_kinds(teacher, PROMPTS, early, late)
    assert full.kinds == KINDS
    assert full.responses == targets.responses
    torch.testing.assert_close(full.activations, targets.activations, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(full.hidden_states, targets.hidden_states, atol=1e-5, rtol=1e-5)


# On disk


def same(left: Tensor | None, right: Tensor | None) -> bool:
    return left is not None and right is not None and left.dtype == right.dtype and torch.equal(left, right)


def test_save_and_load_give_the_same_bits(tmp_path: Path, targets: Targets) -> None:
    save_targets(tmp_path, targets, {"seconds": 1.5})
    loaded = load_targets(tmp_path, KINDS)
    assert loaded is not None
    assert loaded.responses == targets.responses
    assert same(loaded.activations, targets.activations)
    assert same(loaded.hidden_states, targets.hidden_states)
    manifest = store.read_object(tmp_path / "manifest.json", has_digest=True)
    files = {f"{kind}.safetensors" for kind in KINDS}
    assert (manifest["seconds"], manifest["kinds"], set(manifest["files"])) == (1.5, sorted(KINDS), files)


def test_only_the_kinds_asked_for_are_read(tmp_path: Path, targets: Targets) -> None:
    save_targets(tmp_path, targets, {})
    (tmp_path / "activations.safetensors").write_bytes(b"")
    loaded = load_targets(tmp_path, {"tokens", "distributions"})
    assert loaded is not None
    assert loaded.kinds == {"tokens", "distributions"}


def test_kinds_added_later_do_not_make_earlier_ones_forgotten(tmp_path: Path, targets: Targets) -> None:
    save_targets(tmp_path, Targets(targets.responses, targets.activations), {})
    known = load_targets(tmp_path, {"tokens", "distributions"})
    assert known is not None
    assert known.kinds == {"tokens"}
    save_targets(tmp_path, Targets(known.responses, hidden_states=targets.hidden_states), {})
    loaded = load_targets(tmp_path, KINDS)
    assert loaded is not None
    assert same(loaded.activations, targets.activations)
    assert same(loaded.hidden_states, targets.hidden_states)


def test_without_its_manifest_a_folder_does_not_count(
    tmp_path: Path, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_object", fail)
    with pytest.raises(KeyboardInterrupt):
        save_targets(tmp_path, targets, {})
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{kind}.safetensors" for kind in sorted(KINDS)]
    assert load_targets(tmp_path, KINDS) is None
    save_targets(tmp_path, targets, {})
    assert load_targets(tmp_path, KINDS) is not None


def test_an_absent_folder_has_no_targets(tmp_path: Path) -> None:
    assert load_targets(tmp_path / "absent", KINDS) is None


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99], ids=["empty", "half", "nearly whole"])
@pytest.mark.parametrize(
    "file", ["tokens.safetensors", "activations.safetensors", "distributions.safetensors", "manifest.json"]
)
def test_a_damaged_file_is_named(tmp_path: Path, targets: Targets, file: str, keep: float) -> None:
    save_targets(tmp_path, targets, {})
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: int(len(content) * keep) - (keep == 0.99)])
    with pytest.raises(UserError, match=r"delete") as caught:
        load_targets(tmp_path, KINDS)
    assert str(tmp_path) in str(caught.value)


MALFORMED: Sequence[object] = ([], {}, {"kinds": None}, {"kinds": 3}, {"kinds": sorted(KINDS)}, None)


@pytest.mark.parametrize("manifest", MALFORMED, ids=str)
def test_a_manifest_of_another_shape_is_named(tmp_path: Path, targets: Targets, manifest: object) -> None:
    save_targets(tmp_path, targets, {})
    store.write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(UserError, match="delete"):
        load_targets(tmp_path, KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_flipped_bit_is_damage_only_where_the_kind_is_wanted(tmp_path: Path, targets: Targets, kind: Kind) -> None:
    save_targets(tmp_path, targets, {})
    path = tmp_path / f"{kind}.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        load_targets(tmp_path, {kind})
    assert kind == "tokens" or load_targets(tmp_path, KINDS - {kind}) is not None


def test_kinds_added_later_do_not_vouch_for_a_file_damaged_before(tmp_path: Path, targets: Targets) -> None:
    save_targets(tmp_path, Targets(targets.responses, targets.activations), {})
    path = tmp_path / "activations.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    save_targets(tmp_path, Targets(targets.responses, hidden_states=targets.hidden_states), {})
    with pytest.raises(UserError, match=str(path)):
        load_targets(tmp_path, KINDS)


def test_damaged_targets_are_named_and_collected_again(  # noqa: PLR0913, PLR0917 - fixtures
    tmp_path: Path,
    targets: Targets,
    teacher: HookedModel,
    how: GenerationConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def found() -> Targets:
        return load_or_collect(tmp_path, {"seed": 1}, KINDS, hooked=teacher, prompts=PROMPTS, how=lambda: how)

    save_targets(tmp_path, targets, {})
    assert same(found().activations, targets.activations)
    assert caplog.text == ""
    (tmp_path / "activations.safetensors").write_bytes(b"")
    monkeypatch.setattr("ia2.training.targets.collect", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found()
    assert str(tmp_path / "activations.safetensors") in caplog.text
    assert kinds_on_disk(tmp_path) == set()
    monkeypatch.undo()
    assert same(found().activations, targets.activations)
    assert store.read_object(tmp_path / "manifest.json")["seed"] == 1


def test_a_file_that_is_gone_is_named(tmp_path: Path, targets: Targets) -> None:
    save_targets(tmp_path, targets, {})
    (tmp_path / "activations.safetensors").unlink()
    with pytest.raises(UserError, match="delete the folder"):
        load_targets(tmp_path, KINDS)


def test_tokens_of_other_lengths_are_damage(tmp_path: Path, targets: Targets) -> None:
    save_targets(tmp_path / "ours", targets, {})
    save_targets(tmp_path / "other", Targets((*targets.responses, (5, 6))), {})
    (tmp_path / "other" / "tokens.safetensors").replace(tmp_path / "ours" / "tokens.safetensors")
    with pytest.raises(UserError, match="delete the folder"):
        load_targets(tmp_path / "ours", KINDS)


def test_what_a_killed_collection_left_is_written_again(tmp_path: Path, targets: Targets) -> None:
    save_targets(tmp_path, Targets(((5, 6), (7,))), {})
    (tmp_path / "manifest.json").unlink()
    save_targets(tmp_path, targets, {})
    loaded = load_targets(tmp_path, KINDS)
    assert loaded is not None
    assert loaded.responses == targets.responses
