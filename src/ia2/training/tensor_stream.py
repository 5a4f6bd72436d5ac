"""What is seen of many prompts at once, token by token, put on the disk as it comes and in order at the end.

Memory so holds one step of one batch, whatever there is to be collected. How long a response gets is only known when it
has ended, so what comes goes to a nameless file first, one record for each token; when all are there it is copied to a
safetensors file, which states its size at its beginning. The disk needs room for both meanwhile.
"""

import json
import os
import struct
from array import array
from collections.abc import Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from ia2 import store

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""How safetensors calls number formats."""


class TensorStreamWriter:
    """Records of one shape, appended to the rows that they belong to."""

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - closed on exit
        self._places: dict[int, array[int]] = {}
        self._num_records = 0
        self._dtype, self._shape = torch.float32, torch.Size()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def append(self, rows: Sequence[int], records: Tensor) -> None:
        """Add to each row, in turn, one of the records [R, ...]; a row may come several times."""
        self._dtype, self._shape = records.dtype, records.shape[1:]
        self._file.write(records.contiguous().cpu().view(torch.uint8).numpy().data)
        for row in rows:
            self._places.setdefault(row, array("q")).append(self._num_records)
            self._num_records += 1

    def forget(self, rows: Sequence[int]) -> None:
        """Let nothing that was appended to these rows count."""
        for row in rows:
            self._places.pop(row, None)

    def write(self, path: Path, name: str) -> None:
        """Write one tensor [M, ...] of that name: the records of the rows in their order, as a safetensors file."""
        size = prod(self._shape) * self._dtype.itemsize
        order = [place for row in sorted(self._places) for place in self._places[row]]
        told = {
            "dtype": NAMES[self._dtype],
            "shape": [len(order), *self._shape],
            "data_offsets": [0, len(order) * size],
        }
        header = json.dumps({name: told}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        self._file.flush()
        with store.atomic_write(path) as temporary, temporary.open("wb") as stream:
            stream.write(struct.pack("<Q", len(header)) + header)
            for place in order:
                stream.write(os.pread(self._file.fileno(), size, place * size))
