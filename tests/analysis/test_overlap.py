"""Overlaps of low-rank updates: laws, and the same numbers from the whole d x d matrices."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ia2.analysis.overlap import (
    Update,
    chance_energy_overlap,
    chance_overlap,
    cosine,
    decompose,
    effective_rank,
    energy_overlap,
    energy_shares,
    subspace_overlap,
)

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
    assert found.rank == 2 == np.linalg.matrix_rank(b @ a)
    tall = decompose(np.ones((2, 5)), np.ones((5, 9)))
    assert tall is not None
    assert tall.rank == 1


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
    assert subspace_overlap(one.left, one.left) == pytest.approx(1, abs=1e-12)
    assert energy_overlap(one.left, one.left, energies(one, one)) == pytest.approx(1, abs=1e-12)
    assert cosine(one, one) == pytest.approx(1, abs=1e-12)


def test_orthogonal_subspaces_overlap_nowhere() -> None:
    axes = np.eye(10)
    first, second = axes[:, :3], axes[:, 5:8]
    uniform = (np.full(3, 1 / 3), np.full(3, 1 / 3))
    assert subspace_overlap(first, second) == 0
    assert energy_overlap(first, second, uniform) == 0
    values, right = np.array([3.0, 2.0, 1.0]), axes[:, :3]
    assert cosine(Update(first, values, right), Update(second, values, right)) == 0


def test_by_hand() -> None:
    """e1, e2 against e1, (e3 + e2) / sqrt 2: (1 + 1/2) / 2. Energies 3/4, 1/4 and 1/2, 1/2 on each."""
    axes = np.eye(4)
    first = axes[:, :2]
    second = np.stack([axes[0], (axes[2] + axes[1]) / np.sqrt(2)], axis=1)
    assert subspace_overlap(first, second) == pytest.approx(0.75)
    shares = (np.array([0.75, 0.25]), np.array([0.5, 0.5]))
    expected = (0.75 * 0.5 + 0.25 * 0.5 / 2) / np.sqrt((0.75**2 + 0.25**2) * 0.5)
    assert energy_overlap(first, second, shares) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(3)))
def test_neither_rotation_nor_order_nor_sign_of_the_vectors_matters(seed: int, order: list[int]) -> None:
    generator = np.random.default_rng(seed)
    first, second = basis(generator, 12, 3), basis(generator, 12, 3)
    expected = subspace_overlap(first, second)
    within = first @ np.linalg.qr(generator.normal(size=(3, 3)))[0]
    assert subspace_overlap(within, second) == pytest.approx(expected, abs=1e-12)
    turn = np.linalg.qr(generator.normal(size=(12, 12)))[0]
    assert subspace_overlap(turn @ first, turn @ second) == pytest.approx(expected, abs=1e-12)
    signs = generator.choice([-1.0, 1.0], size=3)
    assert subspace_overlap(first[:, order] * signs, second) == pytest.approx(expected, abs=1e-12)
    assert subspace_overlap(second, first) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(3)))
def test_nor_do_they_for_what_is_weighted(seed: int, order: list[int]) -> None:
    """The factors can be written in any basis; the singular vectors come in any order, with either sign."""
    one, other = update(seed), update(seed + 5000)
    expected = energy_overlap(one.left, other.left, energies(one, other)), cosine(one, other)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=3)
    turned = Update(one.left[:, order] * signs, one.values[order], one.right[:, order] * signs)
    found = energy_overlap(turned.left, other.left, energies(turned, other)), cosine(turned, other)
    assert found == pytest.approx(expected, abs=1e-12)
    assert effective_rank(turned) == pytest.approx(effective_rank(one))
    b, a = factors(seed)
    mixing = np.random.default_rng(seed + 1).normal(size=(3, 3)) + 3 * np.eye(3)
    again = decompose(b @ mixing, np.linalg.solve(mixing, a))
    assert again is not None
    assert subspace_overlap(again.left, one.left) == pytest.approx(1, abs=1e-9)
    assert cosine(again, one) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("rank", "other", "width"), [(3, 3, 30), (2, 6, 20), (1, 1, 8)])
def test_random_subspaces_overlap_by_chance(rank: int, other: int, width: int) -> None:
    """The mean of 400 draws lies within three of its standard errors."""
    generator = np.random.default_rng(7)
    shares = (np.sort(generator.dirichlet(np.ones(rank))), np.sort(generator.dirichlet(np.ones(other))))
    draws = [(basis(generator, width, rank), basis(generator, width, other)) for _ in range(400)]
    for found, chance in (
        ([subspace_overlap(*draw) for draw in draws], chance_overlap(rank, other, width)),
        ([energy_overlap(*draw, shares) for draw in draws], chance_energy_overlap(shares, width)),
    ):
        assert abs(np.mean(found) - chance) < 3 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_ranks_may_differ_and_the_smaller_one_counts() -> None:
    generator = np.random.default_rng(8)
    large = basis(generator, 20, 6)
    assert subspace_overlap(large, large[:, 2:4]) == pytest.approx(1)
    assert subspace_overlap(large[:, 2:4], large) == pytest.approx(1)
    assert subspace_overlap(large[:, :3], large[:, 2:4]) == pytest.approx(0.5)


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
    left = energy_overlap(one.left, two.left, energies(one, two))
    assert left == pytest.approx(whole_cosine(whole @ whole.T, other @ other.T))
    right = energy_overlap(one.right, two.right, energies(one, two))
    assert right == pytest.approx(whole_cosine(whole.T @ whole, other.T @ other))


def test_a_cosine_has_a_sign() -> None:
    b, a = factors(12)
    one, opposite = decompose(b, a), decompose(-2 * b, a)
    assert one is not None
    assert opposite is not None
    assert cosine(one, opposite) == pytest.approx(-1)
    assert subspace_overlap(one.left, opposite.left) == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0, 2.0, 2.0], 3.0), ([5.0], 1.0), ([3.0, 1.0], np.exp(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1))))],
)
def test_effective_rank(values: list[float], expected: float) -> None:
    axes = np.eye(5)[:, : len(values)]
    assert effective_rank(Update(axes, np.array(values), axes)) == pytest.approx(expected)
