"""What a phase trains on: batches against single examples, and a student that sees what its teacher saw."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses_of import example_losses, matching
from made_up_ids import made_up_ids

from ia2.methods import Loss
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.prompts.prompt import Ids, TokenizedExample
from ia2.training.dataset import DistillationDataset, budget_batches, collate, from_targets, gather
from ia2.training.targets import Targets, add_kinds
from ia2.training.trainer import batch_losses

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


def test_parts_keep_each_example_with_its_targets(teacher: HookedModel, lessons: DistillationDataset) -> None:
    whole = example_losses(teacher, lessons, range(5), ALL)
    parts = [lessons.part(0, 3), lessons.part(3, 5)]
    assert [len(part) for part in parts] == [3, 2]
    for name, losses in whole.items():
        apart = [example_losses(teacher, part, range(len(part)), ALL)[name] for part in parts]
        torch.testing.assert_close(torch.cat(apart), losses, atol=1e-5, rtol=1e-5)


def test_losses_of_a_bfloat16_model_are_float32(lm: LanguageModel, targets: Targets) -> None:
    hooked = HookedModel(lm.model.bfloat16())
    losses = example_losses(hooked, from_targets(QUERIES, targets), range(5), ALL)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all((loss.bfloat16().float() != loss).any() for loss in losses.values())


# Batches


def test_collate_by_hand() -> None:
    """Prompts of 3, 1 and 2 tokens with responses of 2, 3 and 1: their answer positions begin at 2, 0 and 1."""
    examples = [
        TokenizedExample((11, 12, 13), (14, 15)),
        TokenizedExample((21,), (22, 23, 24)),
        TokenizedExample((31, 32), (33,)),
    ]
    batch = collate(examples, pad=9)
    assert batch.input_ids.tolist() == [[11, 12, 13, 14], [21, 22, 23, 9], [31, 32, 9, 9]]
    assert batch.rows.tolist() == [0, 0, 1, 1, 1, 2]
    assert batch.columns.tolist() == [2, 3, 0, 1, 2, 1]
    assert batch.tokens.tolist() == [14, 15, 22, 23, 24, 33]
    assert len(batch) == 3


encoded = st.builds(
    TokenizedExample,
    st.lists(st.integers(1, 99), min_size=1, max_size=9).map(tuple),
    st.lists(st.integers(1, 99), min_size=1, max_size=5).map(tuple),
)


@given(st.lists(encoded, min_size=1, max_size=6))
def test_at_every_answer_position_lies_the_token_before_the_one_it_predicts(examples: list[TokenizedExample]) -> None:
    batch = collate(examples)
    assert batch.input_ids.shape == (len(examples), max(map(len, examples)) - 1)
    places = zip(batch.rows.tolist(), batch.columns.tolist(), batch.tokens.tolist(), strict=True)
    expected = [
        (row, len(example.prompt) - 1 + step, token)
        for row, example in enumerate(examples)
        for step, token in enumerate(example.response)
    ]
    assert list(places) == expected
    before = [token for example in examples for token in (example.prompt[-1], *example.response[:-1])]
    assert batch.input_ids[batch.rows, batch.columns].tolist() == before


sized = st.lists(st.integers(0, 30).map(range), max_size=20)


@given(st.lists(sized, min_size=1, max_size=4), st.integers(1, 80))
def test_batches_cover_every_index_once_and_keep_to_the_budget(runs: list[list[range]], budget: int) -> None:
    """Runs that have examples left share a batch in equal numbers, or with the rest of what they have."""
    sequences = dict(enumerate(runs))
    batches = list(budget_batches(sequences, budget))
    for run, own in sequences.items():
        indices = [index for batch in batches for index in batch.get(run, [])]
        assert sorted(indices) == list(range(len(own)))
        lengths = [len(own[index]) for index in indices]
        assert lengths == sorted(lengths, reverse=True)
    left = {run: len(own) for run, own in sequences.items()}
    for batch in batches:
        width = max(len(sequences[run][index]) for run, indices in batch.items() for index in indices)
        most = max(map(len, batch.values()))
        assert sum(map(len, batch.values())) * width <= budget or most == 1
        assert {run: len(indices) for run, indices in batch.items()} == {r: min(most, n) for r, n in left.items() if n}
        left = {run: number - len(batch.get(run, [])) for run, number in left.items()}


def test_batches_are_as_large_as_the_budget_allows() -> None:
    sequences = [range(5), range(2), range(4), range(4)]
    assert list(budget_batches({0: sequences}, 12)) == [{0: [0, 2]}, {0: [3, 1]}]
    assert list(budget_batches({3: sequences, 1: sequences[:3]}, 20)) == [{3: [0, 2], 1: [0, 2]}, {3: [3, 1], 1: [1]}]


# Several runs in a batch, and padding to a shape


def test_rows_of_several_runs_come_one_run_after_the_other(lessons: DistillationDataset) -> None:
    datasets = {7: lessons.part(0, 3), 2: lessons.part(3, 5)}
    batch = gather(datasets, {7: [2, 0], 2: [1]}, ("act", "tokl"))
    assert (batch.counts, list(batch.counts)) == ({7: 2, 2: 1}, [7, 2])
    expected = gather({0: lessons}, {0: [2, 0, 4]}, ("act", "tokl"))
    assert batch.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(tensor, expected.tensors[name]) for name, tensor in batch.tensors.items())


@pytest.mark.parametrize("act_norm", ["none", "layer"])
def test_padding_to_a_shape_changes_no_loss_and_no_gradient(
    teacher: HookedModel, lessons: DistillationDataset, act_norm: Literal["none", "layer"]
) -> None:
    """Entries of a gradient round by the size of the largest, of which small ones are sums."""
    batch = gather({0: lessons}, {0: [4, 0, 3]}, ALL)
    num_rows, num_tokens, num_positions = batch.shape
    padded = batch.pad_to(num_tokens + 5, num_positions + 7)
    assert padded.shape == (num_rows, num_tokens + 5, num_positions + 7)
    weights = [layer.self_attn.q_proj.weight.requires_grad_() for layer in teacher.base.model.layers]
    expected, found = (batch_losses(teacher, matching(act_norm=act_norm), one, ALL) for one in (batch, padded))
    assert expected.keys() == found.keys() == ALL.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-6)
    totals = (torch.stack([values.sum() for values in losses.values()]).sum() for losses in (expected, found))
    for one, other in zip(*(torch.autograd.grad(total, weights) for total in totals), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(other, one, rtol=0, atol=1e-4 * float(one.abs().max()))
