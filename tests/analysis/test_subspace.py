"""Overlap of updates: laws, the same numbers from whole d x d matrices and from PEFT, and records read strictly."""

import logging
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from adapting import save_adapter, trainable_parameters
from described import describe
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_comparisons import run, write_overlap
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from ia2 import store
from ia2.analysis.subspace import (
    PAIR_COLUMNS,
    ROW_COLUMNS,
    Update,
    cosine,
    decompose,
    effective_rank,
    energy_overlap,
    energy_shares,
    examine_overlaps,
    overlap_rows,
    read_updates,
    subspace_overlap,
)
from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.models.adapters import new_adapter, peft_config
from ia2.store.measurements import tell

Floats = npt.NDArray[np.float64]


def factors(seed: int, d_out: int = 12, d_in: int = 9, rank: int = 3) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(d_out, rank)), generator.normal(size=(rank, d_in))


def update(seed: int, d_out: int = 12, d_in: int = 9, rank: int = 3) -> Update:
    found = decompose(*factors(seed, d_out, d_in, rank))
    assert found is not None
    return found


def basis(generator: np.random.Generator, width: int, rank: int) -> Floats:
    """An orthonormal basis of a subspace that is uniformly random."""
    return np.linalg.qr(generator.normal(size=(width, rank)))[0]


def energies(first: Update, second: Update) -> tuple[Floats, Floats]:
    return energy_shares(first), energy_shares(second)


# The decomposition


def test_the_decomposition_is_that_of_the_whole_matrix() -> None:
    b, a = factors(0)
    found = decompose(b, a, scaling=0.5)
    assert found is not None
    np.testing.assert_allclose(found.left @ np.diag(found.values) @ found.right.T, 0.5 * b @ a, atol=1e-12)
    np.testing.assert_allclose(found.values, np.linalg.svd(0.5 * b @ a, compute_uv=False)[:3])
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(3), atol=1e-12)


def test_an_update_of_zero_has_no_subspace() -> None:
    b, a = factors(1)
    assert decompose(np.zeros_like(b), a) is None
    assert decompose(b, a, scaling=0.0) is None


def test_the_rank_is_that_of_the_update_and_not_of_its_factors() -> None:
    b, a = factors(2)
    b[:, 2] = b[:, 0] - b[:, 1]
    found = decompose(b, a)
    assert found is not None
    assert len(found.values) == 2 == np.linalg.matrix_rank(b @ a)
    tall = decompose(np.ones((2, 5)), np.ones((5, 9)))
    assert tall is not None
    assert len(tall.values) == 1


@pytest.mark.parametrize(
    ("b", "a", "message"),
    [
        (np.ones((4, 2)), np.ones((3, 5)), r"B \[4, 2\] and A \[3, 5\]"),
        (np.ones((4, 0)), np.ones((0, 5)), r"with r > 0"),
        (np.full((4, 2), np.nan), np.ones((2, 5)), "not finite"),
        (np.ones((4, 2)), np.full((2, 5), np.inf), "not finite"),
    ],
)
def test_factors_that_are_none_are_refused(b: Floats, a: Floats, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompose(b, a)


def test_a_scaling_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="their scaling, nan, is not"):
        decompose(np.ones((4, 2)), np.ones((2, 5)), math.nan)


# Laws of the overlap


def test_a_subspace_overlaps_itself_whole() -> None:
    one = update(3)
    assert subspace_overlap(one.left, one.left)[0] == pytest.approx(1, abs=1e-12)
    assert energy_overlap(one.left, one.left, energies(one, one))[0] == pytest.approx(1, abs=1e-12)
    assert cosine(one, one) == pytest.approx(1, abs=1e-12)


def test_orthogonal_subspaces_overlap_nowhere() -> None:
    axes = np.eye(10)
    first, second = axes[:, :3], axes[:, 5:8]
    uniform = (np.full(3, 1 / 3), np.full(3, 1 / 3))
    assert subspace_overlap(first, second)[0] == 0
    assert energy_overlap(first, second, uniform)[0] == 0
    values, right = np.array([3.0, 2.0, 1.0]), axes[:, :3]
    assert cosine(Update(first, values, right), Update(second, values, right)) == 0


