"""Every knob, once.

A field is named as its documented flag, its docstring is its help text, and the command line is generated from these
models. They are frozen and refuse unknown keys, so that what a run was made with can be written down and compared.
No torch here: `ia2 --help` must be instant.
"""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import tyro
from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from ia2.errors import UserError
from ia2.methods import LORA_LETTERS, Adapter, Method, Variant, parse_method

DEFAULT_MODEL_ID = "Qwen/Qwen3-4B-Base"

CONTINUE_SAME = "same"
"""What --continue_training stands for without a value."""

LabelType = Literal["ground_truth", "icl_outputs"]
StopRule = Literal["separator", "eos", "published"]
Control = Literal["none", "wrong_labels"]
Protocol = Literal["default", "published"]
HpSelection = Literal["dev_loss", "performance"]
DemoType = Literal["unique", "fixed", "shuffled"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class Config(BaseModel):
    """Base of all configs.

    `incidental` names the fields that do not change a result and so enter no name; `aliases` are flags that the
    command line takes as well: another spelling -> field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())
    incidental: ClassVar[frozenset[str]] = frozenset({"root"})
    aliases: ClassVar[dict[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _plainly(cls, data: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Tell what is wrong in one line instead of pydantic's several."""
        try:
            return validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            valid = ", ".join(cls.model_fields) if first["type"] == "extra_forbidden" else ""
            more = f" (fields: {valid})" if valid else ""
            raise UserError(f"{field}={first['input']!r}: {first['msg']}{more}") from None

    root: Path | None = None
    """Folder that holds data, outputs, plots and reports (default: $IA2_ROOT, else the current folder)."""

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result, as JSON values."""
        return self.model_dump(mode="json", exclude=set(self.incidental))

    def command(self, subcommand: str) -> str:
        """The command line that gives this config."""
        words = ["ia2", subcommand]
        for key, value in self.changed().items():
            values = value if isinstance(value, list) else [value]
            words += [f"--{key}", *(shlex.quote(str(one)) for one in values if one is not True)]
        return " ".join(words)

    def changed(self) -> dict[str, Any]:
        """The fields of `identity` that are not at their default."""
        fields = type(self).model_fields
        return {
            key: value
            for key, value in self.identity().items()
            if getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }


class ModelConfig(Config):
    """Which model answers, and on what."""

    incidental: ClassVar[frozenset[str]] = Config.incidental | {"device"}

    model_id: str = Field(default_factory=lambda: os.environ.get("IA2_MODEL_ID", DEFAULT_MODEL_ID))
    """Base model: hub id, local folder, .gguf file, or `smollm2-135m` (embedded)."""
    torch_dtype: Dtype = "auto"
    """Number format of the base model; auto is float32 on a CPU and the checkpoint's own on a GPU."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def base_model(self) -> "ModelConfig":
        """The part that says which model, for instance as a key to the one that is loaded."""
        return ModelConfig(model_id=self.model_id, torch_dtype=self.torch_dtype, device=self.device)


class PrepareConfig(Config):
    """Fetch a dataset and render it as prompts and answers: data/{dataset}/main.json."""

    aliases: ClassVar[dict[str, str]] = {"dataset": "datasets"}

    datasets: tuple[str, ...] = ("gsm8k",)
    """Datasets to prepare: names that `ia2 tasks` lists, or task files (.toml, .json)."""
    subset: str | None = None
    """Part of a dataset that has parts: `--dataset hmath --subset algebra` is hmath_algebra."""
    prompt_template: Literal["normal", "hard"] = "normal"
    """hard: the bare text, and the answer without reasoning; the same as a name that ends in _hard."""
    label_template: Literal["normal", "remap"] = "normal"
    """remap: unrelated words for labels; the same as a name that ends in _remap."""
    model_id: str | None = None
    """Count lengths in this model's tokens too (default: in characters only)."""
    num_train_samples: int = Field(default=2000, ge=0)
    """Rows of the training pool."""
    num_val_samples: int = Field(default=500, ge=0)
    """Rows of the evaluation set."""
    overwrite: bool = False
    """Replace a file that was made with other settings."""


class LowDataConfig(Config):
    """The low-data regime: N labelled examples, as demonstrations, teach M unlabelled queries in up to K orders."""

    ldr_mode: bool = False
    """Low-data regime: train on the teacher's answers to unlabelled queries."""
    num_labelled_samples: int = Field(default=8, ge=1)
    """Labelled examples of the low-data regime (N)."""
    num_unlabelled_samples: int = Field(default=1000, ge=1)
    """Unlabelled queries of the low-data regime, at most (M)."""
    max_permutations: int = Field(default=24, ge=1)
    """Orders of the demonstrations in the low-data regime, at most (K)."""

    @property
    def low_data_sizes(self) -> tuple[int, int, int]:
        """N, M and K."""
        return self.num_labelled_samples, self.num_unlabelled_samples, self.max_permutations


class DemonstrationsConfig(Config):
    """How the teacher's demonstrations vary from example to example."""

    fixed_demos: bool = False
    """One list of demonstrations for all examples."""
    shuffle_demos: bool = False
    """Each example several times, its demonstrations in different orders."""
    num_shuffles: int = Field(default=4, ge=1)
    """Orders of the demonstrations of each example, with shuffle_demos."""

    @property
    def demo_type(self) -> DemoType:
        if self.fixed_demos and self.shuffle_demos:
            raise UserError("fixed_demos and shuffle_demos exclude each other: one list, or one for each order")
        return "fixed" if self.fixed_demos else "shuffled" if self.shuffle_demos else "unique"


class CreateConfig(LowDataConfig, DemonstrationsConfig):
    """Draw training sets with their teacher demonstrations: data/{dataset}/train/{N}_{run}.json."""

    aliases: ClassVar[dict[str, str]] = {"dataset": "datasets"}

    datasets: tuple[str, ...] = ("gsm8k",)
    """Datasets to draw from."""
    num_train_examples: tuple[int, ...] = (100,)
    """Numbers of labelled training examples (N)."""
    num_runs: int = Field(default=5, ge=1)
    """Runs 0 to num_runs - 1, each with its own draw."""
    max_icl_demos: int = Field(default=256, ge=1)
    """At most so many demonstrations before a teacher's query."""
    num_dev_examples: int = Field(default=50, ge=0)
    """At most so many development examples (never more than N/2)."""
    stratified: bool = False
    """Draw the labels in proportion, as few examples of many labels need."""
    num_workers: int | None = Field(default=None, ge=1)
    """Processes that draw (default: one for few files, else as many as there are cores)."""
    overwrite: bool = False
    """Replace files that were made with other settings."""


class TrainingOptions(LowDataConfig, DemonstrationsConfig, ModelConfig):
    """How runs are trained: what a run has one of and a sweep does not vary."""

    incidental: ClassVar[frozenset[str]] = ModelConfig.incidental | {
        *("no_prepare", "retrain", "protocol", "track", "wandb_log"),
        *("log_gradient_norms", "log_weight_norms", "log_checkpoints", "checkpoint_frequency"),
    }

    batch_size: int = Field(default=4, ge=1)
    """Examples of one optimiser step."""
    num_train_epochs: int = Field(default=50, ge=1)
    """At most so many passes over the training examples."""
    patience: int = Field(default=5, ge=1)
    """Stop after so many dev evaluations without improvement."""
    dev_eval_steps: int = Field(default=2, ge=1)
    """Dev loss every so many steps, and at each epoch's end."""
    max_icl_demos: int | None = Field(default=None, ge=1)
    """At most so many demonstrations before a teacher's query (default: as in the split, 256 in a new one)."""
    num_dev_examples: int | None = Field(default=None, ge=0)
    """At most so many development examples (default: as in the split, 50 in a new one; never more than N/2)."""
    gradient_clip_val: float | None = Field(default=None, gt=0)
    """Clip the norm of the gradient to this (default: not at all)."""
    layers: str = "all"
    """Layers whose activations act matches: all, 4-11, 7, or every k-th as ::k."""
    act_norm: Literal["none", "layer"] = "none"
    """Divide each layer's error by the mean square of its target (layer), or not (none, as published)."""
    chat_template: bool = False
    """Render demonstrations and query as turns of the model's chat template."""
    stop: StopRule = "separator"
    """Where a response ends: at the blank line, at the end-of-sequence token, or as published."""
    keep: Literal["best", "last"] = "best"
    """Which weights are saved: those of the lowest dev loss, or of the last step."""
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
    lr: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """Learning rate (constant)."""
    run_idx: int = Field(default=0, ge=0)
    """Run index: seeds the split, the adapter and the order of the batches."""
    label_type: LabelType = "icl_outputs"
    """What tok is trained on: the dataset's answers, or the teacher's responses."""
    ce_loss_weight: float = Field(default=0.002, ge=0, le=1)
    """Weight w of the cross-entropy in tna: (1 - w) act + w tok."""
    tokl_top_k: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """How many of the teacher's most probable tokens tokl matches one by one; the rest counts as a remainder."""

    @property
    def method(self) -> Method:
        return parse_method(self.training_method)

    def applicable(self) -> dict[str, Any]:
        """The fields that decide this method's result, as JSON values."""
        foreign = METHOD_FIELDS - ADAPTER_FIELDS[self.method.adapter] - VARIANT_FIELDS[self.method.variant]
        foreign |= SPLIT_FIELDS if self.ldr_mode else LOW_DATA_FIELDS
        foreign |= frozenset() if self.shuffle_demos else {"num_shuffles"}
        return {key: value for key, value in self.identity().items() if key not in foreign}

    def foreign(self) -> dict[str, Any]:
        """The fields that were given and mean nothing to this method; they are announced and left out."""
        return {key: value for key, value in self.changed().items() if key not in self.applicable()}

    @property
    def num_labels(self) -> int:
        """The labelled examples that stand as demonstrations: N."""
        return self.num_labelled_samples if self.ldr_mode else self.num_train_examples

    @model_validator(mode="after")
    def _combination(self) -> "TrainConfig":
        method = parse_method(self.training_method)
        if method.variant in ("tokl", "tna") and self.label_type == "ground_truth":
            what = "distribution" if method.variant == "tokl" else "activations"
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


ADAPTER_FIELDS: dict[Adapter, frozenset[str]] = {
    "lora": frozenset({"lora_type", "lora_r", "lora_alpha"}),
    "ia3": frozenset({"ia3_type"}),
    "prompt": frozenset({"num_virtual_tokens"}),
    "prefix": frozenset({"num_virtual_tokens"}),
}
VARIANT_FIELDS: dict[Variant, frozenset[str]] = {
    "tok": frozenset({"label_type"}),
    "tokl": frozenset({"tokl_top_k"}),
    "act": frozenset({"layers", "act_norm"}),
    "tna": frozenset({"ce_loss_weight", "layers", "act_norm"}),
    "a2t": frozenset({"label_type", "layers", "act_norm"}),
    "t2a": frozenset({"label_type", "layers", "act_norm"}),
}
SPLIT_FIELDS = frozenset({"num_train_examples", "max_icl_demos", "fixed_demos", "shuffle_demos", "num_shuffles"})
LOW_DATA_FIELDS = frozenset({"ldr_mode", "num_labelled_samples", "num_unlabelled_samples", "max_permutations"})
METHOD_FIELDS = frozenset().union(*ADAPTER_FIELDS.values(), *VARIANT_FIELDS.values())


def check_letters(field: str, letters: str, valid: str) -> None:
    """Raise UserError where `letters` is empty, repeats a letter or holds one that is not in `valid`."""
    unknown = [letter for letter in letters if letter not in valid]
    if unknown or not letters or len(set(letters)) < len(letters):
        raise UserError(f"{field}={letters!r}: give each wanted letter of {' '.join(valid)} once, for instance qkv")


class SweepConfig(TrainingOptions):
    """Train a grid of runs: every combination that makes sense, once, resumable."""

    incidental: ClassVar[frozenset[str]] = TrainingOptions.incidental | {
        *("dry_run", "max_parallel", "gpus", "ray_address", "max_failures", "run_timeout", "sequential_first"),
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
    lrs: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = (1e-4,)
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
    """What tok is trained on: the dataset's answers, or the teacher's responses."""
    ce_loss_weights: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.002,)
    """Weights of the cross-entropy in tna."""
    tokl_top_ks: tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...] = ("all",)
    """How many of the teacher's most probable tokens tokl matches."""
    include_sequential: bool = False
    """Add a2t where act is listed, and t2a where tok is."""
    sequential_first: bool = False
    """Begin a second phase as soon as its first is done, instead of after all first ones."""
    max_parallel: int = Field(default=1, ge=1)
    """Runs at the same time: one in this process, more in workers."""
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """GPUs that workers are dealt out to in turn (default: all workers see what this process sees)."""
    ray_address: str | None = None
    """auto, or the host of a Ray cluster, whose nodes share the root (extra: ray)."""
    run_timeout: float | None = Field(default=None, gt=0)
    """Give up a run after so many seconds."""
    max_failures: int | None = Field(default=None, ge=1)
    """Begin nothing new after so many failures."""
    dry_run: bool = False
    """Print the plan and stop."""


