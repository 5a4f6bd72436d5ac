"""Every adapter and variant takes three steps on the shape of Qwen3-4B in bf16, at T = 1 and T = 32, within 40 GB.

    python benchmarks/gpu_methods.py

Prints for each of the 24 methods the losses of the first and last step, seconds, and the peak memory. The exit code
is 1 if a method needs more than 40 GB, a gradient is not finite, or a loss does not fall.
"""

import sys
import time

import torch
from shapes import qwen3_4b, random_ids

from ia2.config import TrainConfig
from ia2.methods import METHODS
from ia2.models.adapters import peft_config
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.models.stacked_lora import trainable_adapters
from ia2.prompts.prompt import Ids
from ia2.training.dataset import from_targets
from ia2.training.targets import Targets, collect
from ia2.training.trainer import History, TrainingRun, train_in_lockstep

LIMIT = 40e9
NUM_EXAMPLES, DEMONSTRATIONS, QUERY = 6, 800, 100
LEARNING_RATES = {"lora": 1e-3, "ia3": 1e-2, "prompt": 1e-3, "prefix": 1e-2}


def main() -> int:
    device = torch.device("cuda")
    model = qwen3_4b(device)
    print(f"weights: {torch.cuda.memory_allocated() / 1e9:.1f} GB on {torch.cuda.get_device_name()}")
    generator = torch.Generator().manual_seed(1)
    queries = [random_ids(QUERY + index, generator) for index in range(NUM_EXAMPLES)]
    prompted = [random_ids(DEMONSTRATIONS, generator) + query for query in queries]
    failures = 0
    for num_tokens in (1, 32):
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        teacher = HookedModel(model)
        targets = collect(teacher, prompted, GenerationConfig(num_tokens, None, 8192), {"activations", "distributions"})
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() / 1e9
        print(f"T={num_tokens}: collected in {time.perf_counter() - started:.2f} s, peak {peak:.1f} GB")
        for name in METHODS:
            failures += not take_steps(model, name, queries, targets)
    return int(failures > 0)


def take_steps(model: torch.nn.Module, name: str, queries: list[Ids], targets: Targets) -> bool:
    method = METHODS[name]
    torch.cuda.reset_peak_memory_stats()
    config = TrainConfig(
        training_method=name,
        lr=LEARNING_RATES[method.adapter],
        batch_size=4,
        num_train_epochs=3,
        patience=99,
        dev_eval_steps=2,
        keep="last",
        ce_loss_weight=0.5,
        log_gradient_norms=True,
    )
    told: list[str] = []
    good = True
    dataset = from_targets(queries, targets)
    with trainable_adapters(model, [peft_config(model, config)], [0]) as adapters:
        for phase in method.phases:
            history: list[History] = []
            started = time.perf_counter()
            datasets = dataset.part(0, 4), dataset.part(4, 6)
            run = TrainingRun(config, phase, *datasets, adapters.parameters[0], note=history.append)
            (ended,) = train_in_lockstep([run], adapters)
            if ended.error is not None:
                raise ended.error
            output = ended.finish()
            losses = [float(entry["train_loss"]) for entry in history if "train_loss" in entry]
            finite = all(float(entry.get("gradient_norm", 0.0)) < float("inf") for entry in history)
            good &= finite and output.num_steps == 3 and losses[-1] < losses[0]
            seconds = time.perf_counter() - started
            told.append(f"{phase.name} {losses[0]:.4g} -> {losses[-1]:.4g} in {seconds:.2f} s")
    peak = torch.cuda.max_memory_allocated()
    good &= peak < LIMIT
    print(f"  {name:12s} peak {peak / 1e9:5.1f} GB  {'; '.join(told)}{'' if good else '  FAILED'}", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
