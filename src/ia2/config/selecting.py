"""What configs share that are about trained runs: which runs are meant, and what they are asked."""

import os
from typing import Any, ClassVar, Literal

from pydantic import Field

from ia2.config.base import Config, DeviceConfig, Dtype, ModelId
from ia2.methods import LabelType


class SelectionConfig(Config):
    """Which trained runs are meant: each field lists the accepted values of a field of theirs; none given means all.

    A run whose method has no such field passes.
    """

    aliases: ClassVar[dict[str, str]] = {
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "num_train_examples": "num_examples",
        "lr": "lrs",
        "run_idx": "run_indices",
        "label_type": "label_types",
        "lora_type": "lora_types",
        "lora_r": "lora_rs",
        "lora_alpha": "lora_alphas",
        "ia3_type": "ia3_types",
        "ce_loss_weight": "ce_loss_weights",
        "tokl_top_k": "tokl_top_ks",
    }

    plain_defaults: ClassVar[dict[str, Any]] = {"model_id": None}

    model_id: ModelId | None = Field(default_factory=lambda: os.environ.get("IA2_MODEL_ID"), validate_default=True)
    """Base model (default: $IA2_MODEL_ID, else all found, each run on its own)."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: base and every method found)."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    num_examples: tuple[int, ...] = ()
    """Numbers of training examples N (default: all found)."""
    lrs: tuple[float, ...] = ()
    """Learning rates (default: all found)."""
    run_indices: tuple[int, ...] = ()
    """Run indices (default: all found)."""
    label_types: tuple[LabelType, ...] = ()
    """Label types (default: all found)."""
    lora_types: tuple[str, ...] = ()
    """LoRA target modules (default: all found)."""
    lora_rs: tuple[int, ...] = ()
    """LoRA ranks (default: all found)."""
    lora_alphas: tuple[int, ...] = ()
    """LoRA scaling parameters (default: all found)."""
    ia3_types: tuple[str, ...] = ()
    """IA3 target modules (default: all found)."""
    num_virtual_tokens: tuple[int, ...] = ()
    """Virtual tokens of prompt and prefix tuning (default: all found)."""
    ce_loss_weights: tuple[float, ...] = ()
    """Weights of the cross-entropy in tna (default: all found)."""
    tokl_top_ks: tuple[int | Literal["all"], ...] = ()
    """How many of the teacher's most probable tokens tokl matched (default: all found)."""
    num_generated_tokens: tuple[int, ...] = ()
    """Tokens that were trained on, T (default: all found)."""
    ldr_mode: bool = False
    """Only runs of the low-data regime (default: all found)."""


class AskingConfig(SelectionConfig, DeviceConfig):
    """What the runs are asked, after which demonstrations, and on which device."""

    not_in_run_id: ClassVar[frozenset[str]] = DeviceConfig.not_in_run_id | {"no_prepare", "token_budget"}
    aliases: ClassVar[dict[str, str]] = SelectionConfig.aliases | {
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
        "icl_source_dataset": "icl_source_datasets",
    }

    torch_dtype: Dtype = "auto"
    """Number format of the base model; auto is float32 on a CPU and the checkpoint's own on a GPU."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: the trained ones)."""
    icl_source_datasets: tuple[str, ...] = ()
    """Where demonstrations come from (default: the trained dataset)."""
    icl_max_demos: int = Field(default=256, ge=1)
    """At most so many demonstrations before an evaluation query."""
    icl_pool: Literal["train", "remaining"] = "train"
    """Demonstrations at evaluation: the run's own training examples, or fresh draws from the rest of the pool."""
    num_eval_examples: int | None = Field(default=None, ge=1)
    """Only the first so many evaluation examples (default: all)."""
    token_budget: int | None = Field(default=None, ge=1)
    """Padded tokens of one batch; changes speed and memory only (default: by the memory of the device)."""
    no_prepare: bool = False
    """Fail where data files are missing instead of making them."""
