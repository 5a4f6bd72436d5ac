"""What is matched stands at the answer positions: planted there, it is found there and nowhere else.

Prompts and responses of several lengths in one batch; the expected values are plain PEFT's own, one example at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import torch
from adapting import trainable_parameters
from losses_of import example_losses, weighted
from peft import PeftModel
from plain_forward import Plain, plain_forward
from school import SHAPES, School
from tiny import tiny_model, tiny_tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from ia2.config import TrainConfig
from ia2.methods import METHODS, Loss, Method, Phase
from ia2.models.adapters import new_adapter, peft_config
from ia2.models.hooked_model import HookedModel
from ia2.prompts.prompt import Ids, TokenizedExample
from ia2.training.dataset import DistillationDataset

PROMPTS, RESPONSES = (4, 9, 6, 1, 5), (2, 1, 5, 3, 1)
PLANTED = 2, 3  # the fourth token of the third example
MARK = 7.0
ALL: dict[Loss, float] = {"act": 1.0, "tok": 1.0, "tokl": 1.0}
PHASES = [(str(method), phase) for method in METHODS.values() for phase in method.phases]
every_adapter = pytest.mark.parametrize("adapter", ["lora", "ia3", "prompt", "prefix"])


def made_up(seed: str, lengths: Sequence[int]) -> list[Ids]:
    draw = Random(seed)
    return [tuple(draw.randrange(3, 320) for _ in range(length)) for length in lengths]


EXAMPLES = tuple(map(TokenizedExample, made_up("prompts", PROMPTS), made_up("responses", RESPONSES)))
STARTS = [sum(RESPONSES[:index]) for index in range(len(RESPONSES))]
TOTAL = sum(RESPONSES)


@contextmanager
def student_of(
    model: PreTrainedModel, method: str, num_virtual_tokens: int = 5
) -> Iterator[tuple[PeftModel, HookedModel]]:
    """A student whose adapter does something already."""
    config = TrainConfig(
        training_method=method, lora_type="qkvo", ia3_type="qkvo", num_virtual_tokens=num_virtual_tokens
    )
    with new_adapter(model, peft_config(model, config), seed=0) as student:
        hooked = HookedModel(student)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in trainable_parameters(student).values():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        yield student, hooked


def named(adapter: str) -> str:
    return "act" if adapter == "lora" else f"{adapter}-act"


def plainly(student: PeftModel) -> list[Plain]:
    return [plain_forward(student, example.prompt, example.response) for example in EXAMPLES]


def lessons_of(plains: Sequence[Plain]) -> DistillationDataset:
    """Lessons whose teacher did exactly what the student does."""
    activations = torch.cat([plain.activations for plain in plains], dim=1).transpose(0, 1)
    return DistillationDataset(EXAMPLES, activations.clone(), torch.cat([plain.hidden for plain in plains]))


@pytest.mark.parametrize("shape", SHAPES)
@every_adapter
def test_activations_planted_at_an_answer_position_are_found_there(shape: str, adapter: str) -> None:
    model = tiny_model(shape)
    with student_of(model, named(adapter)) as (student, hooked):
        lessons = lessons_of(plainly(student))
        assert lessons.activations is not None
        same = example_losses(hooked, lessons, range(5), {"act": 1.0})["act"]
        assert same.max() < 1e-8
        row, step = PLANTED
        lessons.activations[STARTS[row] + step] += MARK
        marked = example_losses(hooked, lessons, range(5), {"act": 1.0})["act"]
        elsewhere = example_losses(hooked, lessons, [0, 1, 3, 4], {"act": 1.0})["act"]
    # MARK off in every layer and place of the width, at one of the five tokens of the third example
    num_layers = model.config.num_hidden_layers
    expected = [0.0, 0.0, num_layers * MARK**2 / RESPONSES[row], 0.0, 0.0]
    assert marked.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert elsewhere.max() < 1e-8


@pytest.mark.parametrize("shape", SHAPES)
@every_adapter
def test_only_the_planted_row_and_column_pulls(shape: str, adapter: str) -> None:
    """The gradient that reaches the blocks' outputs is at the marked position, and zero at every other."""
    model, (row, step) = tiny_model(shape), PLANTED
    with student_of(model, named(adapter)) as (student, hooked):
        lessons = lessons_of(plainly(student))
        assert lessons.activations is not None
        lessons.activations[STARTS[row] + step] += MARK
        outputs: list[Tensor] = []
        last = [module for module in model.modules() if type(module).__name__.endswith("Attention")][-1]
        hook = last.register_forward_hook(lambda _module, _in, out: outputs.append(out[0]))
        loss = example_losses(hooked, lessons, range(5), {"act": 1.0})["act"].sum()
        (gradient,) = torch.autograd.grad(loss, outputs[-1])
        hook.remove()
    sizes = gradient.norm(dim=-1)
    width = gradient.shape[1]
    at = divmod(int(sizes.argmax()), width)
    # prompts of P tokens are followed by their response: token g of it is predicted at P - 1 + g
    assert at == (row, PROMPTS[row] - 1 + step)
    assert sizes.max() > 1e-2
    sizes[at] = 0.0
    assert sizes.max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