class StatusConfig(Config):
    """Say what is below a root: data, targets, runs, records; what is being made, and what failed."""


class CleanConfig(Config):
    """Remove what killed commands left behind."""

    targets: bool = False
    """Remove the teacher's targets too; they are collected again when a run needs them."""
    dry_run: bool = False
    """Only say what would go."""


class RunConfig(Config):
    """Run an experiment: a function that returns configs, each of them a command."""

    experiment: tyro.conf.Positional[str]
    """File and function, as in experiments/paper.py:table1."""
    only: tuple[str, ...] = ()
    """Only these datasets of it."""
    dry_run: bool = False
    """Print the commands and stop."""


class EvaluateConfig(Config):
    """Evaluate the base model and trained runs: outputs/evaluations/.

    What selects runs is a list of accepted values of a field of theirs; none given means all. A run whose method has no
    such field passes.
    """

    incidental: ClassVar[frozenset[str]] = ModelConfig.incidental | {
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
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
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


class ResultsConfig(Config):
    """Gather all evaluation records in one table, a row for each record and metric, and show the summary."""

    aliases: ClassVar[dict[str, str]] = {
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
    }

    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found)."""
    out: Path | None = None
    """File to write, .csv or .parquet (default: reports/results.csv below the root)."""
    hp_selection: HpSelection = "dev_loss"
    """Summarised hyper-parameters: of lowest dev loss, or, as published, of highest accuracy on each evaluation set."""

    @model_validator(mode="after")
    def _known_ending(self) -> "ResultsConfig":
        if self.out is not None and self.out.suffix not in (".csv", ".parquet"):
            raise UserError(f"out={str(self.out)!r}: the name has to end in .csv or .parquet")
        return self


class ReparseConfig(Config):
    """Read stored responses again with the task's reader, or another, without running a model."""

    incidental: ClassVar[frozenset[str]] = Config.incidental | {"dry_run"}
    aliases: ClassVar[dict[str, str]] = {
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "dataset": "eval_datasets",
        "datasets": "eval_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
    }

    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found); a task file (.toml, .json) reads as it says."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    parser: str | None = None
    """Read with this parser: choice, line, number, boxed, after_marker, regex or exact (default: the task's)."""
    marker: str | None = None
    """What announces the answer (parser after_marker)."""
    pattern: str | None = None
    """Regular expression whose first group, or whole match, is the answer (parser regex)."""
    dry_run: bool = False
    """Show old and new numbers and write nothing."""


