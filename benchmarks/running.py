"""How a benchmark is run: which rows, on which model and device, and what becomes of the results."""

import argparse
import copy
import gc
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import plain
import torch
from comparing import TOLERANCES, Comparison
from floors import Rates
from machine import Timed, describe, measured_rates, resident_bytes, timed
from results import Result, append
from shapes import qwen3_4b, tiny
from sizes import Shape, shape_of
from transformers import PreTrainedModel

from ia2.config import ModelConfig
from ia2.models.loading import freeze, load_model, model_folder

S = TypeVar("S")
T = TypeVar("T")

SHAPES: Mapping[str, Callable[[torch.device, torch.dtype], PreTrainedModel]] = {"qwen3-4b": qwen3_4b, "tiny": tiny}
MEMORY = {"cpu": "resident in this process", "cuda": "allocated by torch"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Bench:
    """What rows run on: the same weights twice, as ia2 prepares them and untouched for the plain procedure.

    A row that has taken `limit` seconds is not repeated further; it runs once at least, beside warming up.
    """

    ours: PreTrainedModel
    plain: PreTrainedModel
    repeats: int
    limit: float = 90.0
    small: bool = False

    @property
    def device(self) -> torch.device:
        return self.plain.device

    @property
    def shape(self) -> Shape:
        return shape_of(self.plain.config, self.plain.dtype)

    @property
    def exact(self) -> bool:
        """Whether both sides can be compared with each other, number by number."""
        return self.plain.dtype == torch.float32

    def comparison(self, against: str = "the plain side", noise: float = 0.0) -> Comparison:
        return Comparison(against, TOLERANCES[self.plain.dtype], noise)

    def in_float32(self) -> PreTrainedModel:
        """A copy of the weights in float32, to judge both sides by."""
        return copy.deepcopy(self.plain).float()

    def in_turns(self, ours: Callable[[], S], other: Callable[[S], T]) -> "Runs[S, T]":
        """Each side once for warming up, then `repeats` times in turns; `other` is told what ours came to."""
        runs: Runs[S, T] = Runs([], [])
        started = time.perf_counter()
        for number in range(self.repeats + 1):
            if number > 1 and time.perf_counter() - started > self.limit:
                break
            runs.ours.append(timed(self.device, ours, exact_memory=not number))
            value = runs.ours[-1].value
            runs.plain.append(timed(self.device, partial(other, value), exact_memory=not number))
        return runs


@dataclass(frozen=True)
class Runs(Generic[S, T]):
    """The runs of both sides; the first of each was for warming up, and has the peak of memory."""

    ours: list[Timed[S]]
    plain: list[Timed[T]]


def evenly(number: int, wanted: int) -> list[int]:
    """`wanted` of `number` indices, from the first to the last at equal distances.

    >>> evenly(9, 3), evenly(3, 5)
    ([0, 4, 8], [0, 1, 2])
    """
    if wanted >= number:
        return list(range(number))
    return [round(i * (number - 1) / max(wanted - 1, 1)) for i in range(wanted)]


class Row(Protocol):
    """A row of the table of what is measured."""

    @property
    def name(self) -> str: ...

    def small(self) -> "Row":
        """The same in a size that takes no time, to try a script on."""
        ...

    def measure(self, bench: Bench) -> Result: ...


def main(rows: Sequence[Row], about: str, model: str, device: str = "cpu") -> int:
    """Measure the rows that the command line names, print them, and write them where it says.

    The exit status is 1 where a row could not be measured, or where both sides did not compute the same.
    """
    names = [row.name for row in rows]
    parser = options(about, model, device)
    parser.add_argument(
        "rows", nargs="*", default=names, metavar="row", help=f"which (default: all): {' '.join(names)}"
    )
    parser.add_argument("--out", type=Path, help="add one line of JSON for each row to this file")
    given = parser.parse_args()
    unknown = set(given.rows) - set(names)
    if unknown:
        parser.error(f"no row {min(unknown)!r}; there are {', '.join(names)}")
    started = time.perf_counter()
    bench = open_bench(given)
    print(f"opened in {time.perf_counter() - started:.0f} s", flush=True)
    setting, rates = stand(bench, given)
    failed = []
    for row in rows:
        if row.name not in given.rows:
            continue
        try:
            result = (row.small() if bench.small else row).measure(bench)
        except Exception:  # the other rows are measured all the same: time on a GPU is dear
            traceback.print_exc()
            failed.append(row.name)
            continue
        print(f"\n{result.text(rates)}", flush=True)
        failed += [] if result.equal else [row.name]
        if given.out:
            append(given.out, {**setting, **result.numbers(rates)})
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def options(about: str, model: str, device: str) -> argparse.ArgumentParser:
    """What every benchmark is told: on what, and how often."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=model, help=f"embedded or on disk, or a shape: {', '.join(SHAPES)}")
    parser.add_argument("--device", default=device, help="cpu or cuda")
    parser.add_argument("--dtype", choices=DTYPES, help="default: float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, after one for warming up")
    parser.add_argument("--limit", type=float, default=90, help="seconds after which a row is not repeated further")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script (always with --model tiny)")
    return parser


@torch.no_grad()
def open_bench(given: argparse.Namespace) -> Bench:
    """Both copies of the model that the options name."""
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft 0.21 with transformers 5
    device = torch.device(given.device)
    name = given.dtype or ("float32" if device.type == "cpu" else "bfloat16")
    dtype = DTYPES[name]
    if given.model in SHAPES:
        untouched = SHAPES[given.model](device, dtype)
        ours = copy.deepcopy(untouched)
        freeze(ours)
    else:
        ours = load_model(ModelConfig(model_id=given.model, device=given.device, torch_dtype=name)).model
        untouched = plain.load(model_folder(given.model), device, dtype)
    for model in (ours, untouched):  # weights that are mapped from a file take memory when they are first read
        model(torch.tensor([[1]], device=device))
    gc.freeze()  # what is loaded by now is garbage at no time, and collecting before each measurement is quick
    return Bench(ours, untouched, given.repeats, given.limit, given.small or given.model == "tiny")


def stand(bench: Bench, given: argparse.Namespace) -> tuple[dict[str, object], Rates]:
    """Print on what a benchmark runs, and what that was measured to do."""
    rates = measured_rates(bench.device, bench.plain.dtype, 256 if bench.small else None)
    dtype = str(bench.plain.dtype).removeprefix("torch.")
    setting: dict[str, object] = {"model": given.model, "dtype": dtype, **describe(bench.device)}
    print(", ".join(f"{key} {value}" for key, value in setting.items()))
    print(
        f"matrix rate {rates.flops / 1e12:.3f} TFLOP/s, copying {rates.moved / 1e9:.1f} GB/s (read and written); "
        f"{resident_bytes(bench.device) / 1e9:.2f} GB {MEMORY[bench.device.type]} before anything runs",
        flush=True,
    )
    return {**setting, "matrix_rate": rates.flops, "copy_rate": rates.moved, "repeats": bench.repeats}, rates