def test_by_hand() -> None:
    """e1, e2 against e1, (e3 + e2) / sqrt 2: (1 + 1/2) / 2. Energies 3/4, 1/4 and 1/2, 1/2 on each."""
    axes = np.eye(4)
    first = axes[:, :2]
    second = np.stack([axes[0], (axes[2] + axes[1]) / np.sqrt(2)], axis=1)
    assert subspace_overlap(first, second)[0] == pytest.approx(0.75)
    shares = (np.array([0.75, 0.25]), np.array([0.5, 0.5]))
    expected = (0.75 * 0.5 + 0.25 * 0.5 / 2) / np.sqrt((0.75**2 + 0.25**2) * 0.5)
    assert energy_overlap(first, second, shares)[0] == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(3)))
def test_neither_rotation_nor_order_nor_sign_of_the_vectors_matters(seed: int, order: list[int]) -> None:
    generator = np.random.default_rng(seed)
    first, second = basis(generator, 12, 3), basis(generator, 12, 3)
    expected = subspace_overlap(first, second)[0]
    within = first @ np.linalg.qr(generator.normal(size=(3, 3)))[0]
    assert subspace_overlap(within, second)[0] == pytest.approx(expected, abs=1e-12)
    turn = np.linalg.qr(generator.normal(size=(12, 12)))[0]
    assert subspace_overlap(turn @ first, turn @ second)[0] == pytest.approx(expected, abs=1e-12)
    signs = generator.choice([-1.0, 1.0], size=3)
    assert subspace_overlap(first[:, order] * signs, second)[0] == pytest.approx(expected, abs=1e-12)
    assert subspace_overlap(second, first)[0] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(3)))
def test_nor_do_they_for_what_is_weighted(seed: int, order: list[int]) -> None:
    """The factors can be written in any basis; the singular vectors come in any order, with either sign."""
    one, other = update(seed), update(seed + 5000)
    expected = energy_overlap(one.left, other.left, energies(one, other))[0], cosine(one, other)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=3)
    turned = Update(one.left[:, order] * signs, one.values[order], one.right[:, order] * signs)
    found = energy_overlap(turned.left, other.left, energies(turned, other))[0], cosine(turned, other)
    assert found == pytest.approx(expected, abs=1e-12)
    assert effective_rank(turned) == pytest.approx(effective_rank(one))
    b, a = factors(seed)
    mixing = np.random.default_rng(seed + 1).normal(size=(3, 3)) + 3 * np.eye(3)
    again = decompose(b @ mixing, np.linalg.solve(mixing, a))
    assert again is not None
    assert subspace_overlap(again.left, one.left)[0] == pytest.approx(1, abs=1e-9)
    assert cosine(again, one) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("rank", "other", "width"), [(3, 3, 30), (2, 6, 20), (1, 1, 8)])
def test_random_subspaces_overlap_by_chance(rank: int, other: int, width: int) -> None:
    """The mean of 400 draws lies within three of its standard errors."""
    generator = np.random.default_rng(7)
    shares = (np.sort(generator.dirichlet(np.ones(rank))), np.sort(generator.dirichlet(np.ones(other))))
    draws = [(basis(generator, width, rank), basis(generator, width, other)) for _ in range(400)]
    norms = np.sqrt(np.square(shares[0]).sum() * np.square(shares[1]).sum())
    for found, expected in (
        ([subspace_overlap(*draw) for draw in draws], max(rank, other) / width),
        ([energy_overlap(*draw, shares) for draw in draws], 1 / (width * norms)),
    ):
        values, chances = zip(*found, strict=True)
        assert chances == pytest.approx([expected] * 400)
        assert abs(np.mean(values) - expected) < 3 * np.std(values, ddof=1) / np.sqrt(len(found))