@every_adapter
def test_tokens_and_distributions_are_matched_at_the_answer_positions(shape: str, adapter: str) -> None:
    with student_of(tiny_model(shape), named(adapter)) as (student, hooked):
        plains = plainly(student)
        lessons = lessons_of(plains)
        losses = example_losses(hooked, lessons, range(5), {"tok": 1.0, "tokl": 1.0})
        assert lessons.hidden_states is not None
        lessons.hidden_states[STARTS[2] + 3] *= -1.0
        marked = example_losses(hooked, lessons, range(5), {"tokl": 1.0})["tokl"]
    cross_entropies = [
        torch.nn.functional.cross_entropy(plain.logits, torch.tensor(example.response)).item()
        for plain, example in zip(plains, EXAMPLES, strict=True)
    ]
    assert losses["tok"].tolist() == pytest.approx(cross_entropies, rel=1e-5)
    assert losses["tokl"].abs().max() < 1e-5
    assert [index for index in range(5) if marked[index] > 1e-3] == [2]


@pytest.mark.parametrize("num_virtual", [3, 6, 7, 20])
@pytest.mark.parametrize("shape", ["gemma3_text", "mistral", "qwen2", "phi3", "llama"])
@pytest.mark.parametrize("adapter", ["prompt", "prefix"])
def test_virtual_tokens_may_be_more_than_a_sliding_window(shape: str, adapter: str, num_virtual: int) -> None:
    """The windows of the tiny models are 6 tokens wide."""
    with student_of(tiny_model(shape), named(adapter), num_virtual) as (student, hooked):
        plains = plainly(student)
        losses = example_losses(hooked, lessons_of(plains), range(5), ALL)
        losses["act"].sum().backward()
        assert all(parameter.grad is not None for parameter in trainable_parameters(student).values())
    assert losses["act"].max() < 1e-8
    assert losses["tokl"].abs().max() < 1e-5


# Batches


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("method", "phase"), PHASES, ids=[f"{method}:{phase.name}" for method, phase in PHASES])
def test_a_batch_is_its_examples_one_by_one(shape: str, method: str, phase: Phase) -> None:
    """In value and in gradient, for prompts and responses of several lengths."""
    weights = dict(phase.weights(0.3))
    generator = torch.Generator().manual_seed(2)
    model = tiny_model(shape)
    teacher = torch.randn(TOTAL, model.config.num_hidden_layers, 32, generator=generator)
    lessons = DistillationDataset(EXAMPLES, teacher, torch.randn(TOTAL, 32, generator=generator))
    order = [3, 0, 4, 2, 1]
    with student_of(model, method) as (student, hooked):
        parameters = list(trainable_parameters(student).values())
        together = weighted(example_losses(hooked, lessons, order, weights), weights)
        gradients = torch.autograd.grad(together.mean(), parameters)
        summed = [torch.zeros_like(parameter) for parameter in parameters]
        for place, index in enumerate(order):
            alone = weighted(example_losses(hooked, lessons, [index], weights), weights)
            torch.testing.assert_close(together[place], alone[0], atol=1e-5, rtol=1e-4)
            for total, gradient in zip(summed, torch.autograd.grad(alone[0] / 5, parameters), strict=True):
                total.add_(gradient)
    for ours, expected in zip(gradients, summed, strict=True):
        assert (ours - expected).abs().max() <= 1e-4 * max(1.0, expected.abs().max().item())
        assert expected.abs().max() > 1e-6


