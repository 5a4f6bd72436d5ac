"""How time grows with what is asked: each axis at three sizes, beside the growth that the formulas say.

    python benchmarks/bench_scale.py                        on a CPU, with SmolLM2

The formulas are those of docs/performance.md, and so is the table of room that is printed first; memory and disk
follow theirs exactly, which tests/benchmarks/test_sizes.py holds. Time does so but for what a machine does beside
products: the quotient of seconds and formula may differ by a factor of two between the sizes of an axis, else the exit
status is 1.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench_collect import CollectRow
from bench_evaluate import EvaluateRow
from bench_train import TrainRow
from floors import Rates
from running import Bench, Row, open_bench, options, stand
from shapes import sized
from sizes import LLAMA_70B, Shape

from ia2.models.loading import freeze

COLLECT = CollectRow("collect", 0, 9, num_demonstrations=8, num_queries=20, num_tokens=1, plain_queries=1)
DECODE = replace(COLLECT, num_queries=9, plain_steps=1)
TRAIN = TrainRow("train", 0, "act", length=10, num_epochs=2, plain_steps=2)
EVALUATE = EvaluateRow("evaluate", 0, length=10, num_queries=0, plain_queries=1)

AXES: Mapping[str, Mapping[int, Row]] = {
    "collect: queries": {n: replace(COLLECT, num_queries=n) for n in (10, 20, 40)},
    "collect: demonstrations": {n: replace(COLLECT, num_demonstrations=n) for n in (4, 8, 16)},
    "collect: T": {n: replace(DECODE, num_tokens=n) for n in (8, 16, 32)},
    "train an epoch: N": {n: replace(TRAIN, num_examples=n) for n in (8, 16, 32)},
    "evaluate: queries": {n: replace(EVALUATE, num_queries=n) for n in (50, 100, 200)},
}
DEPTHS, WIDTHS = (4, 8, 16), (256, 512, 1024)
SPREAD = 2.0
"""So much may the quotient of seconds and formula differ within an axis."""


def main() -> int:
    parser = options(__doc__, "smollm2-135m", "cpu")
    parser.set_defaults(repeats=2, limit=20.0)
    given = parser.parse_args()
    bench = open_bench(given)
    print(room({given.model: bench.shape, "70B in bf16": LLAMA_70B}))
    _setting, rates = stand(bench, given)
    print(f"\n{'axis':24s} {'size':>6s} {'seconds':>10s} {'formula':>10s} {'quotient':>9s}")
    follow = [
        follows(axis, {size: _point(row, bench, rates) for size, row in rows.items()}) for axis, rows in AXES.items()
    ]
    depths, widths = ((1, 2, 4), (64, 128, 256)) if bench.small else (DEPTHS, WIDTHS)
    deep = {n: _point(COLLECT, _sized(bench, n, widths[1]), rates) for n in depths}
    wide = {n: _point(COLLECT, _sized(bench, depths[1], n), rates) for n in widths}
    follow += [follows("collect: layers", deep), follows("collect: width", wide)]
    return int(not all(follow))


def room(shapes: Mapping[str, Shape]) -> str:
    """Weights, and what a token takes in the cache, on disk as a target, and in a training step (LoRA, rank 8, qkv)."""
    lines = [f"{'room':16s} {'weights':>10s} {'cache':>12s} {'target':>12s} {'training':>12s}"]
    for name, shape in shapes.items():
        kinds = (shape.cache_bytes, shape.target_bytes, shape.kept_bytes(rank=8, num_adapted=3))
        lines.append(f"{name:16s} {shape.weight_bytes / 1e9:7.2f} GB" + "".join(f" {n / 1e3:9.1f} kB" for n in kinds))
    return "\n".join([*lines, "(bytes of one token: cached, one answer position's activations, one fed token)"])


@dataclass(frozen=True)
class Point:
    """One size of an axis: the seconds that it took, and those of the formula."""

    seconds: float
    formula: float

    @property
    def quotient(self) -> float:
        return self.seconds / self.formula


def _point(row: Row, bench: Bench, rates: Rates) -> Point:
    result = row.measure(bench)
    assert result.equal, [str(comparison) for comparison in result.compared]
    return Point(result.ours.median, rates.seconds(result.phases))


def _sized(bench: Bench, num_layers: int, width: int) -> Bench:
    """Rows run on a random model of that depth and width instead."""
    ours, untouched = (sized(num_layers, width, bench.device) for _ in range(2))
    freeze(ours)
    return replace(bench, ours=ours, plain=untouched)


def follows(axis: str, points: Mapping[int, Point]) -> bool:
    """Print an axis; whether its time grows as the formula says."""
    for size, point in points.items():
        print(f"{axis:24s} {size:6d} {point.seconds:10.4f} {point.formula:10.4f} {point.quotient:9.2f}", flush=True)
    quotients = [point.quotient for point in points.values()]
    return max(quotients) <= SPREAD * min(quotients)


if __name__ == "__main__":
    sys.exit(main())
