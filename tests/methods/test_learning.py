"""Every method learns its four examples, and plain PEFT reads back what it has learnt."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from losses_of import example_losses
from peft import PeftModel
from plain_forward import plain_forward
from safetensors.torch import load_file
from school import LR, NUM_EXAMPLES, NUM_STEPS, NUM_TOKENS, SHAPES, School, history, outspoken_model

from ia2.methods import METHODS, VARIANTS, Adapter, Loss, Variant
from ia2.models.adapters import new_adapter, peft_config, saved_adapter
from ia2.models.hooked_model import HookedModel
from ia2.prompts.prompt import TokenizedExample
from ia2.training.dataset import DistillationDataset, collate

SchoolOf = Callable[[str], School]
ALL: dict[Loss, float] = {"act": 1.0, "tok": 1.0, "tokl": 1.0}
UNSEEN = (5, 77, 130, 9, 201)

FALLS: dict[Adapter, dict[Variant, float]] = {
    "lora": {"act": 10, "tok": 30, "tokl": 30, "tna": 10, "a2t": 30, "t2a": 5},
    "ia3": {"act": 2, "tok": 20, "tokl": 4, "tna": 2, "a2t": 20, "t2a": 1.5},
    "prompt": {"act": 2, "tok": 3, "tokl": 4, "tna": 2, "a2t": 4, "t2a": 2},
    "prefix": {"act": 2.5, "tok": 10, "tokl": 8, "tna": 3, "a2t": 10, "t2a": 2.5},
}
"""By what factor the loss of a method's last phase falls at least, from the untrained adapter to the saved one.

About half of the smallest that was measured over the four shapes, in 60 steps at the rates in school.py:
           act   tok   tokl  tna   a2t   t2a
    lora   52    291   123   18    266   12
    ia3    3.9   85    9.8   4.1   65    2.5
    prompt 4.4   6.3   8.3   3.8   8.9   3.1
    prefix 5.2   32    22    7.2   37    5.3
