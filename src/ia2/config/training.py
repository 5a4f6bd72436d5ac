"""Configs of training: options of all runs, one run, and the fields that mean something to its method."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from ia2.config.base import LearningRate, ModelConfig, Protocol, StopRule, path_part
from ia2.config.data import DemonstrationsConfig, LowDataConfig
from ia2.errors import UserError
from ia2.methods import LORA_LETTERS, METHODS, VARIANTS, LabelType, Method, parse_method


class TrainingOptions(LowDataConfig, DemonstrationsConfig, ModelConfig):
    """Options of training that a sweep does not vary."""

    not_in_run_id: ClassVar[frozenset[str]] = ModelConfig.not_in_run_id | {
        *("no_prepare", "retrain", "protocol", "track", "wandb_log", "micro_batch_size"),
        *("log_gradient_norms", "log_weight_norms", "log_checkpoints", "checkpoint_frequency"),
    }

    batch_size: int = Field(default=4, ge=1)
    """Examples of one optimiser step."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Examples of one forward and backward pass, where memory does not hold those of a step (default: all of them)."""
    num_train_epochs: int = Field(default=50, ge=1)
    """Most passes over the training examples."""
    patience: int = Field(default=5, ge=1)
    """Dev evaluations without improvement after which training stops."""
    dev_eval_steps: int = Field(default=2, ge=1)
    """Steps between dev losses, of which one is at each epoch's end too."""
    max_icl_demos: int | None = Field(default=None, ge=1)
    """Most demonstrations before a teacher's query (default: as in the split, 256 in a new one)."""
    num_dev_examples: int | None = Field(default=None, ge=0)
    """Most development examples (default: as in the split, 50 in a new one; never more than N/2)."""
    gradient_clip_val: float | None = Field(default=None, gt=0)
    """Clip the norm of the gradient to this (default: not at all)."""
    layers: str = "all"
    """Layers whose activations act matches: all, 4-11, 7, or every k-th as ::k."""
    act_norm: Literal["none", "layer"] = "none"
    """Divide each layer's error by the mean square of its target (layer), or not (none, as published)."""
    chat_template: bool = False
    """Render demonstrations and query as turns of the model's chat template."""
    stop: StopRule = "separator"
    """End of a response: at the blank line, at the end-of-sequence token, or as published."""
    keep: Literal["best", "last"] = "best"
    """Weights that are saved: those of the lowest dev loss, or of the last step."""
    protocol: Protocol = "default"
    """published: keep=last and stop=published, where these are at their defaults."""
    continue_training: str | None = None
    """Start from the adapter in this folder, or, without a value, from the run that this configuration names."""
    log_gradient_norms: bool = False
    """Write the gradient's norm, before clipping, into the history."""
    log_weight_norms: bool = False
    """Write the norm of the adapter's weights into the history."""
    log_checkpoints: bool = False
    """Save the adapter every checkpoint_frequency steps, below checkpoints/ in the run's folder."""
    checkpoint_frequency: int = Field(default=10, ge=1)
    """Steps between two checkpoints."""
    track: Literal["none", "tensorboard", "wandb"] = "none"
    """Send the history to a tracker as well."""
    wandb_log: bool = False
    """The same as --track wandb."""
    no_prepare: bool = False
    """Fail where data files are missing instead of making them."""
    retrain: bool = False
    """Train again where the run exists."""

    @property
    def tracker(self) -> Literal["none", "tensorboard", "wandb"]:
        return "wandb" if self.wandb_log else self.track

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, data: Any) -> Any:  # noqa: ANN401 - whatever a config is made from
        """Before validation, since pydantic ignores another instance that a validator of __init__ returns."""
        if not isinstance(data, dict) or data.get("protocol") != "published":
            return data
        published = {"keep": "last", "stop": "published"}
        unset = {
            key for key in published if data.get(key, cls.model_fields[key].default) == cls.model_fields[key].default
        }
        return {**data, **{key: published[key] for key in unset}}


