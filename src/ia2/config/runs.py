"""Configs of commands on trained runs: the filter of runs, evaluation, and the analyses."""

import os
from typing import Any, ClassVar, Literal

from pydantic import Field

from ia2.config.base import Config, Control, DeviceConfig, Dtype, ModelId, Protocol, StopRule
from ia2.methods import LabelType


class SelectionConfig(Config):
    """A filter of trained runs: each field lists the accepted values of a field of theirs; none given means all.

    A run passes a field that its method does not have.
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
    """Numbers of the teacher's most probable tokens that tokl matched (default: all found)."""
    num_generated_tokens: tuple[int, ...] = ()
    """Tokens that were trained on, T (default: all found)."""
    ldr_mode: bool = False
    """Only runs of the low-data regime (default: all found)."""


class AskingConfig(SelectionConfig, DeviceConfig):
    """Queries and demonstrations of an evaluation of runs, and its device."""

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
    """Datasets that demonstrations come from (default: the trained dataset)."""
    icl_max_demos: int = Field(default=256, ge=1)
    """Most demonstrations before an evaluation query."""
    icl_pool: Literal["train", "remaining"] = "train"
    """Demonstrations at evaluation: the run's own training examples, or fresh draws from the rest of the pool."""
    num_eval_examples: int | None = Field(default=None, ge=1)
    """Number of evaluation examples, the first ones (default: all)."""
    token_budget: int | None = Field(default=None, ge=1)
    """Padded tokens of one batch; changes speed and memory only (default: by the memory of the device)."""
    no_prepare: bool = False
    """Fail where data files are missing instead of making them."""


class EvaluateConfig(AskingConfig):
    """Evaluate the base model and trained runs: outputs/evaluations/.

    A filter of runs lists accepted values of a field of theirs; none given means all. A run passes a field that its
    method does not have.
    """

    not_in_run_id: ClassVar[frozenset[str]] = AskingConfig.not_in_run_id | {"dry_run"}

    num_generated_tokens_eval: int | None = Field(default=None, ge=1)
    """Tokens to generate (default: what the task declares, else 1)."""
    eval_with_icl: bool = False
    """Evaluate trained runs with demonstrations too."""
    uncertainty_analysis: bool = False
    """Add top-k accuracy, entropy, uncertainty and label-set measures."""
    stop: StopRule = "separator"
    """Rule that ends a response."""
    control: Control = "none"
    """wrong_labels: demonstrations with wrong answers, to measure their part."""
    chat_template: bool = False
    """Render prompts as turns of the model's chat template (for the base model; a trained run has its own setting)."""
    protocol: Protocol = "default"
    """published: icl_pool=remaining."""
    dry_run: bool = False
    """Print the matching runs, those done and those to do, and stop."""
    advise: bool = False
    """Recommend a method, from the records or by measuring."""


class SimilarityConfig(AskingConfig):
    """Compare activations with the teacher's, and between methods, on the teacher's responses: outputs/similarity/.

    A filter of runs lists accepted values of a field of theirs; none given means all. The controls are always added:
    the base model without demonstrations, and a teacher that is shown other demonstrations.
    """

    num_generated_tokens_eval: int | None = Field(default=None, ge=1)
    """Tokens of the teacher's response at most (default: what the run was trained on)."""


class SubspaceConfig(SelectionConfig):
    """Compare the LoRA updates of runs, from their files alone: outputs/subspace/.

    A filter of runs lists accepted values of a field of theirs; none given means all. Two runs are compared that differ
    in their method alone, or, as control, in their run index alone.
    """
