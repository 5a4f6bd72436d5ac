"""Similarity: activations against plain forwards of one example at a time, means by hand, records read strictly."""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapting import random_adapter
from made_up_comparisons import ROWS, similarity, write_similarity
from oracles import Model, assert_close, full_forward
from tiny import SHAPES, WINDOW, tiny_model
from torch import Tensor

from ia2.analysis.similarity import (
    cosines,
    examine_similarities,
    forced_activations,
    mean_cosines,
    reading_order,
    summary,
)
from ia2.errors import UserError
from ia2.methods import ADAPTERS, Adapter
from ia2.models.hooked_model import HookedModel
from ia2.prompts.prompt import Ids, TokenizedExample
from ia2.store import write_json
from ia2.store.measurements import tell

# Activations and cosines


def made_up(seed: int, length: int) -> Ids:
    return tuple(torch.randint(3, 320, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


def examples(beginning: Ids = ()) -> list[TokenizedExample]:
    """Responses of 1 to 9 tokens after prompts of 1 to 13."""
    own = [(1, 3), (WINDOW, 1), (13, 9), (WINDOW + 1, 2), (2, 5)]
    return [
        TokenizedExample(beginning + made_up(i, prompt), made_up(50 + i, size)) for i, (prompt, size) in enumerate(own)
    ]


EXAMPLES = {
    "nothing shared": examples(),
    "a shared beginning": examples(made_up(77, 11)),
    "one question": [TokenizedExample(made_up(9, 12), made_up(90, 7)[:size]) for size in (7, 7, 5, 4)],
}
"""Of one question more is shared than the prompt: what is predicted there must be read for each row all the same."""


def one_by_one(model: Model, chosen: Sequence[TokenizedExample]) -> Tensor:
    """The last G of each sequence that predicts; virtual tokens stand before it and shift nothing."""
    parts = []
    for example in chosen:
        _, activations = full_forward(model, (example.prompt + example.response)[:-1])
        parts.append(activations[:, -len(example.response) :])
    return torch.cat(parts, dim=1)


def forced(model: Model, chosen: Sequence[TokenizedExample], token_budget: int = 2048) -> Tensor:
    hooked = HookedModel(model)
    return forced_activations(hooked, chosen, token_budget)


@pytest.mark.parametrize("shared", EXAMPLES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_equals_its_examples_one_by_one(shape: str, shared: str) -> None:
    expected = one_by_one(tiny_model(shape, attention="eager"), EXAMPLES[shared])
    assert_close(forced(tiny_model(shape), EXAMPLES[shared]), expected)


@pytest.mark.parametrize("shared", EXAMPLES)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_virtual_tokens_shift_no_position(adapter: Adapter, shared: str) -> None:
    model = tiny_model("llama")
    with random_adapter(model, adapter) as adapted:
        found, expected = forced(adapted, EXAMPLES[shared]), one_by_one(adapted, EXAMPLES[shared])
    assert_close(found, expected)
    assert float((found - forced(model, EXAMPLES[shared])).abs().max()) > 1e-2


@pytest.mark.parametrize("token_budget", [1, 30, 2048])
def test_order_and_the_size_of_batches_change_nothing(token_budget: int) -> None:
    model, chosen = tiny_model("mistral"), [*EXAMPLES["nothing shared"], *EXAMPLES["a shared beginning"]]
    lengths = [len(example.response) for example in chosen]
    turned = forced(model, chosen[::-1], token_budget).split(lengths[::-1], dim=1)
    assert_close(torch.cat(turned[::-1], dim=1), forced(model, chosen))


def test_what_is_shared_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    run = HookedModel.run

    def counted(hooked: HookedModel, **inputs: Any) -> Tensor:
        fed.append(inputs["input_ids"].numel())
        return run(hooked, **inputs)

    monkeypatch.setattr(HookedModel, "run", counted)
    beginning = made_up(3, 40)
    forced(tiny_model("llama"), [TokenizedExample(beginning + made_up(i, 5), made_up(i, 3)) for i in range(6)])
    assert sum(fed) == 40 + 6 * (5 + 2)


def test_what_does_not_fit_the_context_is_refused() -> None:
    model = tiny_model("llama")
    model.config.max_position_embeddings = 22
    assert forced(model, EXAMPLES["nothing shared"]).shape == (2, 20, 32)
    model.config.max_position_embeddings = 21
    with pytest.raises(UserError, match="take 22 tokens"):
        forced(model, EXAMPLES["nothing shared"])


def test_cosines_by_hand() -> None:
    first = torch.tensor([[[3.0, 4.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])
    second = torch.tensor([[[4.0, 3.0], [0.0, 5.0]], [[-3.0, 0.0], [1.0, 1.0]]])
    found = cosines(first, second)
    assert found.shape == (2, 2)
    assert found[0].tolist() == pytest.approx([24 / 25, 0.0])
    assert found[1, 0].item() == pytest.approx(-1)
    assert math.isnan(found[1, 1].item()), "an activation of zero points nowhere"


def test_a_model_is_like_itself() -> None:
    found = forced(tiny_model("llama"), EXAMPLES["nothing shared"])
    assert_close(cosines(found, found), torch.ones(2, found.shape[1]), 1e-6)


def test_cosines_are_worked_out_in_float32() -> None:
    """In float16 the squares of 300 are more than the format holds."""
    large = torch.full((1, 1, 4), 300.0, dtype=torch.float16)
    found = cosines(large, large)
    assert (found.dtype, found.item()) == (torch.float32, pytest.approx(1))


def test_no_model_is_held_after_the_turn_of_its_last_pair() -> None:
    """Worked out by hand: b is held for d, and a for c until the turn of c."""
    last, most_held = reading_order([("a", "b"), ("a", "c"), ("d", "b")])
    assert list(last.items()) == [("a", 2), ("b", 3), ("c", 2), ("d", 3)]
    assert most_held == 3, "a, b and c"


def test_models_compared_with_one_alone_are_held_beside_it_alone() -> None:
    students = [f"student {number}" for number in range(9)]
    assert reading_order([(student, "teacher") for student in students])[1] == 2


# Means

NAN = math.nan
COSINES = [[1.0, 0.5, 0.0, 0.2], [0.0, 1.0, 0.5, NAN]]
"""Two layers, and responses of 3 tokens and of 1."""


def test_tokens_are_averaged_within_each_example() -> None:
    np.testing.assert_allclose(mean_cosines(COSINES, [3, 1]), [[0.5, 0.5], [0.2, NAN]])
    np.testing.assert_allclose(mean_cosines(COSINES, [1, 1, 2]), [[1, 0], [0.5, 1], [0.1, 0.5]])


def test_a_long_response_counts_as_much_as_a_short_one() -> None:
    """0.5 of three tokens and 0.2 of one: 0.35, where a mean over all tokens would be 0.425."""
    found = summary(mean_cosines(COSINES, [3, 1]))
    assert (found["mean"], found["sd"]) == (pytest.approx(0.35), pytest.approx(0.3 / math.sqrt(2)))
    assert found["layers"][0] == {"layer": 0, "cosine": pytest.approx(0.35), "sd": pytest.approx(0.212132), "n": 2}


def test_what_is_not_defined_enters_no_average_and_is_never_0() -> None:
    found = summary([[NAN, NAN, NAN], [0.4, NAN, NAN], [NAN, NAN, 0.3], [0.6, NAN, 0.8]])
    assert (found["mean"], found["num_layers"]) == (pytest.approx((0.4 + 0.3 + 0.7) / 3), 3)
    assert found["layers"] == [
        {"layer": 0, "cosine": pytest.approx(0.5), "sd": pytest.approx(0.1 * math.sqrt(2)), "n": 2},
        {"layer": 1, "cosine": None, "sd": None, "n": 0},
        {"layer": 2, "cosine": pytest.approx(0.55), "sd": pytest.approx(0.25 * math.sqrt(2)), "n": 2},
    ]
    assert summary([[0.5]])["layers"] == [{"layer": 0, "cosine": 0.5, "sd": None, "n": 1}]
    assert (summary([[NAN]])["mean"], summary([[NAN]])["sd"]) == (None, None)


@pytest.mark.parametrize("lengths", [[3], [3, 2], [4, 0], []])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="cosines: want"):
        mean_cosines(COSINES, lengths)


# Records


def test_tokens_are_averaged_within_an_example_first(tmp_path: Path) -> None:
    write_similarity(tmp_path)
    (one,) = examine_similarities(tmp_path).found
    assert one.rows().values.tolist() == [list(row) for row in ROWS]
    token = one.by_token()
    assert token.to_dict("list") == {
        "token": [0, 1],
        "cosine": [pytest.approx((0.75 + 0.5) / 2), 0.25],
        "sd": [pytest.approx(0.25 / math.sqrt(2)), pytest.approx(math.nan, nan_ok=True)],
        "n": [2, 1],
    }
    both = one.by_layer_and_token()
    assert list(both.columns) == ["layer", "token", "cosine", "sd", "n"]
    assert both[["layer", "token", "cosine", "n"]].values.tolist() == [
        [0, 0, pytest.approx(0.625), 2],
        [0, 1, 0.0, 1],
        [1, 0, pytest.approx(0.625), 2],
        [1, 1, 0.5, 1],
    ]
    assert one.per_example().to_dict("list") == {"idx": [5, 9], "cosine": [0.5, 0.5], "num_tokens": [2, 1]}


def test_numbers_of_the_whole_are_those_of_the_json_and_what_is_not_known_is_nan(tmp_path: Path) -> None:
    write_similarity(tmp_path)
    (one,) = examine_similarities(tmp_path).found
    assert (one.mean, one.sd, one.num_examples) == (0.5, 0.0, 2)
    layers = one.by_layer()
    assert list(layers.columns) == ["layer", "cosine", "sd", "n"]
    assert layers["cosine"][0] == 0.375
    assert layers[["cosine", "sd"]].iloc[1].isna().all()


def test_a_cosine_that_is_not_defined_enters_no_mean(tmp_path: Path) -> None:
    write_similarity(tmp_path, rows=[*ROWS[:-1], (9, 1, 0, math.nan)], mean=None, sd=None)
    (one,) = examine_similarities(tmp_path).found
    assert math.isnan(one.mean)
    assert one.per_example()["cosine"].tolist() == [0.5, 0.25]
    counts = one.by_layer_and_token()
    assert counts[(counts["layer"] == 1) & (counts["token"] == 0)]["n"].item() == 1


def test_an_empty_store_holds_none(tmp_path: Path) -> None:
    assert examine_similarities(tmp_path).found == ()


def test_a_newer_schema_stops_the_reading(tmp_path: Path) -> None:
    write_similarity(tmp_path, "one")
    write_similarity(tmp_path, "two", schema=3)
    with pytest.raises(UserError, match=r"two\.json has schema 3, newer than 2, .* update ia2"):
        examine_similarities(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "no parquet", "cut parquet", "field", "method"])
def test_what_is_not_whole_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    whole, path = write_similarity(tmp_path, "whole"), write_similarity(tmp_path, "broken")
    match damage:
        case "cut":
            path.write_text(path.read_text()[:50])
        case "no parquet":
            path.with_suffix(".parquet").unlink()
        case "cut parquet":
            path.with_suffix(".parquet").write_bytes(b"PAR1")
        case "field":
            write_json(path, {key: value for key, value in similarity().items() if key != "eval_sha256"})
        case "method":
            write_json(path, similarity(run={"training_method": "atc"}))
    examined = examine_similarities(tmp_path)
    assert [one.path for one in examined.found] == [whole]
    assert [one.path for one in examined.problems] == [path]
    with caplog.at_level(logging.WARNING):
        tell(examined.problems)
    assert f"{path} is not counted: {examined.problems[0].reason}" in caplog.text


def test_what_is_being_written_is_not_read(tmp_path: Path) -> None:
    path = write_similarity(tmp_path)
    path.rename(path.with_name(f".{path.name}"))
    assert examine_similarities(tmp_path).found == ()


def test_the_json_needs_no_more_than_it_says(tmp_path: Path) -> None:
    """What a later version adds is no obstacle."""
    path = write_similarity(tmp_path, added_later=1)
    assert json.loads(path.read_text())["added_later"] == 1
    assert len(examine_similarities(tmp_path).found) == 1
