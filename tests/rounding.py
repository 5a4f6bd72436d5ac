"""Another processor's rounding: each matrix product is off in its last bits, equally for equal shapes.

A sum of zeros is zero on all. `IA2_ROUNDING=1 make unit` runs the tests on such a processor, and other numbers on
others. A test that fails there rests on the order in which one processor adds.
"""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor


@contextmanager
def another_rounding(seed: int) -> Iterator[None]:
    """Products on the CPU, forwards and backwards, with noise of one unit in the last place of their rows' size."""

    @cache
    def pattern(shape: torch.Size, dtype: torch.dtype) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {shape} {dtype}".encode()))
        return torch.finfo(dtype).eps * torch.randn(shape, generator=generator).to(dtype)

    def shaken(product: Tensor) -> Tensor:
        if not product.is_floating_point():
            return product
        size = product.square().mean(-1, keepdim=True).sqrt()
        return product.add_(pattern(product.shape, product.dtype) * size * (product != 0))

    # With `out` another kernel computes the product: this one would call itself.
    def mm(one: Tensor, other: Tensor) -> Tensor:
        return shaken(torch.mm(one, other, out=one.new_empty(len(one), other.shape[1])))

    def bmm(one: Tensor, other: Tensor) -> Tensor:
        return shaken(torch.bmm(one, other, out=one.new_empty(*one.shape[:2], other.shape[2])))

    def addmm(added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        out = one.new_empty(len(one), other.shape[1])
        return shaken(torch.addmm(added, one, other, beta=beta, alpha=alpha, out=out))

    def baddbmm(added: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        out = one.new_empty(*one.shape[:2], other.shape[2])
        return shaken(torch.baddbmm(added, one, other, beta=beta, alpha=alpha, out=out))

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that kernels are replaced is the purpose
        for kernel in (mm, bmm, addmm, baddbmm):
            library.impl(kernel.__name__, kernel, "CPU")
    try:
        yield
    finally:
        library._destroy()
