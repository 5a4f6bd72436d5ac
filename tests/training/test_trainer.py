"""Fitting: which weights are left, when it stops, what it notes, and that the seed decides everything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from made_up_ids import made_up_ids
from peft import PeftModel
from tiny import tiny_model
from torch import Tensor

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import Loss
from ia2.models.adapters import new_adapter, peft_config, restore, save_adapter, saved_adapter, snapshot
from ia2.models.hooked_model import HookedModel
from ia2.training import trainer as fitting
from ia2.training.dataset import from_answers, from_targets
from ia2.training.targets import Targets, add_kinds
from ia2.training.trainer import DevLoss, History, Lesson, PhaseArguments, TrainOutput, dev_loss, fit

QUESTIONS, ANSWERS = (
    made_up_ids("questions", 4, 7, 5, 3, 6, 5, 4, 8),
    tuple(made_up_ids("answers", 2, 1, 3, 2, 1, 2, 3, 1)),
)
PROMPTED = [demos + question for demos, question in zip(made_up_ids("demos", *[9] * 8), QUESTIONS, strict=True)]
LESSONS = from_answers(QUESTIONS, ANSWERS)
LESSON = Lesson(train=LESSONS.part(0, 5), dev=LESSONS.part(5, 8), weights={"tok": 1.0})
WITHOUT_DEV = replace(LESSON, dev=LESSONS.part(8, 8))
BRISK = PhaseArguments(
    lr=0.1, batch_size=2, num_train_epochs=6, patience=100, dev_eval_steps=2, keep="best", seed="0/tok"
)
EVALUATED = (0, 2, 3, 4, 6, 8, 9, 10, 12, 14, 15, 16, 18)
"""Steps of BRISK after which the dev loss is measured: every second, and the third of each epoch."""


@dataclass
class Outcome:
    student: PeftModel
    hooked: HookedModel
    fitted: TrainOutput
    history: list[History]
    evaluated: dict[int, dict[str, Tensor]]
    """The weights at each evaluation, by step."""

    def dev_loss(self) -> float:
        return dev_loss(self.hooked, LESSON, 4096).weighted

    def weights(self) -> dict[str, Tensor]:
        return snapshot(self.student)


@pytest.fixture
def student() -> Iterator[PeftModel]:
    model = tiny_model("llama")
    config = TrainConfig(training_method="tok", lora_r=4)
    with new_adapter(model, peft_config(model, config), seed=0) as adapted:
        yield adapted


def run(student: PeftModel, settings: PhaseArguments, lesson: Lesson = LESSON) -> Outcome:
    history: list[History] = []
    evaluated: dict[int, dict[str, Tensor]] = {}

    def note(entry: History) -> None:
        history.append(entry)
        if "dev_loss" in entry:
            evaluated[int(entry["step"])] = snapshot(student)

    hooked = HookedModel(student)
    fitted = fit(student, hooked, lesson, settings, note)
    return Outcome(student, hooked, fitted, history, evaluated)


def fresh_run(settings: PhaseArguments, seed: int = 0) -> dict[str, Tensor]:
    model = tiny_model("llama")
    with new_adapter(model, peft_config(model, TrainConfig(training_method="tok", lora_r=4)), seed) as adapted:
        return run(adapted, settings).weights()


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Which weights are left


def scripted(monkeypatch: pytest.MonkeyPatch, losses: Sequence[float]) -> None:
    """Dev losses as written, one for each evaluation: no rounding decides which is the best."""
    script = iter(losses)
    monkeypatch.setattr(fitting, "_judged", lambda *_: DevLoss(loss := next(script), {"tok": loss}))


def test_the_lowest_dev_loss_is_the_best(student: PeftModel) -> None:
    outcome = run(student, BRISK)
    losses = {entry["step"]: entry["dev_loss"] for entry in outcome.history if "dev_loss" in entry}
    assert tuple(losses) == EVALUATED
    assert outcome.fitted.best_dev_loss == min(losses.values()) == losses[outcome.fitted.best_step]
    assert outcome.fitted.final_dev_loss == losses[outcome.fitted.num_steps]


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_student_is_left_with_the_weights_of_that_dev_loss(
    student: PeftModel, keep: Literal["best", "last"]
) -> None:
    outcome = run(student, replace(BRISK, keep=keep))
    kept = outcome.fitted.best_dev_loss if keep == "best" else outcome.fitted.final_dev_loss
    assert outcome.dev_loss() == pytest.approx(kept, rel=1e-5)


def test_the_saved_adapter_gives_the_best_dev_loss(student: PeftModel, tmp_path: Path) -> None:
    outcome = run(student, BRISK)
    save_adapter(student, tmp_path, "tiny")
    with saved_adapter(tiny_model("llama"), tmp_path) as loaded:
        hooked = HookedModel(loaded)
        assert dev_loss(hooked, LESSON, 4096).weighted == pytest.approx(outcome.fitted.best_dev_loss, rel=1e-5)


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("best", [0, 4, 9, 18])  # before the first step, within an epoch, at its end, at the very end
def test_the_best_weights_are_those_of_that_step(
    student: PeftModel, monkeypatch: pytest.MonkeyPatch, best: int, keep: Literal["best", "last"]
) -> None:
    scripted(monkeypatch, [1.0 + abs(step - best) for step in EVALUATED])
    outcome = run(student, replace(BRISK, keep=keep))
    assert (outcome.fitted.best_step, outcome.fitted.num_steps) == (best, 18)
    kept = best if keep == "best" else 18
    assert [step for step, weights in outcome.evaluated.items() if equal(weights, outcome.weights())] == [kept]


def test_without_dev_examples_the_last_weights_are_left(student: PeftModel) -> None:
    outcome = run(student, BRISK, WITHOUT_DEV)
    assert (outcome.fitted.best_dev_loss, outcome.fitted.final_dev_loss, outcome.fitted.dev_losses) == (None,) * 3
    assert outcome.fitted.best_step == outcome.fitted.num_steps == 18
    assert equal(outcome.weights(), fresh_run(replace(BRISK, keep="last")))
    assert not any("dev_loss" in entry for entry in outcome.history)


# Randomness


def test_the_same_seed_gives_the_same_bits() -> None:
    assert equal(fresh_run(BRISK), fresh_run(BRISK))


def test_another_seed_gives_other_weights() -> None:
    last = replace(BRISK, keep="last")
    assert not equal(fresh_run(last), fresh_run(replace(last, seed="1/tok")))
    assert not equal(fresh_run(last), fresh_run(last, seed=1))


def test_fitting_draws_on_no_global_generator(student: PeftModel) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run(student, replace(BRISK, num_train_epochs=1))
    assert torch.equal(torch.rand(1), expected)


def test_the_base_model_is_untouched(student: PeftModel) -> None:
    run(student, BRISK)
    base = {name: parameter for name, parameter in student.named_parameters() if "lora" not in name}
    pristine = dict(tiny_model("llama").named_parameters())
    assert len(base) == len(pristine)
    for name, parameter in base.items():
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        assert torch.equal(parameter, pristine[plain])
        assert parameter.grad is None


# Steps and stopping


@pytest.mark.parametrize(("batch_size", "epochs", "steps"), [(2, 3, 9), (5, 2, 2), (8, 2, 2), (1, 1, 5)])
def test_step_count(student: PeftModel, batch_size: int, epochs: int, steps: int) -> None:
    # 5 examples: ceil(5 / batch) steps an epoch
    outcome = run(student, replace(BRISK, batch_size=batch_size, num_train_epochs=epochs), WITHOUT_DEV)
    assert outcome.fitted.num_steps == steps
    assert outcome.fitted.stopped_by == "epochs"


def test_patience_counts_evaluations_without_improvement(student: PeftModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # 5 steps an epoch, evaluated every 2 steps and at its end: after steps 0, 2, 4, 5, 6, 8, 10, ...
    scripted(monkeypatch, [9.0, 7.0, 8.0, 6.0, 6.0, 6.5])  # an equal loss is no improvement
    outcome = run(student, replace(BRISK, batch_size=1, patience=2))
    assert [entry["step"] for entry in outcome.history if "dev_loss" in entry] == [0, 2, 4, 5, 6, 8]
    assert (outcome.fitted.best_step, outcome.fitted.num_steps, outcome.fitted.stopped_by) == (5, 8, "patience")
    assert (outcome.fitted.best_dev_loss, outcome.fitted.final_dev_loss) == (6.0, 6.5)


def test_patience_is_reached_at_exactly_that_many(student: PeftModel, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [1.0, 2.0, 2.0, 2.0])
    assert run(student, replace(BRISK, batch_size=1, patience=3)).fitted.num_steps == 5  # steps 2, 4, 5


def test_an_evaluation_at_the_end_of_an_epoch_is_not_made_twice(
    student: PeftModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [5.0, 4.0, 3.0])  # a third evaluation within two steps would find no value
    outcome = run(student, replace(BRISK, batch_size=3, dev_eval_steps=1, num_train_epochs=1))
    assert [entry["step"] for entry in outcome.history] == [0, 1, 2]


def test_history(student: PeftModel) -> None:
    outcome = run(student, replace(BRISK, num_train_epochs=2))
    assert outcome.history[0] == {"step": 0, "epoch": 0, "dev_loss": outcome.history[0]["dev_loss"]}
    later = outcome.history[1:]
    assert [(entry["step"], entry["epoch"]) for entry in later] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    assert [entry["step"] for entry in later if "dev_loss" in entry] == [2, 3, 4, 6]
    assert all({"train_loss", "seconds"} <= set(entry) for entry in later)
    assert later[-1]["train_loss"] == outcome.fitted.final_train_loss


def test_the_first_train_loss_is_that_of_the_first_batch(student: PeftModel) -> None:
    settings = replace(BRISK, batch_size=5, num_train_epochs=1)
    hooked = HookedModel(student)
    expected = dev_loss(hooked, replace(LESSON, dev=LESSON.train), 4096).weighted
    assert run(student, settings).history[1]["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("token_budget", [1, 12, 4096])
def test_dev_loss_is_the_same_whatever_the_batches(student: PeftModel, token_budget: int) -> None:
    hooked = HookedModel(student)
    apart = [replace(LESSON, dev=LESSON.dev.part(index, index + 1)) for index in range(3)]
    alone = [dev_loss(hooked, one, 4096).weighted for one in apart]
    assert dev_loss(hooked, LESSON, token_budget).weighted == pytest.approx(sum(alone) / 3, rel=1e-5)


def joint(student: PeftModel, weights: dict[Loss, float]) -> Lesson:
    """A lesson of activations and tokens together; what it matches is the student's own base model."""
    hooked = HookedModel(student)
    targets = add_kinds(hooked, PROMPTED, Targets(ANSWERS), {"activations"})
    lessons = from_targets(QUESTIONS, targets)
    return Lesson(lessons.part(0, 5), lessons.part(5, 8), weights)


