"""Attention outputs recorded by forward hooks, which exist only while something is recorded."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def record_attention(blocks: Sequence[nn.Module], rows: Tensor, columns: Tensor) -> Iterator[list[Tensor]]:
    """Record the outputs of `blocks` at the M positions (rows, columns) of a forward pass within the context.

    Yields a list of L tensors [M, D], which the pass fills. The slice is taken inside the hook, on the device of the
    block, so that a layer's full [B, S, D] is never kept.

    >>> blocks = [nn.Identity()]
    >>> with record_attention(blocks, torch.tensor([0]), torch.tensor([1])) as recorded:
    ...     _ = blocks[0](torch.arange(6.0).view(1, 3, 2))
    >>> recorded
    [tensor([[2., 3.]])]
    """
    recorded = [torch.empty(0)] * len(blocks)

    def hook(layer: int) -> Callable[[nn.Module, object, Tensor | tuple[Tensor, ...]], None]:
        def record(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            hidden = output if isinstance(output, Tensor) else output[0]
            recorded[layer] = hidden[rows.to(hidden.device), columns.to(hidden.device)]

        return record

    handles = [block.register_forward_hook(hook(layer)) for layer, block in enumerate(blocks)]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()