"""


def every_method(*elsewhere: str) -> pytest.MarkDecorator:
    """All methods on all shapes, of which the fast tests take all of llama and those named of the others."""
    pairs = [(shape, method) for shape in SHAPES for method in METHODS]
    rare = [shape != "llama" and method not in elsewhere for shape, method in pairs]
    marked = [
        pytest.param(*pair, marks=pytest.mark.slow) if one else pair for pair, one in zip(pairs, rare, strict=True)
    ]
    return pytest.mark.parametrize(("shape", "method"), marked)


def losses_of(school: School, lessons: DistillationDataset, folder: Path | None, method: str) -> dict[Loss, float]:
    """All losses of a saved adapter, or of the untrained one that the method starts from."""
    model, config = school.lm.model, school.config(method)
    with ExitStack() as stack, torch.no_grad():
        if folder is None:
            student = stack.enter_context(new_adapter(model, peft_config(model, config), seed=config.run_idx))
        else:
            student = stack.enter_context(saved_adapter(model, folder))
        hooked = HookedModel(student)
        found = example_losses(hooked, lessons, range(NUM_EXAMPLES), ALL)
    return {name: loss.mean().item() for name, loss in found.items()}


@every_method("act", "prompt-act")
def test_the_loss_falls(shape: str, method: str, school_of: SchoolOf) -> None:
    school = school_of(shape)
    adapter, variant = METHODS[method].adapter, METHODS[method].variant
    folder = school.train(method)
    lessons = school.everything()
    before, after = losses_of(school, lessons, None, method), losses_of(school, lessons, folder, method)
    weights = VARIANTS[variant].phases[-1].weights(0.5)
    first, last = (sum(weight * losses[name] for name, weight in weights.items()) for losses in (before, after))
    assert last < first / FALLS[adapter][variant]
    if adapter == "lora" and set(weights) == {"tok"}:
        assert last < 0.1
    steps = history(folder)
    assert len(steps) == NUM_STEPS
    assert steps[-1]["train_loss"] < steps[0]["train_loss"]
    assert steps[-1]["train_loss"] == pytest.approx(last, rel=1.0)  # that of one step earlier


@every_method("tok", "act", "ia3-act", "prompt-act", "prefix-act")
def test_plain_peft_reads_the_folder(shape: str, method: str, school_of: SchoolOf) -> None:
    school = school_of(shape)
    folder = school.train(method, num_train_epochs=3)
    examples = school.datasets("act")[0].examples
    plain = PeftModel.from_pretrained(outspoken_model(shape), str(folder))  # type: ignore[arg-type]
    fresh = plain_forward(outspoken_model(shape), examples[1].prompt, examples[1].response)
    with saved_adapter(school.lm.model, folder) as student, torch.no_grad():
        hooked = HookedModel(student)
        start = 0
        losses = example_losses(hooked, school.everything(), range(NUM_EXAMPLES), {"act": 1.0, "tok": 1.0})
        for index, example in enumerate(examples):
            expected = plain_forward(plain, example.prompt, example.response)
            target = school.everything().activations
            assert target is not None
            own = target[start : start + NUM_TOKENS].transpose(0, 1)
            act = (expected.activations - own).square().mean(dim=(1, 2)).sum()
            tok = torch.nn.functional.cross_entropy(expected.logits, torch.tensor(example.response))
            torch.testing.assert_close(losses["act"][index], act, rtol=2e-5, atol=1e-6)
            torch.testing.assert_close(losses["tok"][index], tok, rtol=2e-5, atol=1e-6)
            start += len(example.response)
            if index == 1:
                assert (expected.logits - fresh.logits).abs().max() > 1e-2, "it has learnt nothing"


def logits_here(school: School, folder: Path) -> torch.Tensor:
    """What our own reading says comes after UNSEEN."""
    with saved_adapter(school.lm.model, folder) as student, torch.no_grad():
        hooked = HookedModel(student)
        batch = collate([TokenizedExample(UNSEEN[:1], (*UNSEEN[1:], 0))])
        states, _ = hooked.outputs(batch.rows, batch.columns, activations=False, input_ids=batch.input_ids)
        return hooked.logits(states)


ELSEWHERE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
request = json.loads(sys.argv[1])
found = {}
for folder, base in request["folders"].items():
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder).eval()
    with torch.no_grad():
        found[folder] = model(torch.tensor([request["ids"]]), use_cache=False).logits[0, -len(request["ids"]):].clone()
assert "ia2" not in sys.modules
save_file(found, request["out"])
"""


@pytest.mark.parametrize("shapes", [("llama",), pytest.param(SHAPES[1:], marks=pytest.mark.slow)], ids="-".join)
def test_one_fresh_process_loads_all_methods(shapes: tuple[str, ...], school_of: SchoolOf, tmp_path: Path) -> None:
    schools = {shape: school_of(shape) for shape in shapes}
    folders = {school.train(method, num_train_epochs=3): school for school in schools.values() for method in METHODS}
    assert len(folders) == len(METHODS) * len(shapes)
    request = {
        "folders": {str(folder): str(school.base) for folder, school in folders.items()},
        "ids": UNSEEN,
        "out": str(tmp_path / "logits.safetensors"),
    }
    subprocess.run([sys.executable, "-c", ELSEWHERE, json.dumps(request)], check=True, timeout=200)
    found = load_file(tmp_path / "logits.safetensors")
    seen: list[torch.Tensor] = []
    for folder, school in folders.items():
        ours = logits_here(school, folder)
        assert (ours - found[str(folder)]).abs().max() <= 1e-5 * ours.abs().max(), folder
        assert all(ours.shape != other.shape or not torch.equal(ours, other) for other in seen)
        seen.append(ours)


def test_rates_are_for_every_adapter() -> None:
    assert set(LR) == {method.adapter for method in METHODS.values()} == set(FALLS)
