"""Training steps with dev evaluation: ours beside one example at a time, forward and backward, the dev set one by one.

    python benchmarks/bench_train.py                        on a CPU, with SmolLM2; for a GPU see gpu.py

Seconds are those of one epoch with its dev evaluations. Ours are the epochs of one run after its first, into which
compilation and capture fall, and which is told apart. Both sides train on the same targets from the same adapter in the
same order, and every loss of the plain side is compared.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from statistics import median
from typing import Literal

import plain
import torch
from floors import Phase, forward, one_by_one, training_step
from machine import Timed, wait
from prompts import Ids, after_others, source
from results import Result, Side
from running import Bench, main

from ia2.config import TrainConfig
from ia2.methods import VARIANTS
from ia2.models.adapters import peft_config
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.models.stacked_lora import trainable_adapters
from ia2.prompts.prompt import seeded
from ia2.training.dataset import from_targets
from ia2.training.targets import Targets, collect
from ia2.training.trainer import History, TrainingRun, train_in_lockstep

BATCH_SIZE, DEV_EVAL_STEPS, SEED, LEARNING_RATE = 4, 2, 0, 1e-3


@dataclass(frozen=True)
class TrainRow:
    """`num_examples` rows of about `length` tokens, half as many dev rows, T = 1: one token is matched.

    The plain side takes `plain_steps` of the first epoch's steps, an even number (0: all).
    """

    name: str
    bar: float
    loss: Literal["act", "tok"]
    length: int
    num_examples: int = 32
    num_epochs: int = 3
    num_demonstrations: int = 4
    plain_steps: int = 0

    def small(self) -> "TrainRow":
        return replace(self, length=10, num_examples=8, num_epochs=2, plain_steps=0)

    @property
    def num_steps(self) -> int:
        """Of one epoch; even, so that the dev evaluation after the last step is that of its number."""
        return self.num_examples // BATCH_SIZE

    @property
    def batches(self) -> list[list[int]]:
        """The examples of every step of the first epoch, as docs/method.md has them drawn from the run's seed."""
        indices = list(range(self.num_examples))
        seeded("epochs", f"{SEED}/{self.loss}").shuffle(indices)
        return [indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE)]

    def measure(self, bench: Bench) -> Result:
        queries = source(self.length, bench.shape.vocabulary).examples(self.num_examples * 3 // 2)
        targets = _targets(bench, after_others(queries, self.num_demonstrations, Random(1)))
        runs = bench.in_turns(
            lambda: _ours(self, bench, queries, targets), lambda _trained: _plain(self, bench, queries, targets)
        )
        comparison = bench.comparison()
        for run, other in zip(runs.ours, runs.plain, strict=True):
            comparison.numbers("train losses", run.value.train[: len(other.value.train)], other.value.train)
            comparison.numbers("dev losses", run.value.dev[: len(other.value.dev)], other.value.dev)
        steps = self.plain_steps or self.num_steps
        scaled = f"{steps} of {self.num_steps} steps measured, scaled" if steps < self.num_steps else ""
        again = [run.value.epochs[0] for run in runs.ours[1:]]
        num_dev = len(queries) - self.num_examples
        return Result(
            row=self.name,
            work=f"{self.loss}: an epoch of {self.num_steps} steps of {BATCH_SIZE} rows of about {self.length} tokens, "
            f"and {self.num_steps // DEV_EVAL_STEPS} evaluations of {num_dev} dev rows",
            bar=self.bar,
            ours=_side(runs.ours, slice(1, None)),
            plain=_side(runs.plain, slice(1), scaled, steps / self.num_steps),
            phases=_phases(self, bench, queries),
            compared=[comparison],
            more=(
                f"the first epoch of a later run takes {median(again):.4g} s, "
                f"a whole run of {self.num_epochs} epochs {median(run.seconds for run in runs.ours[1:]):.4g} s",
            ),
        )


@dataclass
class Course:
    """The losses of a training, and the time before its first step and after each."""

    device: torch.device
    num_steps: int
    train: list[float] = field(default_factory=list)
    dev: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def note(self) -> None:
        """A step is done; the device is waited for at the end of an epoch only."""
        if len(self.times) % self.num_steps == 0:
            wait(self.device)
        self.times.append(time.perf_counter())

    def see(self, entry: History) -> None:
        """An entry of a run's history."""
        self.note()
        if "train_loss" in entry:
            self.train.append(float(entry["train_loss"]))
        if "dev_loss" in entry:
            self.dev.append(float(entry["dev_loss"]))

    @property
    def epochs(self) -> list[float]:
        """Seconds of each epoch, with the dev evaluations that follow its steps."""
        return [after - before for before, after in pairwise(self.times[:: self.num_steps])]


def _targets(bench: Bench, prompts: Sequence[Ids]) -> Targets:
    teacher = HookedModel(bench.ours)
    return collect(teacher, prompts, GenerationConfig(1, None), {"tokens", "activations"})


def _ours(row: TrainRow, bench: Bench, queries: Sequence[Ids], targets: Targets) -> Course:
    lessons = from_targets(queries, targets)
    datasets = lessons.part(0, row.num_examples), lessons.part(row.num_examples, len(lessons))
    config = TrainConfig(
        training_method=row.loss,
        lr=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        num_train_epochs=row.num_epochs,
        patience=row.num_epochs * row.num_steps,
        dev_eval_steps=DEV_EVAL_STEPS,
        run_idx=SEED,
    )
    course = Course(bench.device, row.num_steps)
    with trainable_adapters(bench.ours, [peft_config(bench.ours, config)], [SEED]) as adapters:
        (phase,) = VARIANTS[row.loss].phases
        (run,) = train_in_lockstep(
            [TrainingRun(config, phase, *datasets, adapters.parameters[0], note=course.see)], adapters
        )
        run.finish()
    return course


def _plain(row: TrainRow, bench: Bench, queries: Sequence[Ids], targets: Targets) -> Course:
    assert targets.activations is not None
    told = zip(queries, targets.responses, targets.activations[:, :, None], strict=True)
    lessons = [plain.Lesson(query, response, activations) for query, response, activations in told]
    batches = row.batches[: row.plain_steps or row.num_steps]
    plan = plain.Plan(row.loss, LEARNING_RATE, batches, DEV_EVAL_STEPS)
    course = Course(bench.device, len(batches))
    with plain.lora(bench.plain, SEED) as student:
        losses = plain.train(student, lessons[: row.num_examples], lessons[row.num_examples :], plan, course.note)
    course.train, course.dev = losses.train, losses.dev
    return course


def _side(runs: Sequence[Timed[Course]], chosen: slice, scaled: str = "", share: float = 1.0) -> Side:
    """One side by the `chosen` epochs of its runs, each of `share` of a whole one; the first run was for warming up."""
    seconds = [epoch / share for run in runs[1:] for epoch in run.value.epochs[chosen]]
    return Side(seconds, runs[0].value.epochs[0] / share, runs[0].peak_bytes, scaled)


def _phases(row: TrainRow, bench: Bench, queries: Sequence[Ids]) -> list[Phase]:
    """The steps of an epoch and its dev evaluations; a response of one token is predicted by the query's last."""
    answers = 1 if row.loss == "tok" else 0
    steps = [
        training_step(bench.shape, [queries[index] for index in chosen], answers * BATCH_SIZE) for chosen in row.batches
    ]
    dev = queries[row.num_examples :]
    evaluation = forward(bench.shape, one_by_one(dev), answers * len(dev))
    return [*steps, *[evaluation] * (row.num_steps // DEV_EVAL_STEPS)]


ON_CPU = (
    TrainRow("train-act", 3.5, "act", length=10, plain_steps=2),
    TrainRow("train-tok", 3.5, "tok", length=10, plain_steps=2),
)
ON_GPU = (TrainRow("train-act", 6, "act", length=100),)

if __name__ == "__main__":
    sys.exit(main(ON_CPU, __doc__, "smollm2-135m"))
