"""Config of evaluation."""

import os
from typing import ClassVar, Literal

from pydantic import Field

from ia2.config.base import Control, DeviceConfig, Dtype, LabelType, Protocol, StopRule


class EvaluateConfig(DeviceConfig):
    """Evaluate the base model and trained runs: outputs/evaluations/.

    What selects runs is a list of accepted values of a field of theirs; none given means all. A run whose method has no
    such field passes.
    """

    incidental: ClassVar[frozenset[str]] = DeviceConfig.incidental | {
        *("no_prepare", "token_budget", "protocol", "dry_run"),
    }
    aliases: ClassVar[dict[str, str]] = {
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
        "icl_source_dataset": "icl_source_datasets",
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

    model_id: str | None = Field(default_factory=lambda: os.environ.get("IA2_MODEL_ID"))
    """Base model (default: $IA2_MODEL_ID, else all found, each run on its own)."""
    torch_dtype: Dtype = "auto"
    """Number format of the base model; auto is float32 on a CPU and the checkpoint's own on a GPU."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: base and every method found)."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: the trained ones)."""
    icl_source_datasets: tuple[str, ...] = ()
    """Where demonstrations come from (default: the trained dataset)."""
    icl_max_demos: int = Field(default=256, ge=1)
    """At most so many demonstrations before an evaluation query."""
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
    num_generated_tokens_eval: int | None = Field(default=None, ge=1)
    """Tokens to generate (default: what the task declares, else 1)."""
    eval_with_icl: bool = False
    """Evaluate trained runs with demonstrations too."""
    uncertainty_analysis: bool = False
    """Add top-k accuracy, entropy, uncertainty and label-set measures."""
    icl_pool: Literal["train", "remaining"] = "train"
    """Demonstrations at evaluation: the run's own training examples, or fresh draws from the rest of the pool."""
    stop: StopRule = "separator"
    """Where a response ends."""
    control: Control = "none"
    """wrong_labels: demonstrations with wrong answers, to see what a model takes from them."""
    chat_template: bool = False
    """Render prompts as turns of the model's chat template (for the base model; a trained run has its own setting)."""
    protocol: Protocol = "default"
    """published: icl_pool=remaining."""
    num_eval_examples: int | None = Field(default=None, ge=1)
    """Only the first so many evaluation examples (default: all)."""
    token_budget: int = Field(default=2048, ge=1)
    """Padded tokens of one batch; changes speed and memory only."""
    no_prepare: bool = False
    """Fail where data files are missing instead of making them."""
    dry_run: bool = False
    """Print what matches, what is done and what would run, and stop."""
    advise: bool = False
    """Say which method is reasonable, from the records or by measuring."""
