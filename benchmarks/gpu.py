"""Every row of the table that is measured on a GPU, on the shape of Qwen3-4B in bf16, in one process.

    python benchmarks/gpu.py --out results.jsonl            all rows, about 8 minutes on an H200
    python benchmarks/gpu.py collect-t200 collect-long      some of them

Where ia2 is not installed, only this is needed beside torch, transformers, peft, accelerate, numpy, tqdm, filelock and
safetensors, as wheels unpacked into one folder:

    pip install --target wheels --no-deps pydantic pydantic-core annotated-types typing-inspection tyro docstring-parser
        lazy-loader
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
