"""Training: which weights are left, when it stops, what it notes, and that the seed decides everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from losses_of import mean_loss
from made_up_ids import made_up_ids
from tiny import tiny_model
from torch import Tensor

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import TOK, Loss, Phase
from ia2.models.adapters import peft_config
from ia2.models.hooked_model import HookedModel
from ia2.models.stacked_lora import StackedLora, trainable_adapters
from ia2.training.dataset import DistillationDataset, from_targets
from ia2.training.targets import Targets, add_kinds
from ia2.training.trainer import History, TrainingRun, train_in_lockstep

QUESTIONS, ANSWERS = (
    made_up_ids("questions", 4, 7, 5, 3, 6, 5, 4, 8),
    tuple(made_up_ids("answers", 2, 1, 3, 2, 1, 2, 3, 1)),
)
PROMPTED = [demos + question for demos, question in zip(made_up_ids("demos", *[9] * 8), QUESTIONS, strict=True)]
Datasets = tuple[DistillationDataset, DistillationDataset]


def train_and_dev(dataset: DistillationDataset) -> Datasets:
    return dataset.part(0, 5), dataset.part(5, 8)


DATASETS = train_and_dev(from_targets(QUESTIONS, Targets(ANSWERS)))
WITHOUT_DEV = DATASETS[0], DATASETS[1].part(0, 0)
BRISK = TrainConfig(
    training_method="tok",
    lora_r=4,
    lr=0.1,
    batch_size=2,
    num_train_epochs=6,
    patience=100,
    dev_eval_steps=2,
)
EVALUATED = (0, 2, 3, 4, 6, 8, 9, 10, 12, 14, 15, 16, 18)
"""Steps of BRISK after which the dev loss is measured: every second, and the third of each epoch."""


def brisk(**changes: Any) -> TrainConfig:
    return BRISK.model_copy(update=changes)


@dataclass
class Outcome:
    student: StackedLora
    output: TrainingRun
    history: list[History]
    evaluated: dict[int, dict[str, Tensor]]
    """The weights at each evaluation, by step."""

    def dev_loss(self) -> float:
        return mean_loss(self.student, DATASETS[1], ["tok"])["tok"]

    def weights(self) -> dict[str, Tensor]:
        return self.student.state(0)


def new_student(seed: int = 0) -> StackedLora:
    model = tiny_model("llama")
    return StackedLora(model, [peft_config(model, BRISK)], [seed])  # type: ignore[list-item]


@pytest.fixture
def student() -> StackedLora:
    return new_student()


def run(student: StackedLora, settings: TrainConfig, datasets: Datasets = DATASETS, phase: Phase = TOK) -> Outcome:
    history: list[History] = []
    evaluated: dict[int, dict[str, Tensor]] = {}

    def note(entry: History) -> None:
        history.append(entry)
        if "dev_loss" in entry:
            evaluated[int(entry["step"])] = student.state(0)

    (ended,) = train_in_lockstep([TrainingRun(settings, phase, *datasets, student.parameters[0], note=note)], student)
    if ended.error is not None:
        raise ended.error
    stored = ended.finish()
    assert stored == {key: getattr(ended, key) for key in stored} | {"seconds": round(ended.seconds, 3)}
    return Outcome(student, ended, history, evaluated)


def fresh_run(settings: TrainConfig, seed: int = 0) -> dict[str, Tensor]:
    return run(new_student(seed), settings).weights()


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Which weights are left


def scripted(monkeypatch: pytest.MonkeyPatch, losses: Sequence[float]) -> None:
    """Dev losses as written, one for each evaluation: no rounding decides which is the best."""
    script, judge = iter(losses), TrainingRun.judge
    monkeypatch.setattr(TrainingRun, "judge", lambda run, _: judge(run, {"tok": next(script)}))


def test_the_lowest_dev_loss_is_the_best(student: StackedLora) -> None:
    outcome = run(student, BRISK)
    losses = {entry["step"]: entry["dev_loss"] for entry in outcome.history if "dev_loss" in entry}
    assert tuple(losses) == EVALUATED
    assert outcome.output.best_dev_loss == min(losses.values()) == losses[outcome.output.best_step]
    assert outcome.output.final_dev_loss == losses[outcome.output.num_steps]


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("best", [0, 4, 9, 18])  # before the first step, within an epoch, at its end, at the very end
def test_the_best_weights_are_those_of_that_step(
    student: StackedLora, monkeypatch: pytest.MonkeyPatch, best: int, keep: Literal["best", "last"]
) -> None:
    scripted(monkeypatch, [1.0 + abs(step - best) for step in EVALUATED])
    outcome = run(student, brisk(keep=keep))
    assert (outcome.output.best_step, outcome.output.num_steps) == (best, 18)
    kept = best if keep == "best" else 18
    assert [step for step, weights in outcome.evaluated.items() if equal(weights, outcome.weights())] == [kept]


def test_without_dev_examples_the_last_weights_are_left(student: StackedLora) -> None:
    outcome = run(student, BRISK, WITHOUT_DEV)
    assert (outcome.output.best_dev_loss, outcome.output.final_dev_loss, outcome.output.dev_losses) == (None,) * 3
    assert outcome.output.best_step == outcome.output.num_steps == 18
    assert equal(outcome.weights(), fresh_run(brisk(keep="last")))
    assert not any("dev_loss" in entry for entry in outcome.history)


# Randomness


def test_another_seed_gives_other_weights() -> None:
    last = brisk(keep="last")
    assert not equal(fresh_run(last), fresh_run(brisk(keep="last", run_idx=1)))
    assert not equal(fresh_run(last), fresh_run(last, seed=1))


def test_fitting_draws_on_no_global_generator(student: StackedLora) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run(student, brisk(num_train_epochs=1))
    assert torch.equal(torch.rand(1), expected)


def test_the_base_model_is_untouched(student: StackedLora) -> None:
    run(student, BRISK)
    base = dict(student.model.named_parameters())
    pristine = dict(tiny_model("llama").named_parameters())
    assert base.keys() == pristine.keys()
    for name, parameter in base.items():
        assert torch.equal(parameter, pristine[name])
        assert parameter.grad is None


# Steps and stopping


@pytest.mark.parametrize(("batch_size", "epochs", "steps"), [(2, 3, 9), (5, 2, 2), (8, 2, 2), (1, 1, 5)])
def test_step_count(student: StackedLora, batch_size: int, epochs: int, steps: int) -> None:
    # 5 examples: ceil(5 / batch) steps an epoch
    outcome = run(student, brisk(batch_size=batch_size, num_train_epochs=epochs), WITHOUT_DEV)
    assert outcome.output.num_steps == steps
    assert outcome.output.stopped_by == "epochs"


def test_patience_counts_evaluations_without_improvement(student: StackedLora, monkeypatch: pytest.MonkeyPatch) -> None:
    # 5 steps an epoch, evaluated every 2 steps and at its end: after steps 0, 2, 4, 5, 6, 8, 10, ...
    scripted(monkeypatch, [9.0, 7.0, 8.0, 6.0, 6.0, 6.5])  # an equal loss is no improvement
    outcome = run(student, brisk(batch_size=1, patience=2))
    assert [entry["step"] for entry in outcome.history if "dev_loss" in entry] == [0, 2, 4, 5, 6, 8]
    assert (outcome.output.best_step, outcome.output.num_steps, outcome.output.stopped_by) == (5, 8, "patience")
    assert (outcome.output.best_dev_loss, outcome.output.final_dev_loss) == (6.0, 6.5)


def test_history(student: StackedLora) -> None:
    outcome = run(student, brisk(num_train_epochs=2))
    assert outcome.history[0] == {"step": 0, "epoch": 0, "dev_loss": outcome.history[0]["dev_loss"]}
    later = outcome.history[1:]
    assert [(entry["step"], entry["epoch"]) for entry in later] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    assert [entry["step"] for entry in later if "dev_loss" in entry] == [2, 3, 4, 6]
    assert all({"train_loss", "seconds"} <= set(entry) for entry in later)
    assert later[-1]["train_loss"] == outcome.output.final_train_loss


def test_the_first_train_loss_is_that_of_the_first_batch(student: StackedLora) -> None:
    settings = brisk(batch_size=5, num_train_epochs=1)
    expected = mean_loss(student, DATASETS[0], ["tok"])["tok"]
    assert run(student, settings).history[1]["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("token_budget", [1, 12, 4096])
def test_dev_loss_is_the_same_whatever_the_batches(student: StackedLora, token_budget: int) -> None:
    dev = DATASETS[1]
    alone = [mean_loss(student, dev.part(index, index + 1), ["tok"])["tok"] for index in range(3)]
    assert mean_loss(student, dev, ["tok"], token_budget)["tok"] == pytest.approx(sum(alone) / 3, rel=1e-5)


def joint(weights: Mapping[Loss, float]) -> tuple[Datasets, Phase]:
    """Activations and tokens together; what is matched is the student's own base model."""
    targets = add_kinds(HookedModel(tiny_model("llama")), PROMPTED, Targets(ANSWERS), {"activations"})
    return train_and_dev(from_targets(QUESTIONS, targets)), Phase("tok", lambda _: weights)