def test_phases_are_those_of_all_methods() -> None:
    assert {method for method, _ in PHASES} == set(METHODS)
    assert {phase.name for method, phase in PHASES if METHODS[method] == Method("prefix", "t2a")} == {"tok", "act"}


# Matching


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("top_k", ["all", 5])
def test_distributions_are_matched_in_every_dtype(dtype: torch.dtype, top_k: int | str) -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(TOTAL, 32, generator=generator)
    exact = DistillationDataset(EXAMPLES, None, hidden)
    lessons = DistillationDataset(EXAMPLES, None, hidden.to(dtype))
    with student_of(tiny_model("llama"), "tokl") as (_, hooked), torch.no_grad():
        expected = example_losses(hooked, exact, range(5), {"tokl": 1.0}, tokl_top_k=top_k)["tokl"]
    with student_of(tiny_model("llama").to(dtype), "tokl") as (student, hooked):
        found = example_losses(hooked, lessons, range(5), {"tokl": 1.0}, tokl_top_k=top_k)["tokl"]
        found.sum().backward()
        assert all(parameter.grad is not None for parameter in trainable_parameters(student).values())
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected.tolist(), rel=0.1)


@pytest.mark.parametrize("layers", ["0", "1", "0-1"])
def test_only_the_chosen_layers_are_matched(layers: str) -> None:
    with student_of(tiny_model("llama"), "act") as (student, hooked), torch.no_grad():
        plain = lessons_of(plainly(student))
        assert plain.activations is not None
        plain.activations[:, 1] += MARK
        lessons = DistillationDataset(EXAMPLES, plain.activations)
        loss = example_losses(hooked, lessons, range(5), {"act": 1.0}, layers=layers)["act"]
    assert loss.tolist() == pytest.approx([MARK**2 if "1" in layers else 0.0] * 5, rel=1e-5, abs=1e-7)


def test_act_norm_divides_a_layer_s_error_by_its_target_s_size() -> None:
    """Student a, target a + MARK: in each layer MARK^2 over the mean of (a + MARK)^2 of the example."""
    with student_of(tiny_model("llama"), "act") as (student, hooked), torch.no_grad():
        plains = plainly(student)
        targets = lessons_of(plains).activations
        assert targets is not None
        lessons = DistillationDataset(EXAMPLES, targets + MARK)
        loss = example_losses(hooked, lessons, range(5), {"act": 1.0}, act_norm="layer")["act"]
    expected = [sum(MARK**2 / (layer + MARK).square().mean().item() for layer in plain.activations) for plain in plains]
    assert loss.tolist() == pytest.approx(expected, rel=1e-5)


# Padding sides


@pytest.mark.parametrize("method", ["act", "prompt-act", "tok", "prefix-tokl"])
def test_the_tokenizer_s_padding_side_changes_no_bit(method: str, tmp_path: Path) -> None:
    runs = []
    for side in ("left", "right"):
        school = School.of(tmp_path / side, "gemma3_text")
        tiny_tokenizer(padding_side=side).save_pretrained(school.base)  # type: ignore[arg-type]
        assert school.lm.tokenizer.padding_side == side
        runs.append(school.train(method, num_train_epochs=3))
    assert len({(folder / "adapter_model.safetensors").read_bytes() for folder in runs}) == 1