def test_ranks_may_differ_and_the_smaller_one_counts() -> None:
    generator = np.random.default_rng(8)
    large = basis(generator, 20, 6)
    assert subspace_overlap(large, large[:, 2:4])[0] == pytest.approx(1)
    assert subspace_overlap(large[:, 2:4], large)[0] == pytest.approx(1)
    assert subspace_overlap(large[:, :3], large[:, 2:4])[0] == pytest.approx(0.5)


def test_bases_of_different_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"bases \[12, 3\] and \[9, 3\]"):
        subspace_overlap(update(0).left, update(0).right)


# The same from whole matrices


@pytest.mark.parametrize("ranks", [(3, 3), (2, 4)])
def test_what_is_weighted_equals_the_cosines_of_whole_matrices(ranks: tuple[int, int]) -> None:
    (b1, a1), (b2, a2) = factors(10, rank=ranks[0]), factors(11, rank=ranks[1])
    whole, other = b1 @ a1, 1.7 * b2 @ a2
    one, two = decompose(b1, a1), decompose(b2, a2, 1.7)
    assert one is not None
    assert two is not None

    def whole_cosine(x: Floats, y: Floats) -> float:
        return float((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y))

    assert cosine(one, two) == pytest.approx(whole_cosine(whole, other))
    left = energy_overlap(one.left, two.left, energies(one, two))[0]
    assert left == pytest.approx(whole_cosine(whole @ whole.T, other @ other.T))
    right = energy_overlap(one.right, two.right, energies(one, two))[0]
    assert right == pytest.approx(whole_cosine(whole.T @ whole, other.T @ other))


def test_a_cosine_has_a_sign() -> None:
    b, a = factors(12)
    one, opposite = decompose(b, a), decompose(-2 * b, a)
    assert one is not None
    assert opposite is not None
    assert cosine(one, opposite) == pytest.approx(-1)
    assert subspace_overlap(one.left, opposite.left)[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0, 2.0, 2.0], 3.0), ([5.0], 1.0), ([3.0, 1.0], np.exp(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1))))],
)
def test_effective_rank(values: list[float], expected: float) -> None:
    axes = np.eye(5)[:, : len(values)]
    assert effective_rank(Update(axes, np.array(values), axes)) == pytest.approx(expected)


# Adapters


def lora(letters: str) -> TrainConfig:
    return TrainConfig(training_method="act", lora_type=letters)


def saved(folder: Path, shape: str = "llama", seed: int = 1, letters: str = "qkvo") -> dict[str, np.ndarray]:
    """A random LoRA adapter in `folder`; returns the whole update of each adapted module, by PEFT."""
    model = tiny_model(shape)
    with new_adapter(model, peft_config(model, lora(letters)), seed=seed) as adapted:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in trainable_parameters(adapted).values():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        folder.mkdir()
        save_adapter(adapted, folder, "tiny")
        return whole_updates(adapted)


def whole_updates(adapted: PeftModel) -> dict[str, np.ndarray]:
    found = {}
    for name, module in adapted.named_modules():
        if hasattr(module, "get_delta_weight"):
            delta = module.get_delta_weight("default").detach().double().numpy()
            found[name] = delta.T if module.fan_in_fan_out else delta  # [d_out, d_in]
    return found


@pytest.mark.parametrize("shape", ["llama", "gpt2", "phi3"])
def test_updates_are_pefts_own_of_every_module(tmp_path: Path, shape: str) -> None:
    letters = {"gpt2": "qkvoud", "phi3": "qkvo"}.get(shape, "qkvogud")
    whole = saved(tmp_path / "adapter", shape, letters=letters)
    updates = read_updates(tmp_path / "adapter")
    assert len(updates) == len(whole) == len({*updates}), "c_proj of attention and MLP are two"
    for (layer, projection), update in updates.items():
        (name,) = [name for name in whole if name.endswith(f".{layer}.{projection}")]
        assert update is not None
        np.testing.assert_allclose(update.left * update.values @ update.right.T, whole[name], atol=1e-4)