def test_the_dev_loss_is_the_weighted_sum_of_its_parts_and_they_do_not_know_the_weights(student: StackedLora) -> None:
    judged = {}
    for w in (0.25, 0.75):
        datasets, phase = joint({"act": 1 - w, "tok": w})
        one = TrainingRun(BRISK, phase, *datasets, student.parameters[0])
        one.judge(mean_loss(student, datasets[1], one.losses))
        apart = {name: mean_loss(student, datasets[1], [name])[name] for name in one.losses}
        assert one.dev_losses == pytest.approx(apart, rel=1e-6)
        assert one.final_dev_loss == pytest.approx((1 - w) * apart["act"] + w * apart["tok"], rel=1e-6)
        judged[w] = one
    assert judged[0.25].dev_losses == judged[0.75].dev_losses
    assert judged[0.25].final_dev_loss != judged[0.75].final_dev_loss


def test_a_loss_without_weight_is_measured_and_not_trained() -> None:
    settings = brisk(num_train_epochs=1, keep="last")
    (datasets, phase), (_, act) = joint({"act": 1.0, "tok": 0.0}), joint({"act": 1.0})
    student = new_student()
    trained = TrainingRun(settings, phase, *datasets, student.parameters[0]).trained
    assert trained == {"act": 1.0}, "what has no weight would cost a pass backwards"
    both = run(student, settings, datasets, phase)
    assert set(both.output.dev_losses or {}) == {"act", "tok"}
    assert both.output.final_dev_loss == (both.output.dev_losses or {})["act"]
    assert equal(both.weights(), run(new_student(), settings, datasets, act).weights())