class TablesConfig(Config):
    """Write tables of methods against datasets, as LaTeX, Markdown and CSV: reports/tables/."""

    aliases: ClassVar[dict[str, str]] = {
        "metric": "metrics",
        "model_type": "model_types",
        "trained_dataset": "trained_datasets",
        "eval_dataset": "eval_datasets",
        "eval_dataset_name": "eval_datasets",
    }

    metrics: tuple[str, ...] = ("accuracy", "ece_equal_count")
    """What each cell shows, with its sd over runs: names as in a record, without the pass."""
    trained_datasets: tuple[str, ...] = ()
    """Datasets the runs were trained on (default: all found)."""
    eval_datasets: tuple[str, ...] = ()
    """Evaluation datasets (default: all found)."""
    model_types: tuple[str, ...] = ()
    """base and training methods (default: all found)."""
    model_id: str | None = None
    """Base model (default: all found, each in tables of its own)."""
    num_examples: tuple[int, ...] = ()
    """Numbers of training examples N (default: all found, each in a table of its own)."""
    label_types: tuple[LabelType, ...] = ()
    """Label types (default: all found, each in a table of its own)."""
    hp_selection: HpSelection = "dev_loss"
    """Hyper-parameters: of lowest dev loss, or, as published, of highest accuracy on each evaluation set."""
    compare: Literal["none", "published"] = "none"
    """published: the paper's numbers below ours, where model, datasets, N and method agree."""


