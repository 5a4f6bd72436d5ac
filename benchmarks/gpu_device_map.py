"""A model spread over two GPUs by `--device_map auto` beside the same model on one: targets, three `act` steps.

    python benchmarks/gpu_device_map.py                    6 layers of the shape of Qwen3-4B, in float32 and bfloat16
    python benchmarks/gpu_device_map.py --num_layers 36    the whole shape

Prints where the weights lie, seconds, each GPU's peak memory, and the greatest differences. The exit code is 1 if the
model was not spread over both GPUs, a token differs in float32, or a number differs by more than 1e-5 (bfloat16: 2e-2)
of the greatest. In bfloat16 the two placements round otherwise (one GPU fuses what a spread model does not), and a
random model has ties at every turn, so there tokens are counted and not judged.
"""

import argparse
import gc
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from shapes import qwen3_4b, random_ids
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ia2.config import Dtype, ModelConfig, TrainConfig
from ia2.methods import ACT
from ia2.models.adapters import peft_config
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import load_model
from ia2.models.stacked_lora import trainable_adapters
from ia2.prompts.prompt import Ids
from ia2.training.dataset import from_targets
from ia2.training.targets import Targets, collect
from ia2.training.trainer import History, TrainingRun, train_in_lockstep

TOLERANCES: dict[Dtype, float] = {"float32": 1e-5, "bfloat16": 2e-2}
NUM_EXAMPLES, DEMONSTRATIONS, QUERY, NUM_TOKENS = 6, 400, 50, 16


@dataclass(frozen=True)
class Outcome:
    """What came of one placement."""

    devices: dict[str, int]  # device -> how many modules of the map lie there
    targets: Targets
    noted: Tensor  # losses and norms of every step
    seconds: float
    peaks: list[float]  # GB, of each GPU


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_layers", type=int, default=6)
    parser.add_argument("--torch_dtype", choices=TOLERANCES, nargs="+", default=list(TOLERANCES))
    given = parser.parse_args()
    if torch.cuda.device_count() < 2:
        print(f"this needs two GPUs; there are {torch.cuda.device_count()}")
        return 1
    failures = 0
    for dtype in given.torch_dtype:
        with tempfile.TemporaryDirectory() as folder:
            num_bytes = save(Path(folder), given.num_layers, getattr(torch, dtype))
            failures += not compare(Path(folder), dtype, num_bytes)
    return int(failures > 0)


def save(folder: Path, num_layers: int, dtype: torch.dtype) -> int:
    """Write a random model, and a tokenizer that nothing is asked of; returns the bytes of the weights."""
    model = qwen3_4b(torch.device("cuda"), dtype, num_layers)
    model.save_pretrained(folder)
    words = models.WordLevel({"a": 0}, unk_token="a")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="a").save_pretrained(folder)
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def compare(folder: Path, dtype: Dtype, num_bytes: int) -> bool:
    """Print both placements and their differences; whether they agree."""
    half = f"{math.ceil(0.75 * num_bytes / 2**20)}MiB"
    one = ModelConfig(model_id=str(folder), torch_dtype=dtype, device="cuda:0")
    two = ModelConfig(model_id=str(folder), torch_dtype=dtype, device_map="auto", max_memory=(f"0={half}", f"1={half}"))
    left, right = outcome(one), outcome(two)
    print(f"{dtype}, {num_bytes / 1e9:.1f} GB of weights on {torch.cuda.get_device_name()}")
    for name, found in (("one GPU", left), ("device_map auto", right)):
        peaks = " ".join(f"{peak:6.1f}" for peak in found.peaks)
        noted = " ".join(f"{value:.6g}" for value in found.noted.tolist())
        print(f"  {name:16s} {found.seconds:7.2f} s   peak GB {peaks}   losses and norms {noted}   {found.devices}")
    assert left.targets.activations is not None
    assert right.targets.activations is not None
    same_tokens = left.targets.responses == right.targets.responses
    differences = {"losses and norms": difference(left.noted, right.noted)}
    if same_tokens:
        differences["activations"] = difference(left.targets.activations, right.targets.activations)
    judged = same_tokens or dtype == "bfloat16"
    good = judged and max(differences.values()) <= TOLERANCES[dtype] and set(right.devices) == {"0", "1"}
    told = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    pairs = zip(left.targets.responses, right.targets.responses, strict=True)
    equal = f"{sum(one == other for one, other in pairs)} of {NUM_EXAMPLES} responses equal"
    print(f"  {equal}; greatest differences: {told}{'' if good else '  FAILED'}")
    return good


def outcome(config: ModelConfig) -> Outcome:
    """Load, collect targets, train three steps."""
    gc.collect()  # accelerate's hooks and a model know each other
    for gpu in range(2):
        torch.cuda.reset_peak_memory_stats(gpu)
    model = load_model(config).model
    generator = torch.Generator().manual_seed(1)
    queries = [random_ids(QUERY + index, generator) for index in range(NUM_EXAMPLES)]
    prompts = [random_ids(DEMONSTRATIONS, generator) + query for query in queries]
    started = time.perf_counter()
    teacher = HookedModel(model)
    targets = collect(teacher, prompts, GenerationConfig(NUM_TOKENS, None, 8192), {"activations", "distributions"})
    noted = three_steps(model, queries, targets)
    for gpu in range(2):
        torch.cuda.synchronize(gpu)
    seconds = time.perf_counter() - started
    peaks = [torch.cuda.max_memory_allocated(gpu) / 1e9 for gpu in range(2)]
    found = list(map(str, getattr(model, "hf_device_map", {"": 0}).values()))
    return Outcome({device: found.count(device) for device in sorted(set(found))}, targets, noted, seconds, peaks)


def three_steps(model: torch.nn.Module, queries: list[Ids], targets: Targets) -> Tensor:
    """What three steps of four examples noted: their losses and norms, and the dev losses of two other examples."""
    config = TrainConfig(
        training_method="act",
        lora_type="qkvo",
        lr=1e-3,
        batch_size=4,
        num_train_epochs=3,
        patience=99,
        dev_eval_steps=1,
        keep="last",
        log_gradient_norms=True,
        log_weight_norms=True,
    )
    lessons, history = from_targets(queries, targets), list[History]()
    with trainable_adapters(model, [peft_config(model, config)], [0]) as adapters:
        datasets = lessons.part(0, 4), lessons.part(4, 6)
        (run,) = train_in_lockstep(
            [TrainingRun(config, ACT, *datasets, adapters.parameters[0], note=history.append)], adapters
        )
        if run.error is not None:
            raise run.error
    noted = ("train_loss", "dev_loss", "gradient_norm", "weight_norm")
    return torch.tensor([float(entry[key]) for entry in history for key in noted if key in entry])


def difference(left: Tensor, right: Tensor) -> float:
    """The largest difference, as a part of the largest value."""
    return float((left.float() - right.float()).abs().max() / left.float().abs().max())


if __name__ == "__main__":
    sys.exit(main())
