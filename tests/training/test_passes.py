"""Passes: several runs in one forward pass, and a step in several, come to what one run and one pass come to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import pytest
import torch
from made_up_ids import made_up_ids
from peft import PeftModel
from tiny import SHAPES, tiny_model
from torch import Tensor

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import Loss
from ia2.models.adapters import ALONE, Beginning, peft_config, snapshot, trainable_adapters
from ia2.models.hooked_model import HookedModel
from ia2.training.dataset import Matching, Share, exercise_of, from_targets, losses_of
from ia2.training.passes import Request, drive, passes_of
from ia2.training.targets import Targets, add_kinds
from ia2.training.trainer import History, Lesson, PhaseArguments, Student, TrainOutput, fitting

QUESTIONS = made_up_ids("questions", 4, 7, 5, 3, 6, 5, 4, 8)
ANSWERS = tuple(made_up_ids("answers", 2, 1, 3, 2, 1, 2, 3, 1))
PROMPTED = [demos + question for demos, question in zip(made_up_ids("demos", *[9] * 8), QUESTIONS, strict=True)]
SETTINGS = PhaseArguments(
    lr=0.02, batch_size=2, num_train_epochs=4, patience=3, dev_eval_steps=2, keep="best", seed="0"
)
LOSSES: dict[str, dict[Loss, float]] = {"act": {"act": 1.0}, "tok": {"tok": 1.0}, "tna": {"act": 0.9, "tok": 0.1}}


@contextmanager
def students(shape: str, seeds: list[int]) -> Iterator[tuple[PeftModel, list[str], HookedModel]]:
    model = tiny_model(shape)
    config = TrainConfig(training_method="act", lora_r=4, lora_type="qkvo")
    beginnings = [Beginning(peft_config(model, config), seed) for seed in seeds]
    with trainable_adapters(model, beginnings) as (adapted, names):
        hooked = HookedModel(adapted)
        yield adapted, names, hooked


def lesson(shape: str, losses: str, part: int = 0) -> Lesson:
    """Rows of different lengths; another `part` has other rows, and fewer of them."""
    teacher = HookedModel(tiny_model(shape))
    targets = add_kinds(teacher, PROMPTED, Targets(ANSWERS), {"activations"})
    lessons = from_targets(QUESTIONS, targets)
    return Lesson(lessons.part(part, 5), lessons.part(5, 8), LOSSES[losses])


def fits(
    shape: str, runs: list[tuple[int, Lesson, PhaseArguments]], passes: int | None = None
) -> list[dict[str, object]]:
    """What each run comes to, all of them in the same passes."""
    histories: list[list[History]] = [[] for _ in runs]
    with students(shape, [seed for seed, _, _ in runs]) as (adapted, names, hooked):
        made = [
            fitting(Student(adapted, name), one, settings, history.append)
            for name, (_, one, settings), history in zip(names, runs, histories, strict=True)
        ]
        outcomes = drive(made, passes_of(hooked, passes))
        weights = [
            {key.replace(f".{name}.", "."): value for key, value in snapshot(adapted, name).items()} for name in names
        ]
    return [
        {"outcome": outcome, "weights": own, "history": history}
        for outcome, own, history in zip(outcomes, weights, histories, strict=True)
    ]


def numbers_in(history: list[History]) -> list[float]:
    return [float(entry[key]) for entry in history for key in ("train_loss", "dev_loss") if key in entry]


def assert_alike(one: dict[str, object], other: dict[str, object]) -> None:
    assert isinstance(one["outcome"], TrainOutput)
    assert isinstance(other["outcome"], TrainOutput)
    assert (one["outcome"].best_step, one["outcome"].num_steps) == (
        other["outcome"].best_step,
        other["outcome"].num_steps,
    )
    assert numbers_in(one["history"]) == pytest.approx(numbers_in(other["history"]), rel=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("losses", LOSSES)
@pytest.mark.parametrize("shape", ["llama", *(pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES[1:])])
def test_runs_together_come_to_what_each_comes_to_alone(shape: str, losses: str) -> None:
    whole, half = lesson(shape, losses), lesson(shape, losses, part=2)
    runs = [
        (0, whole, SETTINGS),
        (1, half, replace(SETTINGS, lr=0.005, seed="1")),
        (0, whole, replace(SETTINGS, keep="last")),
    ]
    together = fits(shape, runs)
    for run, stacked in zip(runs, together, strict=True):
        (alone,) = fits(shape, [run])
        assert_alike(stacked, alone)
    lengths = {len(numbers_in(one["history"])) for one in together}  # type: ignore[arg-type]
    assert len(lengths) > 1, "the runs have to end at different steps for this test"


def test_each_adapter_starts_as_it_would_alone() -> None:
    with students("llama", [3, 4, 3]) as (adapted, names, _):
        together = [list(snapshot(adapted, name).values()) for name in names]
    for seed, own in zip([3, 4, 3], together, strict=True):
        with students("llama", [seed]) as (adapted, names, _):
            assert names == [ALONE]
            assert all(torch.equal(*pair) for pair in zip(own, snapshot(adapted).values(), strict=True))
    assert not all(torch.equal(*pair) for pair in zip(together[0], together[1], strict=True))


def test_a_run_whose_loss_is_no_number_ends_alone() -> None:
    whole = lesson("llama", "act")
    runs = [(0, whole, SETTINGS), (0, whole, replace(SETTINGS, lr=1e30, keep="last"))]
    good, bad = fits("llama", runs)
    assert isinstance(bad["outcome"], UserError)
    (alone,) = fits("llama", runs[:1])
    assert_alike(good, alone)


def gradients(micro_batch_size: int | None) -> tuple[list[Tensor], dict[Loss, Tensor]]:
    one = lesson("llama", "tna")
    with students("llama", [0]) as (adapted, names, hooked):
        student = Student(adapted, names[0])
        request = Request(Share(one.train, (4, 0, 3, 1, 2)), one.trained, gradient=True)
        (answer,) = passes_of(hooked, micro_batch_size).answer([request])
        found = [parameter.grad.clone() for parameter in student.parameters if parameter.grad is not None]
    return found, dict(answer.losses)


def assert_same_gradients(found: list[Tensor], expected: list[Tensor]) -> None:
    """But for rounding, whose size is that of the largest entry: small ones are sums of large ones."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        size = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * size)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 9])
