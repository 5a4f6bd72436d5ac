"""Fitting an adapter to lessons: Adam, dev loss, early stopping, and the weights of the lowest dev loss.

Everything random comes from the run's seed. Steps are separated from judging: `_steps` only moves the weights,
`_Judge` only decides which were best and when to stop.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from peft import PeftModel
from torch import Tensor

from ia2.errors import UserError
from ia2.icl.encoding import budget_batches
from ia2.icl.prompts import seeded
from ia2.lm.adapters import restore, snapshot, trainable_parameters
from ia2.lm.forward import Reader
from ia2.training.lessons import Lessons, example_losses, weighted
from ia2.training.variants import Loss

History = dict[str, float | int | str]


@dataclass(frozen=True)
class FitSettings:
    """How one phase is fitted (the fields of TrainConfig of the same names)."""

    lr: float
    batch_size: int
    num_train_epochs: int
    patience: int
    dev_eval_steps: int
    keep: Literal["best", "last"]
    seed: str
    gradient_clip_val: float | None = None
    log_gradient_norms: bool = False
    log_weight_norms: bool = False
    token_budget: int = 4096


@dataclass(frozen=True)
class Fitted:
    """What a phase came to. Dev losses are None where there are no dev examples.

    `dev_losses` are the phase's losses one by one and unweighted, for the weights that are left in the student.
    """

    best_step: int
    num_steps: int
    best_dev_loss: float | None
    final_dev_loss: float | None
    dev_losses: Mapping[Loss, float] | None
    final_train_loss: float
    stopped_by: Literal["patience", "epochs"]
    seconds: float


@dataclass(frozen=True)
class Lesson:
    """What a phase is fitted on and judged by. A loss of weight 0 is measured on the dev examples and not trained."""

    train: Lessons
    dev: Lessons
    weights: Mapping[Loss, float]

    @property
    def trained(self) -> dict[Loss, float]:
        """The weights of the losses that the gradient is of."""
        return {loss: weight for loss, weight in self.weights.items() if weight}


@dataclass(frozen=True)
class DevLoss:
    """The phase's loss on the dev examples, which judges it, and the unweighted losses that it is the sum of."""

    weighted: float
    parts: Mapping[Loss, float]


def fit(
    student: PeftModel, reader: Reader, lesson: Lesson, settings: FitSettings, note: Callable[[History], None]
) -> Fitted:
    """Train `student` (which `reader` reads) in place; `note` is told of every step and evaluation.

    Raises UserError where a loss is not a number: the weights are worthless then.
    """
    started = time.perf_counter()
    judge = _Judge(student, settings.patience, settings.keep)
    if len(lesson.dev):
        note({"step": 0, "epoch": 0, "dev_loss": judge.see(0, _dev_loss(reader, lesson, 0, settings))})
    last: _Step | None = None
    for last in _steps(student, reader, lesson, settings):
        entry: History = {"step": last.step, "epoch": last.epoch, "train_loss": last.loss}
        if settings.log_gradient_norms:
            entry["gradient_norm"] = last.gradient_norm
        if settings.log_weight_norms:
            entry["weight_norm"] = _norm(trainable_parameters(student).values())
        if len(lesson.dev) and (last.step % settings.dev_eval_steps == 0 or last.ends_epoch):
            entry["dev_loss"] = judge.see(last.step, _dev_loss(reader, lesson, last.step, settings))
        note({**entry, "seconds": round(time.perf_counter() - started, 3)})
        if judge.gives_up:
            break
    assert last is not None
    judge.settle(last.step)
    return Fitted(
        best_step=judge.best_step if judge.best else last.step,
        num_steps=last.step,
        best_dev_loss=judge.best.weighted if judge.best else None,
        final_dev_loss=judge.last.weighted if judge.last else None,
        dev_losses=judge.kept.parts if judge.kept else None,
        final_train_loss=last.loss,
        stopped_by="patience" if judge.gives_up else "epochs",
        seconds=round(time.perf_counter() - started, 3),
    )


