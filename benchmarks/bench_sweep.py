"""A sweep of {tok, act, a2t, tna, tokl} x 3 learning rates x 2 runs on `capitals`: `ia2 sweep`, with several numbers
of workers, and beside it one process for each configuration that loads the model and collects the targets itself.

    python benchmarks/bench_sweep.py                            on two cores: 2 workers, the plain way
    python benchmarks/bench_sweep.py --workers 1 4 --no_plain   on one GPU

The plain side is `ia2 train` itself, in a fresh process and a fresh store, once for each variant, and scaled: what is
compared is the sharing, not the kernels.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ia2.commands.sweep.grid import expand
from ia2.commands.sweep.sweep import sweep
from ia2.config import SweepConfig

METHODS = ("tok", "act", "a2t", "tna", "tokl")


def grid(root: Path, given: argparse.Namespace, num_workers: int) -> SweepConfig:
    return SweepConfig(
        root=root,
        training_methods=METHODS,
        datasets=("capitals",),
        model_id=given.model_id,
        device=given.device,
        num_train_examples=(8,),
        lrs=(1e-4, 3e-4, 1e-3),
        run_indices=(0, 1),
        ce_loss_weights=(0.1,),
        num_train_epochs=given.num_train_epochs,
        max_parallel=num_workers,
        stack=given.stack,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_id", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--num_train_epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--stack", type=int, default=1, help="so many runs at most in one forward pass")
    parser.add_argument("--no_plain", action="store_true")
    given = parser.parse_args()
    seconds = {f"{number} workers": _swept(given, number) for number in given.workers}
    if not given.no_plain:
        seconds["one process each"] = _one_process_each(given)
    for name, taken in seconds.items():
        print(f"{name:18s} {taken:8.1f} s   {taken / min(seconds.values()):5.2f} times the fastest", flush=True)


def _swept(given: argparse.Namespace, num_workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        outcomes = sweep(grid(Path(folder), given, num_workers))
        seconds = time.perf_counter() - started
    assert {outcome.status for outcome in outcomes} == {"done"}
    return seconds


def _one_process_each(given: argparse.Namespace) -> float:
    """Seconds for the whole grid, from one run of each variant."""
    with tempfile.TemporaryDirectory() as folder:
        runs = expand(grid(Path(folder), given, 1))
        total = 0.0
        for method in METHODS:
            of_method = [run for run in runs if run.training_method == method]
            one = next(run for run in of_method if run.lr == 3e-4)
            words = one.model_copy(update={"root": Path(folder) / method}).command("train").split()[1:]
            command = [sys.executable, "-m", "ia2.cli", *words, "--root", str(Path(folder) / method)]
            started = time.perf_counter()
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            total += (time.perf_counter() - started) * len(of_method)
    return total


if __name__ == "__main__":
    main()
