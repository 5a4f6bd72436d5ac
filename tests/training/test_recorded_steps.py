"""Recorded steps against plain ones, on a GPU and with a stand-in that computes again where a graph replays."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_lockstep import assert_alike, datasets_of, settings, together
from tiny import tiny_model

from ia2.config import TrainConfig
from ia2.methods import VARIANTS
from ia2.models.adapters import peft_config
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.stacked_lora import StackedLora
from ia2.training import trainer
from ia2.training.trainer import TrainingRun, train_in_lockstep

METHODS = ("act", "tok", "tna")


class OnOneGpu(HookedModel):
    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.on_one_gpu = True


class Recorder:
    """Stands in for torch.cuda: a graph computes again, from the tensors it was recorded with into those it wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compute = trainer.forward_backward
        self.num_computed = self.num_replayed = 0
        monkeypatch.setattr(trainer, "HookedModel", OnOneGpu)
        monkeypatch.setattr(trainer, "forward_backward", self.computing)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
        monkeypatch.setattr(torch.cuda, "graph", self.recording)

    def computing(self, hooked: HookedModel, adapters: StackedLora, *given: Any) -> Any:  # noqa: ANN401
        self.num_computed += 1
        self.last = hooked, adapters, *given
        self.outputs = self.compute(hooked, adapters, *given)
        return self.outputs

    @contextmanager
    def recording(self, graph: Any, pool: None) -> Iterator[None]:  # noqa: ANN401
        assert pool is None
        yield
        call, outputs, weights = self.last, self.outputs, self.last[1].weights
        learns = call[3].coefficients is not None
        gradients = [one.grad if learns else None for one in weights]

        def replay() -> None:
            self.num_replayed += 1
            if learns:
                for one in weights:
                    one.grad = None
            for loss, values in self.compute(*call).items():
                outputs[loss].copy_(values)
            for one, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    gradient.copy_(one.grad)

        graph.replay = replay


@pytest.mark.parametrize("method", METHODS)
def test_recorded_steps_of_stacked_runs_are_plain_ones(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    patient = {"num_train_epochs": 5, "patience": 99, "lr": 0.003}  # small steps, since rounding grows with them
    runs = [
        (settings(method, **patient), datasets_of("llama")),
        (settings(method, **patient, lora_r=2, run_idx=1), datasets_of("llama", part=2)),
    ]
    expected = together("llama", runs)
    recorder = Recorder(monkeypatch)
    found = together("llama", runs)
    assert recorder.num_replayed >= 10
    for one, other in zip(found, expected, strict=True):
        assert_alike(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", METHODS)
def test_recorded_steps_on_a_gpu_are_plain_ones(method: str) -> None:
    def losses_of(micro_batch_size: int | None) -> list[float]:
        model: Any = tiny_model("llama").to("cuda")  # type: ignore[arg-type]
        changes = {"num_train_epochs": 6, "micro_batch_size": micro_batch_size}
        configs: list[TrainConfig] = [settings(method, **changes, run_idx=place) for place in range(2)]
        adapters: list[Any] = [peft_config(model, config) for config in configs]
        student, history = StackedLora(model, adapters, [0, 1]), list[float]()
        training = [
            TrainingRun(
                config,
                VARIANTS[method].phases[0],
                *datasets_of("llama"),
                student.parameters[place],
                adapter=place,
                note=lambda entry: history.append(float(entry.get("train_loss", 0.0))),
            )
            for place, config in enumerate(configs)
        ]
        for ended in train_in_lockstep(training, student):
            ended.finish()
        return history

    assert losses_of(None) == pytest.approx(
        losses_of(2), rel=1e-3
    )  # given a size of micro-batches, nothing is recorded