@dataclass(frozen=True)
class _Step:
    step: int
    epoch: int
    loss: float
    gradient_norm: float  # before clipping; nan where it was not wanted
    ends_epoch: bool


def _steps(student: PeftModel, reader: Reader, lesson: Lesson, settings: FitSettings) -> Iterator[_Step]:
    """One optimiser step after another, in an order of the examples that the seed decides anew for each epoch."""
    optimiser = torch.optim.Adam(trainable_parameters(student).values(), lr=settings.lr)
    order = seeded("epochs", settings.seed)
    indices = list(range(len(lesson.train)))
    step = 0
    for epoch in range(1, settings.num_train_epochs + 1):
        order.shuffle(indices)
        for start in range(0, len(indices), settings.batch_size):
            optimiser.zero_grad(set_to_none=True)
            chosen = indices[start : start + settings.batch_size]
            loss = weighted(example_losses(reader, lesson.train, chosen, lesson.trained), lesson.trained).mean()
            loss.backward()
            norm = _clip(student, settings)
            optimiser.step()
            step += 1
            value = _number("training", loss.item(), step, settings)
            yield _Step(step, epoch, value, norm, start + settings.batch_size >= len(indices))


def _clip(student: PeftModel, settings: FitSettings) -> float:
    """Clip the gradient if that is wanted; its norm before, where it is wanted."""
    if settings.gradient_clip_val is None and not settings.log_gradient_norms:
        return math.nan
    parameters = trainable_parameters(student).values()
    limit = math.inf if settings.gradient_clip_val is None else settings.gradient_clip_val
    return float(torch.nn.utils.clip_grad_norm_(parameters, limit))


@torch.no_grad()
def _norm(tensors: Iterable[Tensor]) -> float:
    return float(torch.stack([tensor.float().norm() for tensor in tensors]).norm())


def _number(which: str, loss: float, step: int, settings: FitSettings) -> float:
    if not math.isfinite(loss):
        raise UserError(f"lr={settings.lr}: the {which} loss is {loss} at step {step}; take a lower --lr")
    return loss


@torch.no_grad()
def dev_loss(reader: Reader, lesson: Lesson, token_budget: int) -> DevLoss:
    """The phase's loss on the dev examples, each weighing the same whatever the batches."""
    batches = budget_batches(lesson.dev.examples, token_budget)
    losses = [example_losses(reader, lesson.dev, chosen, lesson.weights) for chosen in batches]
    parts = {loss: float(torch.cat([batch[loss] for batch in losses]).mean()) for loss in lesson.weights}
    return DevLoss(sum(weight * parts[loss] for loss, weight in lesson.trained.items()), parts)


def _dev_loss(reader: Reader, lesson: Lesson, step: int, settings: FitSettings) -> DevLoss:
    loss = dev_loss(reader, lesson, settings.token_budget)
    _number("dev", loss.weighted, step, settings)
    return loss


@dataclass
class _Judge:
    """Keeps a true copy of the best weights, and counts the evaluations since."""

    student: PeftModel
    patience: int
    keep: Literal["best", "last"]
    best_weights: dict[str, Tensor] | None = None
    best: DevLoss | None = None
    best_step: int = 0
    last: DevLoss | None = None
    evaluations_since: int = 0

    def see(self, step: int, loss: DevLoss) -> float:
        """Take note of the dev loss after a step, and return it."""
        self.last = loss
        if self.best is None or loss.weighted < self.best.weighted:
            self.best_weights, self.best, self.best_step = snapshot(self.student), loss, step
            self.evaluations_since = 0
        else:
            self.evaluations_since += 1
        return loss.weighted

    @property
    def gives_up(self) -> bool:
        return self.evaluations_since >= self.patience

    @property
    def kept(self) -> DevLoss | None:
        """The dev loss of the weights that are to be saved; each epoch ends in an evaluation, so the last has one."""
        return self.best if self.keep == "best" else self.last

    def settle(self, last_step: int) -> None:
        """Leave in the student the weights that are to be saved."""
        if self.keep == "best" and self.best_weights is not None and self.best_step != last_step:
            restore(self.student, self.best_weights)
