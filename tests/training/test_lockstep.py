"""Runs in lockstep: several in the same passes, and a step in several passes, equal one run and one pass."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from made_up_ids import made_up_ids
from tiny import SHAPES, tiny_model
from torch import Tensor

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import VARIANTS
from ia2.models.adapters import peft_config
from ia2.models.hooked_model import HookedModel
from ia2.models.stacked_lora import StackedLora
from ia2.training.dataset import DistillationDataset, from_targets
from ia2.training.targets import Targets, add_kinds
from ia2.training.trainer import History, TrainingRun, train_in_lockstep

QUESTIONS = made_up_ids("questions", 4, 7, 5, 3, 6, 5, 4, 8)
ANSWERS = tuple(made_up_ids("answers", 2, 1, 3, 2, 1, 2, 3, 1))
PROMPTED = [demos + question for demos, question in zip(made_up_ids("demos", *[9] * 8), QUESTIONS, strict=True)]
Datasets = tuple[DistillationDataset, DistillationDataset]


def settings(method: str = "act", **changes: Any) -> TrainConfig:
    fields = {"lr": 0.02, "batch_size": 2, "num_train_epochs": 4, "patience": 3, "dev_eval_steps": 2, **changes}
    return TrainConfig(training_method=method, lora_type="qkvo", **{"lora_r": 4, "ce_loss_weight": 0.1, **fields})  # type: ignore[arg-type]


def student_of(shape: str, runs: Sequence[TrainConfig]) -> StackedLora:
    model = tiny_model(shape)
    configs: Any = [peft_config(model, one) for one in runs]
    return StackedLora(model, configs, [one.run_idx for one in runs])


def datasets_of(shape: str, part: int = 0) -> Datasets:
    """Rows of different lengths; another `part` has other rows, and fewer of them."""
    targets = add_kinds(HookedModel(tiny_model(shape)), PROMPTED, Targets(ANSWERS), {"activations"})
    whole = from_targets(QUESTIONS, targets)
    return whole.part(part, 5), whole.part(5, 8)


def together(shape: str, runs: list[tuple[TrainConfig, Datasets]]) -> list[dict[str, Any]]:
    """The result of each run, all of them in the same passes."""
    student = student_of(shape, [config for config, _ in runs])
    histories: list[list[History]] = [[] for _ in runs]
    training = [
        TrainingRun(
            config,
            config.method.phases[0],
            *datasets,
            student.parameters[place],
            adapter=place,
            note=histories[place].append,
        )
        for place, (config, datasets) in enumerate(runs)
    ]
    outcomes: dict[int, dict[str, Any] | UserError] = {}
    for ended in train_in_lockstep(training, student):
        assert ended.adapter not in outcomes
        outcomes[ended.adapter] = ended.error or ended.finish()
    return [
        {"outcome": outcomes[place], "weights": student.state(place), "history": histories[place]}
        for place in range(len(runs))
    ]


def numbers_in(history: list[History]) -> list[float]:
    return [float(entry[key]) for entry in history for key in ("train_loss", "dev_loss") if key in entry]


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["outcome"]["best_step"] == other["outcome"]["best_step"]
    assert one["outcome"]["num_steps"] == other["outcome"]["num_steps"]
    assert numbers_in(one["history"]) == pytest.approx(numbers_in(other["history"]), rel=1e-4)


@pytest.mark.parametrize("method", ["act", "tok", "tna"])
@pytest.mark.parametrize("shape", ["llama", *(pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES[1:])])
def test_runs_together_equal_each_alone(shape: str, method: str) -> None:
    """Whatever the rates, seeds, numbers of rows, ranks and scalings, and weights of their losses, 0 included."""
    whole, half = datasets_of(shape), datasets_of(shape, part=2)
    runs = [
        (settings(method), whole),
        (settings(method, lr=0.005, run_idx=1), half),
        (settings(method, keep="last", ce_loss_weight=0.0), whole),
        (settings(method, lora_r=2, lora_alpha=6, ce_loss_weight=1.0), whole),
    ]
    stacked = together(shape, runs)
    for run, found in zip(runs, stacked, strict=True):
        (alone,) = together(shape, [run])
        assert_alike(found, alone)
    assert len({len(numbers_in(one["history"])) for one in stacked}) > 1, "the runs have to end at different steps"


def test_a_run_whose_loss_is_no_number_ends_alone() -> None:
    whole = datasets_of("llama")
    runs = [(settings(), whole), (settings(lr=1e30, keep="last"), whole)]
    good, bad = together("llama", runs)
    assert isinstance(bad["outcome"], UserError)
    (alone,) = together("llama", runs[:1])
    assert_alike(good, alone)


def test_seconds_of_runs_are_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by a second whenever it is read: the runs' seconds together are those of the passes."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("ia2.training.trainer.time.perf_counter", lambda: float(next(ticks)))
    whole = datasets_of("llama")
    (alone,) = together("llama", [(settings(num_train_epochs=1, keep="last"), whole)])
    both = together("llama", [(settings(num_train_epochs=1, keep="last", lr=lr), whole) for lr in (0.02, 0.01)])
    # 3 steps, and 3 evaluations: before the first, after the second and after the third
    assert alone["outcome"]["seconds"] == 6
    assert [one["outcome"]["seconds"] for one in both] == [3, 3]


def gradients(monkeypatch: pytest.MonkeyPatch, micro_batch_size: int | None) -> tuple[list[Tensor], float]:
    """The gradient of a step of five rows, and its loss."""
    config = settings("tna", batch_size=5, num_train_epochs=1, micro_batch_size=micro_batch_size)
    student, found = student_of("llama", [config]), list[Tensor]()
    run = TrainingRun(config, VARIANTS["tna"].phases[0], *datasets_of("llama"), student.parameters[0])
    weights = student.parameters[0][0]

    def stepping() -> None:
        assert weights.grad is not None
        found.extend(part.clone() for part in student.split(weights.grad))

    monkeypatch.setattr(run.optimizer, "step", stepping)
    next(train_in_lockstep([run], student))
    return found, run.final_train_loss


def assert_same_gradients(found: list[Tensor], expected: list[Tensor]) -> None:
    """But for rounding, whose size is that of the largest entry: small ones are sums of large ones."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        size = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * size)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 9])
def test_a_step_in_micro_batches_has_the_gradient_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, micro_batch_size: int
) -> None:
    whole, loss = gradients(monkeypatch, None)
    parts, apart = gradients(monkeypatch, micro_batch_size)
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in whole)
    assert_same_gradients(parts, whole)
    assert apart == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_runs_in_micro_batches_equal_each_whole(micro_batch_size: int) -> None:
    def run(**changes: Any) -> list[dict[str, Any]]:
        first, second = settings(**changes), settings(run_idx=1, lora_r=2, **changes)
        return together("llama", [(first, datasets_of("llama")), (second, datasets_of("llama", part=2))])

    for parts, whole in zip(run(micro_batch_size=micro_batch_size), run(), strict=True):
        assert_alike(parts, whole)