@pytest.mark.parametrize("method", ["tok", "ia3-tok", "prompt-tok", "prefix-tok"])
def test_the_best_weights_come_back_bit_for_bit(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    scripted(monkeypatch, [1.0 + abs(step - 4) for step in EVALUATED])
    model, settings = tiny_model("llama"), brisk(training_method=method, num_virtual_tokens=3)
    seen: dict[int, list[Tensor]] = {}
    with trainable_adapters(model, [peft_config(model, settings)], [0]) as adapters:
        parameters = adapters.parameters[0]

        def note(entry: History) -> None:
            seen[int(entry["step"])] = [parameter.detach().clone() for parameter in parameters]

        (ended,) = train_in_lockstep([TrainingRun(settings, TOK, *DATASETS, parameters, note=note)], adapters)
        last = [parameter.detach().clone() for parameter in parameters]
        ended.finish()
        kept = [parameter.detach().clone() for parameter in parameters]
    assert len(kept) > 0
    assert all(map(torch.equal, last, seen[18]))
    assert all(map(torch.equal, kept, seen[4]))
    assert not any(map(torch.equal, kept, last))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_parts_are_those_of_the_weights_that_are_left(
    student: StackedLora, monkeypatch: pytest.MonkeyPatch, keep: Literal["best", "last"]
) -> None:
    scripted(monkeypatch, [9.0, 7.0, 8.0])  # after steps 0, 2 and 3
    output = run(student, brisk(num_train_epochs=1, keep=keep)).output
    assert output.dev_losses == {"tok": 7.0 if keep == "best" else 8.0}


# Losses that are no numbers


def test_a_training_loss_that_is_no_number_is_an_error(student: StackedLora) -> None:
    with pytest.raises(UserError, match=r"lr=1e\+37: the training loss is (nan|inf) at step \d; take a lower --lr"):
        run(student, brisk(lr=1e37), WITHOUT_DEV)


def test_a_dev_loss_that_is_no_number_is_an_error(student: StackedLora) -> None:
    """The one step there is has a loss, and leaves weights that are worthless."""
    with pytest.raises(UserError, match=r"lr=1e\+37: the dev loss is (nan|inf) at step 1; take a lower --lr"):
        run(student, brisk(lr=1e37, batch_size=5, num_train_epochs=1, keep="last"))


def test_the_norm_of_the_weights_is_that_of_all_of_them_together(student: StackedLora) -> None:
    settings = brisk(num_train_epochs=1, keep="last", log_weight_norms=True)
    outcome = run(student, settings, WITHOUT_DEV)
    everything = torch.cat([weights.double().flatten() for weights in outcome.weights().values()])
    assert outcome.history[-1]["weight_norm"] == pytest.approx(float(everything.square().sum().sqrt()), rel=1e-6)
