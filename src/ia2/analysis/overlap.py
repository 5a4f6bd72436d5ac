"""How much the low-rank updates of two adapters overlap, from their factors alone.

A LoRA update is scaling * B A, [d_out, d_in] of rank r: what it writes lies in the span of its left singular vectors,
what it reads in that of its right ones. d x d is never formed: B and A are orthogonalised (QR), and what is left to
decompose is r x r. All in float64. An update that is zero has no subspace.

Every overlap has a chance level, that of directions drawn at random, and it differs between the sides of a projection
that is not square: an overlap means something beside its chance level only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Update:
    """The thin singular value decomposition of an update of rank r; values descend and are above 0."""

    left: Floats  # [d_out, r]
    values: Floats  # [r]
    right: Floats  # [d_in, r]

    @property
    def rank(self) -> int:
        return len(self.values)


def decompose(b: npt.ArrayLike, a: npt.ArrayLike, scaling: float = 1.0) -> Update | None:
    """The update scaling * B A of `b` [d_out, r] and `a` [r, d_in]; None where it is zero.

    Directions below the rounding of the largest (max(d_out, d_in) times the spacing of float64, as numpy's matrix_rank)
    are none of it. ValueError where r is 0, the factors do not fit each other, or a number is not finite.
    """
    outer, inner = np.asarray(b, dtype=np.float64), np.asarray(a, dtype=np.float64)
    if outer.ndim != 2 or inner.ndim != 2 or outer.shape[1] != inner.shape[0] or not len(inner):
        raise ValueError(f"B {list(outer.shape)} and A {list(inner.shape)}: want [d_out, r] and [r, d_in] with r > 0")
    if not (np.isfinite(outer).all() and np.isfinite(inner).all() and np.isfinite(scaling)):
        raise ValueError(f"B or A holds numbers that are not finite, or their scaling, {scaling}, is not")
    out_basis, out_rest = np.linalg.qr(outer)
    in_basis, in_rest = np.linalg.qr(inner.T)
    left, values, right = np.linalg.svd(scaling * out_rest @ in_rest.T, full_matrices=False)
    kept = values > values[0] * max(len(outer), inner.shape[1]) * np.finfo(np.float64).eps
    if not kept.any():
        return None
    return Update(out_basis @ left[:, kept], values[kept], in_basis @ right[kept].T)


def energy_shares(update: Update) -> Floats:
    """The share [r] of each direction in the squared Frobenius norm, sigma_i^2 / sum_k sigma_k^2."""
    squares = np.square(update.values / update.values.max())
    shares: Floats = squares / squares.sum()
    return shares


def subspace_overlap(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """||U1' U2||_F^2 / min(r1, r2) of orthonormal bases [d, r1] and [d, r2] (Hu et al. 2021, section 7.2).

    1 where the smaller subspace lies in the larger, 0 where they are orthogonal. Of equal ranks it is
    (1/r) ||U1' U2||_F^2.
    """
    products = _products(first, second)
    return float(np.square(products).sum() / min(products.shape))


def chance_overlap(rank: int, other_rank: int, width: int) -> float:
    """What `subspace_overlap` of random subspaces of `width` dimensions is on average: max(r1, r2) / d."""
    return max(rank, other_rank) / width


def energy_overlap(first: Floats, second: Floats, energies: tuple[Floats, Floats]) -> float:
    """sum_ij p_i q_j (u_i . v_j)^2 / sqrt(sum_i p_i^2 sum_j q_j^2), p and q the `energy_shares`.

    It is the cosine between the two matrices D D' (for the left side; D' D for the right), so directions count by what
    the update puts into them: 1 where those matrices are proportional, 0 where the subspaces are orthogonal.
    """
    p, q = energies
    return float(p @ np.square(_products(first, second)) @ q / np.sqrt(np.square(p).sum() * np.square(q).sum()))


def chance_energy_overlap(energies: tuple[Floats, Floats], width: int) -> float:
    """What `energy_overlap` is on average where the directions, but not their energies, are random."""
    p, q = energies
    return float(1 / (width * np.sqrt(np.square(p).sum() * np.square(q).sum())))


def effective_rank(update: Update) -> float:
    """exp of the entropy of the shares of energy: 1 for a single direction, r where all r are equal.

    Roy and Vetterli (2007) define it with the singular values themselves; here they are squared, so that a direction
    counts by its energy.
    """
    shares = energy_shares(update)
    p = shares[shares > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def cosine(first: Update, second: Update) -> float:
    """The cosine of the whole updates, <D1, D2>_F / (||D1|| ||D2||), from their factors."""
    weights = np.outer(first.values / np.linalg.norm(first.values), second.values / np.linalg.norm(second.values))
    aligned = _products(first.left, second.left) * _products(first.right, second.right)
    return float((weights * aligned).sum())


def _products(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 2 or other.ndim != 2 or len(one) != len(other):
        raise ValueError(f"bases {list(one.shape)} and {list(other.shape)}: want [d, r] with the same d")
    products: Floats = one.T @ other
    return products