def test_the_rows_are_those_of_the_whole_matrices(tmp_path: Path) -> None:
    """Overlaps by a full SVD of each d x d matrix, one by one."""
    whole = [saved(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 2))]
    rows = overlap_rows(*(read_updates(tmp_path / name) for name in "ab"))
    assert len(rows) == 2 * 4
    for row in rows.itertuples():
        name = next(name for name in whole[0] if name.endswith(f".{row.layer}.{row.projection}"))
        first, second = (one[name] for one in whole)
        u1, s1, v1 = np.linalg.svd(first)
        u2, s2, v2 = np.linalg.svd(second)
        assert (row.rank_a, row.rank_b) == (8, 8)
        assert row.left_overlap == pytest.approx(np.square(u1[:, :8].T @ u2[:, :8]).sum() / 8, rel=1e-4)
        assert row.right_overlap == pytest.approx(np.square(v1[:8] @ v2[:8].T).sum() / 8, rel=1e-4)
        assert row.cosine == pytest.approx((first * second).sum() / np.linalg.norm(s1) / np.linalg.norm(s2), abs=1e-5)
        shares = np.square(s1[:8]) / np.square(s1[:8]).sum()
        assert row.effective_rank_a == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
        assert (row.chance_left, row.chance_right) == (8 / len(first), 8 / first.shape[1])


def test_chance_differs_between_the_sides(tmp_path: Path) -> None:
    """k is 32 to 16 here: what it writes has half as many dimensions as what it reads."""
    saved(tmp_path / "a")
    rows = overlap_rows(read_updates(tmp_path / "a"), read_updates(tmp_path / "a"))
    k = rows[rows["projection"] == "self_attn.k_proj"].iloc[0]
    assert (k["chance_left"], k["chance_right"]) == (0.5, 0.25)
    np.testing.assert_allclose(rows[["left_overlap", "right_overlap", "left_energy_overlap", "cosine"]], 1)


def test_an_update_of_zero_has_no_row(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    saved(tmp_path / "b", seed=2)
    weights = load_file(tmp_path / "b" / "adapter_model.safetensors")
    name = next(name for name in weights if ".1.self_attn.q_proj.lora_B" in name)
    save_file({**weights, name: torch.zeros_like(weights[name])}, tmp_path / "b" / "adapter_model.safetensors")
    both = read_updates(tmp_path / "a"), read_updates(tmp_path / "b")
    assert both[1][1, "self_attn.q_proj"] is None
    rows = overlap_rows(*both)
    assert len(rows) == 7
    assert rows[["layer", "projection"]].values.tolist() == sorted(
        [layer, f"self_attn.{letter}_proj"] for layer in (0, 1) for letter in "kqvo" if (layer, letter) != (1, "q")
    )
    assert rows.notna().all(axis=None)


def test_an_adapter_that_was_never_trained_has_none(tmp_path: Path) -> None:
    model = tiny_model("llama")
    with new_adapter(model, peft_config(model, lora("qkvo")), seed=0) as adapted:
        (tmp_path / "new").mkdir()
        save_adapter(adapted, tmp_path / "new", "tiny")
    saved(tmp_path / "a")
    assert set(read_updates(tmp_path / "new").values()) == {None}
    rows = overlap_rows(read_updates(tmp_path / "new"), read_updates(tmp_path / "a"))
    assert len(rows) == 0
    assert isinstance(rows, pd.DataFrame)


@pytest.mark.parametrize(("rank_stabilised", "factor"), [(False, 1 / 8), (True, 1 / np.sqrt(8))])
def test_the_scaling_is_that_of_the_adapters_config(tmp_path: Path, rank_stabilised: bool, factor: float) -> None:
    saved(tmp_path / "a", letters="q")
    path = tmp_path / "a" / "adapter_config.json"
    store.write_json(path, {**store.read_json(path), "lora_alpha": 3, "use_rslora": rank_stabilised})
    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    b, a = (next(w for name, w in weights.items() if f".0.self_attn.q_proj.lora_{end}" in name) for end in "BA")
    update = read_updates(tmp_path / "a")[0, "self_attn.q_proj"]
    assert update is not None
    assert np.linalg.norm(update.values) == pytest.approx(3 * factor * float((b.double() @ a.double()).norm()))


@pytest.mark.parametrize("damage", ["cut", "gone", "no config", "not finite"])
def test_what_cannot_be_read_is_told(tmp_path: Path, damage: str) -> None:
    saved(tmp_path / "a", letters="q")
    weights, config = tmp_path / "a" / "adapter_model.safetensors", tmp_path / "a" / "adapter_config.json"
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-7])
        case "gone":
            weights.unlink()
        case "no config":
            config.write_text("{}")
        case "not finite":
            save_file({name: one * torch.nan for name, one in load_file(weights).items()}, weights)
    with pytest.raises(UserError, match="holds no LoRA adapter that can be read"):
        read_updates(tmp_path / "a")


