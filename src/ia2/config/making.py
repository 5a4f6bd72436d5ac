"""Configs of what is made: datasets, training sets, runs and grids of runs."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from ia2.config.schema import Config, DemoType, LearningRate, ModelConfig, Protocol, StopRule, path_part
from ia2.errors import UserError
from ia2.methods import LABEL_WORDS, LORA_LETTERS, METHODS, VARIANTS, LabelType, Method, parse_method


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


class SplitConfig(Config):
    """Training sets of two regimes: N labelled examples, or N of them that teach M unlabelled queries in K orders."""

    fixed_demos: bool = False
    """One list of demonstrations for all examples."""
    shuffle_demos: bool = False
    """Each example several times, its demonstrations in different orders."""
    num_shuffles: int = Field(default=4, ge=1)
    """Orders of the demonstrations of each example, with shuffle_demos."""
    ldr_mode: bool = False
    """Low-data regime: train on the teacher's answers to unlabelled queries."""
    num_labelled_samples: int = Field(default=8, ge=1)
    """Labelled examples of the low-data regime (N)."""
    num_unlabelled_samples: int = Field(default=1000, ge=1)
    """Unlabelled queries of the low-data regime, at most (M)."""
    max_permutations: int = Field(default=24, ge=1)
    """Orders of the demonstrations in the low-data regime, at most (K)."""

    @property
    def demo_type(self) -> DemoType:
        if self.fixed_demos and self.shuffle_demos:
            raise UserError("fixed_demos and shuffle_demos exclude each other: one list, or one for each order")
        return "fixed" if self.fixed_demos else "shuffled" if self.shuffle_demos else "unique"

    @property
    def low_data_sizes(self) -> tuple[int, int, int]:
        """N, M and K."""
        return self.num_labelled_samples, self.num_unlabelled_samples, self.max_permutations


class CreateConfig(SplitConfig):
    """Draw training sets with their teacher demonstrations: data/{dataset}/train/{N}_{run}.json."""

    aliases: ClassVar[dict[str, str]] = {"dataset": "datasets"}

    datasets: tuple[str, ...] = ("gsm8k",)
    """Datasets to draw from."""
    num_train_examples: tuple[int, ...] = (100,)
    """Numbers of labelled training examples (N)."""
    num_runs: int = Field(default=5, ge=1)
    """Runs 0 to num_runs - 1, each with its own draw."""
    max_icl_demos: int = Field(default=256, ge=1)
    """Most demonstrations before a teacher's query."""
    num_dev_examples: int = Field(default=50, ge=0)
    """Most development examples (never more than N/2)."""
    stratified: bool = False
    """Draw the labels in proportion, as few examples of many labels need."""
    num_workers: int | None = Field(default=None, ge=1)
    """Processes that draw (default: one for few files, else as many as there are cores)."""
    overwrite: bool = False
    """Replace files that were made with other settings."""


class TrainingOptions(SplitConfig, ModelConfig):
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

    @property
    def method_in_words(self) -> str:
        """The words of the method's variant, and the labels where it can have either."""
        labels = f" (labels: {LABEL_WORDS[self.label_type]})" if "label_type" in self.method.fields else ""
        return VARIANTS[self.method.variant].words + labels

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
        field, letters = ("ia3_type", self.ia3_type) if method.adapter == "ia3" else ("lora_type", self.lora_type)
        valid = letters and set(letters) <= set(LORA_LETTERS) and len(set(letters)) == len(letters)
        if method.adapter in ("lora", "ia3") and not valid:
            raise UserError(f"{field}={letters!r}: give each wanted letter of {' '.join(LORA_LETTERS)} once, as in qkv")
        return self


SPLIT_FIELDS = frozenset({"num_train_examples", "max_icl_demos", "fixed_demos", "shuffle_demos", "num_shuffles"})
LOW_DATA_FIELDS = frozenset({"ldr_mode", "num_labelled_samples", "num_unlabelled_samples", "max_permutations"})
METHOD_FIELDS = frozenset[str]().union(*(method.fields for method in METHODS.values()))
"""Fields that mean something to one regime only, and to some methods only."""


def as_stored(run: TrainConfig) -> TrainConfig:
    """The run, read from a store, where its dataset is a folder; UserError where no folder can be called so."""
    path_part(run.dataset)
    return run


StoredRun = Annotated[TrainConfig, AfterValidator(as_stored)]


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
