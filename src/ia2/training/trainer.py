"""Fitting an adapter to lessons: Adam, dev loss, early stopping, and the weights of the lowest dev loss.

Everything random comes from the run's seed. A fit asks for its gradients and dev losses (see `passes`), so that it need
not know whether it is alone. It moves the weights; `_Judge` decides which were best and when to stop.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils import get_total_norm

from ia2.errors import UserError
from ia2.methods import Loss
from ia2.models.adapters import ALONE, restore, snapshot, trainable_parameters
from ia2.models.hooked_model import HookedModel
from ia2.prompts.prompt import seeded
from ia2.training.computation import Plainly
from ia2.training.dataset import DistillationDataset, Share, weighted
from ia2.training.passes import Answer, Fit, Passes, Request, drive, passes_of

History = dict[str, float | int | str]


@dataclass(frozen=True)
class PhaseArguments:
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


@dataclass(frozen=True)
class TrainOutput:
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

    train: DistillationDataset
    dev: DistillationDataset
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


@dataclass(frozen=True)
class Student:
    """What is fitted: one adapter of a model, by its name."""

    model: PeftModel
    adapter: str = ALONE

    @property
    def parameters(self) -> list[Tensor]:
        """Its live parameters."""
        return list(trainable_parameters(self.model, self.adapter).values())


def fit(
    student: PeftModel, hooked: HookedModel, lesson: Lesson, settings: PhaseArguments, note: Callable[[History], None]
) -> TrainOutput:
    """Train `student` (which `hooked` reads) in place; `note` is told of every step and evaluation.

    Raises UserError where a loss is not a number: the weights are worthless then.
    """
    (fitted,) = drive([fitting(Student(student), lesson, settings, note)], passes_of(hooked))
    if isinstance(fitted, UserError):
        raise fitted
    return fitted


def fitting(
    student: Student, lesson: Lesson, settings: PhaseArguments, note: Callable[[History], None]
) -> Fit[TrainOutput]:
    """`fit` under way: yields what it wants of the student, and trains it in place with what it is sent."""
    asks, judge = _Dialogue(student, lesson, settings), _Judge(student, settings.patience, settings.keep)
    parameters = student.parameters
    optimiser = torch.optim.Adam(parameters, lr=settings.lr, fused=parameters[0].is_cuda)
    if len(lesson.dev):
        note({"step": 0, "epoch": 0, "dev_loss": judge.see(0, (yield from asks.dev_loss(0)))})
    step, loss = _Step(0, 0, (), ends_epoch=True), math.nan
    for step in _steps(len(lesson.train), settings):
        optimiser.zero_grad(set_to_none=True)
        loss = yield from asks.gradient(step)
        gradient_norm = _clip(parameters, settings)
        optimiser.step()
        entry: History = {"step": step.number, "epoch": step.epoch, "train_loss": loss}
        if settings.log_gradient_norms:
            entry["gradient_norm"] = gradient_norm
        if settings.log_weight_norms:
            entry["weight_norm"] = float(get_total_norm(parameters))
        if len(lesson.dev) and (step.number % settings.dev_eval_steps == 0 or step.ends_epoch):
            entry["dev_loss"] = judge.see(step.number, (yield from asks.dev_loss(step.number)))
        note({**entry, "seconds": asks.seconds})
        if judge.gives_up:
            break
    judge.settle(step.number)
    return judge.fitted(step.number, loss, asks.seconds)


@dataclass(frozen=True)
class _Step:
    number: int
    epoch: int
    indices: Sequence[int]
    ends_epoch: bool


def _steps(num_examples: int, settings: PhaseArguments) -> Iterator[_Step]:
    """The examples of one optimiser step after another, in an order that the seed decides anew for each epoch."""
    order = seeded("epochs", settings.seed)
    indices = list(range(num_examples))
    number = 0
    for epoch in range(1, settings.num_train_epochs + 1):
        order.shuffle(indices)
        for start in range(0, num_examples, settings.batch_size):
            number += 1
            stop = start + settings.batch_size
            yield _Step(number, epoch, tuple(indices[start:stop]), ends_epoch=stop >= num_examples)


def _clip(parameters: Sequence[Tensor], settings: PhaseArguments) -> float:
    """Clip the gradient if that is wanted; its norm before, where it is wanted, else nan."""
    if settings.gradient_clip_val is None and not settings.log_gradient_norms:
        return math.nan
    limit = math.inf if settings.gradient_clip_val is None else settings.gradient_clip_val
    return float(torch.nn.utils.clip_grad_norm_(parameters, limit))


def _number(which: str, loss: float, step: int, settings: PhaseArguments) -> float:
    if not math.isfinite(loss):
        raise UserError(f"lr={settings.lr}: the {which} loss is {loss} at step {step}; take a lower --lr")
    return loss


def dev_loss(hooked: HookedModel, lesson: Lesson, token_budget: int) -> DevLoss:
    """The phase's loss on the dev examples, each weighing the same whatever the batches."""
    (answer,) = Passes(hooked, Plainly(hooked), token_budget).answer([_dev_request(lesson, ALONE)])
    return _judged(answer, lesson)