class TasksConfig(Config):
    """List the tasks, or write a first task file for your own rows (--init)."""

    aliases: ClassVar[dict[str, str]] = {"dataset": "datasets", "text_column": "text_columns"}

    datasets: tuple[str, ...] = ()
    """Only these tasks (default: all; other forms of a dataset, _hard and _remap, only if named)."""
    init: Path | None = None
    """CSV, TSV, JSON lines, JSON or parquet to look at: writes a task file beside it."""
    text_columns: tuple[str, ...] = ()
    """With --init: the columns a query shows (default: guessed)."""
    label_column: str | None = None
    """With --init: the column of the answers (default: guessed)."""
    out: Path | None = None
    """With --init: the task file to write, .toml or .json (default: the file's name with .toml)."""

    @model_validator(mode="after")
    def _init_only(self) -> "TasksConfig":
        given = [field for field in ("text_columns", "label_column", "out") if getattr(self, field)]
        if given and self.init is None:
            raise UserError(f"--{given[0]} goes with --init")
        return self


class FitConfig(Config):
    """Teach a model your own labelled rows, compare IA2 with fine-tuning, and keep the adapter (./{file}-ia2)."""

    aliases: ClassVar[dict[str, str]] = {"text_column": "text_columns"}

    file: tyro.conf.Positional[Path]
    """CSV, TSV, JSON lines, JSON or parquet of labelled rows, or a task file (.toml)."""
    text_columns: tuple[str, ...] = ()
    """The columns a query shows (default: guessed)."""
    label_column: str | None = None
    """The column of the answers (default: guessed)."""
    model_id: str = "smollm2-135m"
    """Base model: hub id, local folder, .gguf file, or `smollm2-135m` (embedded)."""
    num_train_examples: int | None = Field(default=None, ge=2)
    """Labelled rows to train on, N; half as many more choose the learning rate (default: what there is, at most 32)."""
    lrs: tuple[float, ...] = (3e-4, 1e-3)
    """Learning rates, of which dev loss picks one."""
    num_runs: int = Field(default=1, ge=1)
    """Runs of each method, each with its own training rows."""
    num_train_epochs: int = Field(default=20, ge=1)
    """At most so many passes over the training rows."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    overwrite: bool = False
    """Start anew where the rows or the task have changed since the last time."""


class PredictConfig(Config):
    """Answer new texts with a trained adapter."""

    adapter: Path
    """Folder of a trained run."""
    text: str | None = None
    """One text to answer."""
    repl: bool = False
    """Answer what is typed, line by line."""
    file: Path | None = None
    """CSV, TSV, JSON lines, JSON or parquet whose columns are the task's fields."""
    out: Path | None = None
    """CSV to write: the columns of --file plus answer and confidence (default: print)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    model_id: str | None = None
    """Base model, where it has moved since training (default: the adapter's own)."""

    @model_validator(mode="after")
    def _one_input(self) -> "PredictConfig":
        if (self.text is not None) + (self.file is not None) + self.repl != 1:
            raise UserError("give exactly one of --text, --file and --repl")
        if self.out is not None and self.file is None:
            raise UserError("--out goes with --file")
        return self


class MergeConfig(Config):
    """Fold a LoRA or IA3 adapter into its base model and write an ordinary model folder."""

    adapter: Path
    """Folder of a trained run."""
    out: Path
    """Folder to write."""
    torch_dtype: Dtype = "auto"
    """Number format to write; auto is the one the adapter was trained under. The sum is made in float32."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    model_id: str | None = None
    """Base model, where it has moved since training (default: the adapter's own)."""


class DemoConfig(Config):
    """Teach the embedded model from its own in-context behaviour and show what came out (folder: ./ia2-demo)."""

    model_id: str = "smollm2-135m"
    """Base model: hub id, local folder, .gguf file, or `smollm2-135m` (embedded)."""

    full: bool = False
    """Add past_tense, with the irregular verbs as the out-of-distribution set."""
    num_runs: int = Field(default=3, ge=1)
    """Runs of each method, each with its own training examples."""
    num_train_examples: int = Field(default=8, ge=2)
    """Number of labelled training examples (N)."""
    num_train_epochs: int = Field(default=50, ge=1)
    """At most so many passes over the training examples."""
    lrs: tuple[float, ...] = (3e-4, 1e-3)
    """Learning rates, of which dev loss picks one."""
    protocol: Protocol = "default"
    """published: the last step's weights, the published stop rule and demonstrations, and the learning rate picked on
    the evaluation set itself (folder: ./ia2-demo-published)."""
    num_eval_examples: int | None = Field(default=None, ge=1)
    """Only the first so many evaluation examples (default: all, about 100)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