class TrainConfig(TrainingOptions):
    """Train one run: outputs/{method}/{dataset}/{name}."""

    training_method: str
    """Training method: tok, act, a2t, t2a, ... (LoRA), or ia3-, prompt-, prefix- and one of them."""
    dataset: str = "gsm8k"
    """Training dataset."""
    lora_type: str = "qkv"
    """LoRA target modules: letters of q k v o (attention) and g u d (MLP)."""
    lora_r: int = Field(default=8, ge=1)
    """LoRA rank."""
    lora_alpha: int = Field(default=8, ge=1)
    """LoRA scaling parameter."""
    ia3_type: str = "qkv"
    """IA3 target modules, in the same letters."""
    num_virtual_tokens: int = Field(default=20, ge=1)
    """Virtual tokens of prompt and prefix tuning."""
    num_generated_tokens: int | None = Field(default=None, ge=1)
    """Number of tokens to generate and train on, T (default: what the task declares, else 1)."""
    num_train_examples: int = Field(default=100, ge=1)
    """Number of training examples (N)."""
    lr: LearningRate = 1e-4
    """Learning rate (constant)."""
    run_idx: int = Field(default=0, ge=0)
    """Run index: seeds the split, the adapter and the order of the batches."""
    label_type: LabelType = "icl_outputs"
    """Labels of tok: the dataset's answers, or the teacher's responses."""
    ce_loss_weight: float = Field(default=0.002, ge=0, le=1)
    """Weight w of the cross-entropy in tna: (1 - w) act + w tok."""
    tokl_top_k: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Number of the teacher's most probable tokens that tokl matches one by one; the others are one remainder."""

    @property
    def method(self) -> Method:
        return parse_method(self.training_method)

    def relevant_fields(self) -> dict[str, Any]:
        """The fields that decide this method's result, as JSON values."""
        foreign = METHOD_FIELDS - self.method.fields
        foreign |= SPLIT_FIELDS if self.ldr_mode else LOW_DATA_FIELDS
        foreign |= frozenset() if self.shuffle_demos else {"num_shuffles"}
        return {key: value for key, value in self.identity().items() if key not in foreign}

    def ignored_fields(self) -> dict[str, Any]:
        """The fields that were given and mean nothing to this method; they are announced and left out."""
        return {key: value for key, value in self.changed().items() if key not in self.relevant_fields()}

    @property
    def num_labels(self) -> int:
        """Number of labelled examples, which are the demonstrations: N."""
        return self.num_labelled_samples if self.ldr_mode else self.num_train_examples

    def labels_used(self, num_dev: int) -> dict[str, int]:
        """Gold labels that go in: the N of the demonstrations, and the dev labels where a phase is judged by them."""
        labelled = any(phase.uses_ground_truth(self.label_type) for phase in self.method.phases)
        return {"train": self.num_labels, "dev": num_dev if labelled else 0}

    @model_validator(mode="after")
    def _combination(self) -> "TrainConfig":
        method = parse_method(self.training_method)
        row = VARIANTS[method.variant]
        if row.refuses_ground_truth and self.label_type == "ground_truth":
            what = "activations" if "act" in row.losses else "distribution"
            raise UserError(
                f"label_type=ground_truth: {self.training_method} matches the teacher's {what}, known at the "
                "teacher's own tokens only; use icl_outputs, or tok or a2t for ground truth"
            )
        if self.num_train_examples < 2 and not self.ldr_mode:
            raise UserError(
                f"num_train_examples={self.num_train_examples}: a teacher's demonstrations are the other training "
                "examples, so at least 2 are needed"
            )
        if not self.ldr_mode:
            _ = self.demo_type
        if method.adapter == "lora":
            check_letters("lora_type", self.lora_type, LORA_LETTERS)
        if method.adapter == "ia3":
            check_letters("ia3_type", self.ia3_type, LORA_LETTERS)
        return self


def as_stored(run: TrainConfig) -> TrainConfig:
    """The run, read from a store, where its dataset is a folder; UserError where no folder can be called so."""
    path_part(run.dataset)
    return run


StoredRun = Annotated[TrainConfig, AfterValidator(as_stored)]


SPLIT_FIELDS = frozenset({"num_train_examples", "max_icl_demos", "fixed_demos", "shuffle_demos", "num_shuffles"})


LOW_DATA_FIELDS = frozenset({"ldr_mode", "num_labelled_samples", "num_unlabelled_samples", "max_permutations"})


METHOD_FIELDS = frozenset[str]().union(*(method.fields for method in METHODS.values()))


def check_letters(field: str, letters: str, valid: str) -> None:
    """Raise UserError where `letters` is empty, repeats a letter or holds one that is not in `valid`."""
    unknown = [letter for letter in letters if letter not in valid]
    if unknown or not letters or len(set(letters)) < len(letters):
        raise UserError(f"{field}={letters!r}: give each wanted letter of {' '.join(valid)} once, for instance qkv")