def test_a_run_whose_weights_were_edited_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "a", letters="q")
    describe(tmp_path / "a", {})
    assert len(read_updates(tmp_path / "a")) == 2
    weights = tmp_path / "a" / "adapter_model.safetensors"
    save_file({name: 2 * one for name, one in load_file(weights).items()}, weights)
    with pytest.raises(UserError, match=f"{weights} is damaged"):
        read_updates(tmp_path / "a")


def test_another_kind_of_adapter_is_told(tmp_path: Path) -> None:
    model = tiny_model("llama")
    with new_adapter(model, peft_config(model, TrainConfig(training_method="ia3-act")), seed=0) as adapted:
        (tmp_path / "ia3").mkdir()
        save_adapter(adapted, tmp_path / "ia3", "tiny")
    with pytest.raises(UserError, match="holds no LoRA adapter"):
        read_updates(tmp_path / "ia3")


# Records


def test_a_row_says_which_pair_it_is_of(tmp_path: Path) -> None:
    write_overlap(tmp_path, "one", 0.25)
    write_overlap(tmp_path, "two", relation="runs", config_b=run(run_idx=3))
    frame = pd.concat([one.frame() for one in examine_overlaps(tmp_path).found], ignore_index=True)
    assert list(frame.columns) == [*PAIR_COLUMNS, *ROW_COLUMNS]
    assert frame["relation"].tolist() == ["methods"] * 2 + ["runs"] * 2
    assert frame["method_b"].tolist() == ["tok"] * 2 + ["act"] * 2
    assert frame["run_idx_b"].tolist() == [0, 0, 3, 3]
    assert frame["left_overlap"].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert frame["num_train_examples"].tolist() == [8] * 4


def test_a_pair_without_rows_has_an_empty_frame(tmp_path: Path) -> None:
    assert examine_overlaps(tmp_path).found == ()
    write_overlap(tmp_path, "absent", num_rows=0)
    (one,) = examine_overlaps(tmp_path).found
    assert len(one.frame()) == 0
    assert list(one.frame().columns) == [*PAIR_COLUMNS, *ROW_COLUMNS]


def test_a_newer_schema_stops_the_reading(tmp_path: Path) -> None:
    write_overlap(tmp_path, "one", schema=3)
    with pytest.raises(UserError, match="has schema 3, newer than 2"):
        examine_overlaps(tmp_path)


def test_what_is_not_whole_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, broken = write_overlap(tmp_path, "whole"), write_overlap(tmp_path, "broken")
    broken.with_suffix(".parquet").unlink()
    examined = examine_overlaps(tmp_path)
    assert [one.path for one in examined.found] == [whole]
    with caplog.at_level(logging.WARNING):
        tell(examined.problems)
    assert f"{broken} is not counted: " in caplog.text
