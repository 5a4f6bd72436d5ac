"""Every row of the table that is measured on a GPU, on the shape of Qwen3-4B in bf16, in one process.

    python benchmarks/gpu.py --out results.jsonl            all rows; none is repeated after 90 s (--limit)
    python benchmarks/gpu.py collect-t200 collect-long      some of them

Where ia2 is not installed, this is what it needs beside torch, transformers, peft, accelerate and their own needs:

    pip install --target wheels --python-version 3.12 --only-binary=:all: pydantic tyro lazy-loader
    PYTHONPATH=src:wheels python benchmarks/gpu.py --out results.jsonl

To try the script itself, on a CPU, in seconds: `python benchmarks/gpu.py --model tiny --device cpu`, with `--dtype
bfloat16` on the paths that bf16 takes.
"""

import sys

import bench_collect
import bench_evaluate
import bench_train
from running import main

if __name__ == "__main__":
    rows = (*bench_collect.ON_GPU, *bench_train.ON_GPU, *bench_evaluate.ON_GPU)
    sys.exit(main(rows, __doc__, "qwen3-4b", "cuda"))
