"""What a phase trains on: batches against single examples, and a student that sees what its teacher saw."""

import pytest
import torch
from made_up_ids import made_up_ids

from ia2.config import TrainConfig
from ia2.methods import Loss
from ia2.models.adapters import new_adapter, peft_config
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.prompts.tokenization import Ids
from ia2.training.dataset import DistillationDataset, example_losses, from_answers, from_targets, weighted
from ia2.training.targets import Targets, add_kinds

QUERIES: list[Ids] = made_up_ids("queries", 4, 9, 6, 1, 5)
PROMPTED: list[Ids] = [demos + query for demos, query in zip(made_up_ids("demos", *[20] * 5), QUERIES, strict=True)]
RESPONSES = tuple(made_up_ids("responses", 2, 1, 5, 3, 1))
ALL: dict[Loss, float] = {"act": 1.0, "tok": 1.0, "tokl": 1.0}


@pytest.fixture
def targets(teacher: HookedModel) -> Targets:
    """Responses of several lengths, and what the prompted teacher thought of them."""
    return add_kinds(teacher, PROMPTED, Targets(RESPONSES), {"activations", "distributions"})


@pytest.fixture
def lessons(targets: Targets) -> DistillationDataset:
    return from_targets(QUERIES, targets)


def test_a_batch_is_its_examples_one_by_one(teacher: HookedModel, lessons: DistillationDataset) -> None:
    chosen = [3, 0, 4, 2, 1]
    together = example_losses(teacher, lessons, chosen, ALL)
    assert set(together) == set(ALL)
    for place, index in enumerate(chosen):
        for name, alone in example_losses(teacher, lessons, [index], ALL).items():
            torch.testing.assert_close(together[name][place], alone[0], atol=1e-5, rtol=1e-5)


def test_the_loss_of_a_batch_weighs_examples_alike_whatever_their_length(
    teacher: HookedModel, lessons: DistillationDataset
) -> None:
    together = weighted(example_losses(teacher, lessons, [0, 1, 2], {"tok": 1.0}), {"tok": 1.0}).mean()
    alone = [example_losses(teacher, lessons, [index], {"tok": 1.0})["tok"].item() for index in range(3)]
    assert together.item() == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_act_is_zero_for_a_student_that_sees_what_its_teacher_saw(
    lm: LanguageModel, targets: Targets, lessons: DistillationDataset
) -> None:
    config = TrainConfig(training_method="act", lora_r=4)
    with new_adapter(lm.model, peft_config(lm.model, config), seed=0) as student:
        hooked = HookedModel(student)
        prompted = example_losses(hooked, from_targets(PROMPTED, targets), range(5), {"act": 1.0})["act"]
        bare = example_losses(hooked, lessons, range(5), {"act": 1.0})["act"]
    assert prompted.max() < 1e-9
    assert bare.min() > 1e-2


def test_tokl_is_zero_for_a_student_that_sees_what_its_teacher_saw(teacher: HookedModel, targets: Targets) -> None:
    losses = example_losses(teacher, from_targets(PROMPTED, targets), range(5), {"tokl": 1.0})
    assert losses["tokl"].abs().max() < 1e-5


def test_parts_keep_each_example_with_its_targets(teacher: HookedModel, lessons: DistillationDataset) -> None:
    whole = example_losses(teacher, lessons, range(5), ALL)
    parts = [lessons.part(0, 3), lessons.part(3, 5)]
    assert [len(part) for part in parts] == [3, 2]
    for name, losses in whole.items():
        apart = [example_losses(teacher, part, range(len(part)), ALL)[name] for part in parts]
        torch.testing.assert_close(torch.cat(apart), losses, atol=1e-5, rtol=1e-5)


def test_answers_need_nothing_of_the_teacher(teacher: HookedModel) -> None:
    lessons = from_answers(QUERIES, RESPONSES)
    assert lessons.activations is None
    assert lessons.distributions is None
    by_hand = [-_log_probability(teacher, *pair) for pair in zip(QUERIES, RESPONSES, strict=True)]
    losses = example_losses(teacher, lessons, range(5), {"tok": 1.0})["tok"]
    torch.testing.assert_close(losses, torch.stack(by_hand), atol=1e-5, rtol=1e-5)


def _log_probability(teacher: HookedModel, prompt: Ids, response: Ids) -> torch.Tensor:
    """The mean log-probability of a response, token by token, each from a forward pass of its own."""
    logs = []
    for step, token in enumerate(response):
        with torch.no_grad():
            logits = teacher.base(torch.tensor([prompt + response[:step]])).logits[0, -1]
        logs.append(logits.log_softmax(-1)[token])
    return torch.stack(logs).mean()


def test_weights_multiply_each_loss_once() -> None:
    losses: dict[Loss, torch.Tensor] = {"act": torch.tensor([1.0, 2.0]), "tok": torch.tensor([10.0, 20.0])}
    assert weighted(losses, {"act": 0.75, "tok": 0.25}).tolist() == [3.25, 6.5]


def test_losses_of_a_bfloat16_model_are_float32(lm: LanguageModel, targets: Targets) -> None:
    hooked = HookedModel(lm.model.bfloat16())
    losses = example_losses(hooked, from_targets(QUERIES, targets), range(5), ALL)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all((loss.bfloat16().float() != loss).any() for loss in losses.values())
