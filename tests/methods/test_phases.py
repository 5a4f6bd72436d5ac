"""Methods of two phases, label types, and joint losses at their ends."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from losses_of import example_losses
from safetensors.torch import load_file
from school import School, history

from ia2 import store
from ia2.errors import UserError
from ia2.models.adapters import saved_adapter
from ia2.models.hooked_model import HookedModel

ADAPTERS = ["", "ia3-", "prompt-", "prefix-"]
STEPS = {"num_train_epochs": 3}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    return School.of(tmp_path_factory.mktemp("phases"), "llama")


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def described(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("label_type", ["icl_outputs", "ground_truth"])
@pytest.mark.parametrize("variants", [("a2t", "act"), ("t2a", "tok")], ids=str)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_first_phase_is_reused_or_made(
    tmp_path: Path, adapter: str, label_type: str, variants: tuple[str, str], is_there: bool
) -> None:
    (variant, first), school = variants, School.of(tmp_path, "llama")
    changes: dict[str, Any] = {**STEPS, "label_type": label_type}
    if is_there:
        folder = school.train(adapter + first, **changes)
        before = folder.stat().st_ino, weights(folder)
    second = school.train(adapter + variant, **changes)
    (made,) = (tmp_path / "outputs" / (adapter + first) / "towns").glob("[!.]*")
    if is_there:
        assert (made.stat().st_ino, weights(made)) == before
    digest = store.file_digest(made / "adapter_model.safetensors")
    assert described(second)["starts_from"] == digest
    if first == "tok":  # act has no label type
        assert described(made)["config"]["label_type"] == label_type
        assert f"_{label_type}+" in made.name
    assert described(second)["config"]["label_type"] == label_type
    assert label_type in second.name
    last = variant[-1]
    assert {entry["phase"] for entry in history(second)} == {"tok" if last == "t" else "act"}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_second_phase_has_a_fresh_optimiser(school: School, adapter: str) -> None:
    """Adam's first step moves every weight by lr, whatever the gradient; with older moments it would not."""
    single = school.config(f"{adapter}a2t", num_train_epochs=1)
    start = load_file(school.train(f"{adapter}act", num_train_epochs=1) / "adapter_model.safetensors")
    moved = load_file(school.train(f"{adapter}a2t", num_train_epochs=1) / "adapter_model.safetensors")
    sizes = torch.cat([(moved[name] - start[name]).abs().flatten() for name in start])
    clear = sizes[sizes > 0.5 * single.lr]
    assert len(clear) > len(sizes) / 3
    assert clear.tolist() == pytest.approx([single.lr] * len(clear), rel=1e-2)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(("variant", "what"), [("tokl", "distribution"), ("tna", "activations")])
def test_what_only_the_teacher_has_cannot_be_had_from_ground_truth(
    school: School, adapter: str, variant: str, what: str
) -> None:
    with pytest.raises(UserError, match=f"label_type=ground_truth: {adapter}{variant} matches the teacher's {what}"):
        school.config(adapter + variant, label_type="ground_truth")


def test_label_types_are_other_tokens(school: School) -> None:
    teacher, gold = (
        school.datasets("tok", label_type=label_type)[0].examples for label_type in ("icl_outputs", "ground_truth")
    )
    texts = [school.lm.tokenizer.decode(list(example.response)) for example in gold]
    prompts = [school.lm.tokenizer.decode(list(example.prompt)) for example in gold]
    assert all(prompt.startswith("<s>Input: ") and prompt.endswith("\nOutput:") for prompt in prompts)
    assert all(text.endswith("\n\n") for text in texts)
    assert [int(text) for text in texts]
    assert [example.prompt for example in teacher] == [example.prompt for example in gold]
    assert all(ours.response != theirs.response for ours, theirs in zip(teacher, gold, strict=True))


# tna at its ends


@pytest.mark.parametrize(("weight", "same"), [(0.0, "act"), (1.0, "tok"), (0.25, None)])
def test_tna_at_its_ends_is_act_and_tok(school: School, weight: float, same: str | None) -> None:
    train_dataset, _ = school.datasets("tna", ce_loss_weight=weight)
    # `datasets` gives tna the phase of act: the weights are those of tna itself
    folder = school.train("tna", ce_loss_weight=weight, **STEPS)
    with saved_adapter(school.lm.model, folder) as student, torch.no_grad():
        hooked = HookedModel(student)
        parts = example_losses(hooked, school.everything(), range(4), {"act": 1.0, "tok": 1.0})
        values = {name: loss.mean().item() for name, loss in parts.items()}
    first = history(folder)[0]["train_loss"]
    starts = {name: history(school.train(name, **STEPS))[0]["train_loss"] for name in ("act", "tok")}
    assert first == pytest.approx((1 - weight) * starts["act"] + weight * starts["tok"], rel=1e-5)
    assert values["act"] > 0
    assert train_dataset.examples == school.datasets("tok")[0].examples
    if same is not None:
        ours, theirs = (load_file(run / "adapter_model.safetensors") for run in (folder, school.train(same, **STEPS)))
        for name, weights_of in ours.items():
            torch.testing.assert_close(weights_of, theirs[name], rtol=0, atol=2e-3)