def _dev_request(lesson: Lesson, adapter: str) -> Request:
    return Request(Share(lesson.dev, range(len(lesson.dev)), adapter), lesson.weights, gradient=False)


def _judged(answer: Answer, lesson: Lesson) -> DevLoss:
    parts = {loss: float(values.mean()) for loss, values in answer.losses.items()}
    return DevLoss(sum(weight * parts[loss] for loss, weight in lesson.trained.items()), parts)


@dataclass
class _Dialogue:
    """What a fit asks for, and the seconds it takes: its own, and its share of the passes that answer it."""

    student: Student
    lesson: Lesson
    settings: PhaseArguments
    _answered: float = 0.0
    _since: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return round(self._answered + time.perf_counter() - self._since, 3)

    def gradient(self, step: "_Step") -> Generator[Request, Answer, float]:
        """The gradient of a step's examples, in the student's parameters, and their loss."""
        share = Share(self.lesson.train, step.indices, self.student.adapter)
        answer = yield from self._asked(Request(share, self.lesson.trained, gradient=True))
        loss = float(weighted(answer.losses, self.lesson.trained).mean())
        return _number("training", loss, step.number, self.settings)

    def dev_loss(self, step: int) -> Generator[Request, Answer, DevLoss]:
        """The dev loss after a step."""
        answer = yield from self._asked(_dev_request(self.lesson, self.student.adapter))
        loss = _judged(answer, self.lesson)
        _number("dev", loss.weighted, step, self.settings)
        return loss

    def _asked(self, request: Request) -> Generator[Request, Answer, Answer]:
        """The answer, which may take longer than what of it falls to this fit."""
        own = time.perf_counter() - self._since
        answer = yield request
        self._answered += own + answer.seconds
        self._since = time.perf_counter()
        return answer


@dataclass
class _Judge:
    """Keeps a true copy of the best weights, and counts the evaluations since."""

    student: Student
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
            self.best_weights = snapshot(self.student.model, self.student.adapter)
            self.best, self.best_step = loss, step
            self.evaluations_since = 0
        else:
            self.evaluations_since += 1
        return loss.weighted

    @property
    def gives_up(self) -> bool:
        return self.evaluations_since >= self.patience

    def settle(self, last_step: int) -> None:
        """Leave in the student the weights that are to be saved."""
        if self.keep == "best" and self.best_weights is not None and self.best_step != last_step:
            restore(self.student.model, self.best_weights, self.student.adapter)

    def fitted(self, last_step: int, train_loss: float, seconds: float) -> TrainOutput:
        """What the phase came to. Each epoch ends in an evaluation, so the last weights have a dev loss too."""
        kept = self.best if self.keep == "best" else self.last
        return TrainOutput(
            best_step=self.best_step if self.best else last_step,
            num_steps=last_step,
            best_dev_loss=self.best.weighted if self.best else None,
            final_dev_loss=self.last.weighted if self.last else None,
            dev_losses=kept.parts if kept else None,
            final_train_loss=train_loss,
            stopped_by="patience" if self.gives_up else "epochs",
            seconds=seconds,
        )