def test_the_dev_loss_is_the_weighted_sum_of_its_parts_and_they_do_not_know_the_weights(student: PeftModel) -> None:
    losses = {}
    for w in (0.25, 0.75):
        lesson = joint(student, {"act": 1 - w, "tok": w})
        hooked = HookedModel(student)
        losses[w] = dev_loss(hooked, lesson, 4096)
        apart = {
            name: dev_loss(hooked, replace(lesson, weights={name: 1.0}), 4096).weighted for name in losses[w].parts
        }
        assert losses[w].parts == pytest.approx(apart, rel=1e-6)
        assert losses[w].weighted == pytest.approx((1 - w) * apart["act"] + w * apart["tok"], rel=1e-6)
    assert losses[0.25].parts == losses[0.75].parts
    assert losses[0.25].weighted != losses[0.75].weighted


def test_a_loss_without_weight_is_measured_and_not_trained(student: PeftModel) -> None:
    start = snapshot(student)
    settings = replace(BRISK, num_train_epochs=1, keep="last")
    lesson = joint(student, {"act": 1.0, "tok": 0.0})
    assert lesson.trained == {"act": 1.0}, "what has no weight would cost a pass backwards"
    both = run(student, settings, lesson)
    assert set(both.fitted.dev_losses or {}) == {"act", "tok"}
    assert both.fitted.final_dev_loss == (both.fitted.dev_losses or {})["act"]
    trained = both.weights()
    restore(student, start)
    assert equal(trained, run(student, settings, joint(student, {"act": 1.0})).weights())


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_parts_are_those_of_the_weights_that_are_left(
    student: PeftModel, monkeypatch: pytest.MonkeyPatch, keep: Literal["best", "last"]
) -> None:
    scripted(monkeypatch, [9.0, 7.0, 8.0])  # after steps 0, 2 and 3
    fitted = run(student, replace(BRISK, num_train_epochs=1, keep=keep)).fitted
    assert fitted.dev_losses == {"tok": 7.0 if keep == "best" else 8.0}


# Losses that are no numbers


def test_a_training_loss_that_is_no_number_is_an_error(student: PeftModel) -> None:
    with pytest.raises(UserError, match=r"lr=1e\+37: the training loss is (nan|inf) at step \d; take a lower --lr"):
        run(student, replace(BRISK, lr=1e37), WITHOUT_DEV)


def test_a_dev_loss_that_is_no_number_is_an_error(student: PeftModel) -> None:
    """The one step there is has a loss, and leaves weights that are worthless."""
    with pytest.raises(UserError, match=r"lr=1e\+37: the dev loss is (nan|inf) at step 1; take a lower --lr"):
        run(student, replace(BRISK, lr=1e37, batch_size=5, num_train_epochs=1, keep="last"))


def test_the_norm_of_the_weights_is_that_of_all_of_them_together(student: PeftModel) -> None:
    settings = replace(BRISK, num_train_epochs=1, keep="last", log_weight_norms=True)
    outcome = run(student, settings, WITHOUT_DEV)
    everything = torch.cat([weights.double().flatten() for weights in outcome.weights().values()])
    assert outcome.history[-1]["weight_norm"] == pytest.approx(float(everything.square().sum().sqrt()), rel=1e-6)