def test_a_step_in_micro_batches_has_the_gradient_of_the_whole(micro_batch_size: int) -> None:
    whole, losses = gradients(None)
    parts, apart = gradients(micro_batch_size)
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in whole)
    assert_same_gradients(parts, whole)
    for name, values in losses.items():
        torch.testing.assert_close(values, apart[name], rtol=1e-4, atol=1e-6)


def test_what_fills_a_shape_changes_no_loss() -> None:
    one, wanted = lesson("llama", "tna").train, ("act", "tok")
    with students("llama", [0]) as (_, _, hooked), torch.no_grad():
        exercise = exercise_of([Share(one, (4, 0, 3))], wanted, hooked.device)
        num_rows, num_tokens, num_positions = exercise.shape
        filled = exercise.filled(num_tokens + 5, num_positions + 7)
        assert filled.shape == (num_rows, num_tokens + 5, num_positions + 7)
        expected = losses_of(hooked, exercise, wanted)
        found = losses_of(hooked, filled, wanted)
    assert expected.keys() == found.keys() == set(wanted)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("act_norm", ["none", "layer"])
def test_what_fills_a_shape_changes_no_gradient(act_norm: Literal["none", "layer"]) -> None:
    own = lesson("llama", "tna").train
    one, wanted = replace(own, matching=Matching(act_norm=act_norm)), ("act", "tok")
    with students("llama", [0]) as (adapted, names, hooked):
        exercise = exercise_of([Share(one, (4, 0, 3))], wanted, hooked.device)
        _, num_tokens, num_positions = exercise.shape
        found = []
        for each in (exercise, exercise.filled(num_tokens + 5, num_positions + 7)):
            adapted.zero_grad(set_to_none=True)
            torch.stack([values.sum() for values in losses_of(hooked, each, wanted).values()]).sum().backward()
            gradients = (parameter.grad for parameter in Student(adapted, names[0]).parameters)
            found.append([gradient for gradient in gradients if gradient is not None])
    assert_same_gradients(found[1], found[0])


def test_a_copied_exercise_has_all_tensors_of_its_own() -> None:
    exercise = exercise_of([Share(lesson("llama", "tna").train, (4, 0, 3))], ("act", "tok"), torch.device("cpu"))
    for mine, given in zip(exercise.copied().tensors, exercise.tensors, strict=True):
        assert torch.equal(mine, given)
        assert mine.data_ptr() != given.data_ptr()
