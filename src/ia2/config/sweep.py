"""Configs of many runs: a grid, an experiment, the state of a root, and tidying it."""

from typing import Annotated, ClassVar, Literal

import tyro
from pydantic import Field, model_validator

from ia2.config.base import Config, LearningRate
from ia2.config.training import TrainingOptions
from ia2.errors import UserError
from ia2.methods import LabelType


class SweepConfig(TrainingOptions):
    """Train a grid of runs: every combination that makes sense, once, resumable."""

    not_in_run_id: ClassVar[frozenset[str]] = TrainingOptions.not_in_run_id | {
        *("dry_run", "max_parallel", "gpus", "ray_address", "max_failures", "run_timeout", "sequential_first"),
        "stack",
    }
    aliases: ClassVar[dict[str, str]] = {
        "training_method": "training_methods",
        "dataset": "datasets",
    }

    training_methods: tuple[str, ...]
    """Training methods: tok, act, a2t, ... (LoRA), or ia3-, prompt-, prefix- and one of them."""
    datasets: tuple[str, ...] = ("gsm8k",)
    """Training datasets."""
    num_train_examples: tuple[Annotated[int, Field(ge=1)], ...] = (100,)
    """Numbers of training examples (N)."""
    lrs: tuple[LearningRate, ...] = (1e-4,)
    """Learning rates."""
    run_indices: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    """Run indices."""
    num_generated_tokens: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Numbers of tokens to generate and train on, T (default: what each task declares)."""
    lora_types: tuple[str, ...] = ("qkv",)
    """LoRA target modules."""
    lora_rs: tuple[Annotated[int, Field(ge=1)], ...] = (8,)
    """LoRA ranks."""
    lora_alphas: tuple[Annotated[int, Field(ge=1)], ...] = (8,)
    """LoRA scaling parameters."""
    ia3_types: tuple[str, ...] = ("qkv",)
    """IA3 target modules."""
    num_virtual_tokens: tuple[Annotated[int, Field(ge=1)], ...] = (20,)
    """Virtual tokens of prompt and prefix tuning."""
    label_types: tuple[LabelType, ...] = ("icl_outputs",)
    """Labels of tok: the dataset's answers, or the teacher's responses."""
    ce_loss_weights: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.002,)
    """Weights of the cross-entropy in tna."""
    tokl_top_ks: tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...] = ("all",)
    """Numbers of the teacher's most probable tokens that tokl matches."""
    include_sequential: bool = False
    """Add the methods that go on from a listed one: a2t from act, t2a from tok."""
    sequential_first: bool = False
    """Begin a second phase as soon as its first is done, instead of after all first ones."""
    stack: int = Field(default=1, ge=1)
    """Runs of a worker at the same time, in the same forward passes: LoRA runs that differ in lr, lora_r, lora_alpha,
    ce_loss_weight or run only. The results are those of training each alone, up to rounding; pays where rows are few
    and short."""
    max_parallel: int = Field(default=1, ge=1)
    """Runs at the same time: one in this process, more in workers."""
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """GPUs that workers are dealt out to in turn, counted among those seen here; at least a worker for each (default:
    all workers use the one that a single run would)."""
    ray_address: str | None = None
    """auto, or the host of a Ray cluster, whose nodes share the root (extra: ray)."""
    run_timeout: float | None = Field(default=None, gt=0)
    """Seconds after which a run is given up, the loading of its model included."""
    max_failures: int | None = Field(default=None, ge=1)
    """Failures after which nothing new begins; runs skipped because of one do not count."""
    dry_run: bool = False
    """Print the plan and stop."""

    @model_validator(mode="after")
    def _places(self) -> "SweepConfig":
        if self.gpus and self.ray_address is not None:
            raise UserError("--gpus chooses GPUs of this machine; on a cluster Ray chooses: leave it out")
        if self.gpus and self.device not in ("auto", "cuda"):
            raise UserError(
                f"--gpus and --device {self.device}: each worker has the GPU that it is dealt; give one of them"
            )
        return self


class RunConfig(Config):
    """Run an experiment: a function that returns configs, each of them a command."""

    experiment: tyro.conf.Positional[str]
    """File and function, as in experiments/paper.py:table1."""
    only: tuple[str, ...] = ()
    """Only these datasets of it."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Runs at the same time, in all its sweeps (default: as each says)."""
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """GPUs for the workers of all its sweeps (default: as each says)."""
    ray_address: str | None = None
    """Ray cluster for all its sweeps (default: as each says)."""
    dry_run: bool = False
    """Print the commands and stop."""


class StatusConfig(Config):
    """Describe a root: data, targets, runs and records, those being made, and failures."""


class CleanConfig(Config):
    """Remove leftovers of killed commands."""

    targets: bool = False
    """Remove the teacher's targets and responses too; they are made again when something needs them."""
    dry_run: bool = False
    """Print what would be removed, and stop."""
