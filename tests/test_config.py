"""The readme's flags with their types and defaults, and one line for what a config refuses."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ia2.config import (
    Config,
    CreateConfig,
    DemoConfig,
    EvaluateConfig,
    FitConfig,
    MergeConfig,
    ModelConfig,
    PredictConfig,
    PrepareConfig,
    SplitConfig,
    SubspaceConfig,
    TrainConfig,
)
from ia2.errors import UserError

CONFIGS = [
    *(CreateConfig, DemoConfig, EvaluateConfig, SplitConfig, MergeConfig),
    *(ModelConfig, PredictConfig, PrepareConfig, TrainConfig),
]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_MODEL_ID", raising=False)


# Of original-readme.txt, Method-Specific Arguments, and decisions.md 10; tests/published/test_flags.py has the others
DEFAULTS = {
    **{"label_type": "icl_outputs", "tokl_top_k": "all", "ce_loss_weight": 0.002, "ia3_type": "qkv"},
    **{"num_virtual_tokens": 20, "batch_size": 4, "num_train_epochs": 50, "patience": 5, "dev_eval_steps": 2},
}


def test_defaults_of_training() -> None:
    config = TrainConfig(training_method="tok")
    assert {field: getattr(config, field) for field in DEFAULTS} == DEFAULTS


def test_the_method_is_required() -> None:
    with pytest.raises(UserError, match=r"^training_method is missing$"):
        TrainConfig.model_validate({})


def test_defaults_of_data() -> None:
    # decisions.md 17, method.md section 4
    create, prepare = CreateConfig(), PrepareConfig()
    assert (create.num_runs, create.max_icl_demos, create.num_dev_examples) == (5, 256, 50)
    assert (prepare.num_train_samples, prepare.num_val_samples) == (2000, 500)


def test_the_environment_chooses_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IA2_MODEL_ID", "smollm2-135m")
    assert TrainConfig(training_method="tok").model_id == "smollm2-135m"
    assert TrainConfig(training_method="tok", model_id="other").model_id == "other"


@pytest.mark.parametrize("config", [partial(TrainConfig, training_method="tok"), EvaluateConfig, SubspaceConfig])
def test_a_command_says_which_model_the_environment_chose(
    config: Callable[[], Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is typed again elsewhere, where the environment is another."""
    assert "--model_id" not in config().command("it")
    monkeypatch.setenv("IA2_MODEL_ID", "smollm2-135m")
    assert "--model_id smollm2-135m" in config().command("it")


@pytest.mark.parametrize("lr", [0.0, -1e-3, float("nan"), float("inf")])
def test_a_learning_rate_is_refused_before_anything_is_made(lr: float) -> None:
    for config in (partial(FitConfig, file=Path("rows.csv")), DemoConfig):
        with pytest.raises(UserError, match=r"lrs\.1="):
            config(lrs=(1e-3, lr))


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_has_a_help_text(config: type[Config]) -> None:
    assert all(field.description for field in config.model_fields.values())


@pytest.mark.parametrize("config", CONFIGS)
def test_unknown_fields_are_refused_with_the_known_ones(config: type[Config]) -> None:
    required = {"training_method": "tok"} if config is TrainConfig else {}
    required |= {"adapter": "x", "text": "y"} if config is PredictConfig else {}
    required |= {"adapter": "x", "out": "y"} if config is MergeConfig else {}
    with pytest.raises(UserError, match=r"colour='red'.*root"):
        config.model_validate({**required, "colour": "red"})


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainConfig(training_method="tok").lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"training_method": "sft"}, "unknown method 'sft'; valid: tok, tokl, act, tna, a2t, t2a, ia3-tok"),
        ({"training_method": "lora-tok"}, "unknown method 'lora-tok'"),
        ({"training_method": ""}, "unknown method ''"),
        ({"lora_type": "qx"}, r"lora_type='qx': give each wanted letter of q k v o g u d once"),
        ({"lora_type": ""}, "lora_type=''"),
        ({"lora_type": "qq"}, "lora_type='qq'"),
        ({"training_method": "ia3-act", "ia3_type": "z"}, "ia3_type='z'"),
        ({"num_train_examples": 1}, "num_train_examples=1: .*at least 2"),
        ({"num_train_examples": 0}, "num_train_examples=0"),
        ({"lr": 0}, "lr=0"),
        ({"lr": -1e-3}, "lr=-0.001"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"lr": float("inf")}, "lr=inf"),
        ({"lora_r": 0}, "lora_r=0"),
        ({"run_idx": -1}, "run_idx=-1"),
        ({"num_generated_tokens": 0}, "num_generated_tokens=0"),
        ({"ce_loss_weight": 1.5}, "ce_loss_weight=1.5"),
        ({"label_type": "gold"}, "label_type='gold'.*ground_truth.*icl_outputs"),
        ({"tokl_top_k": 0}, "tokl_top_k.*=0"),
        ({"tokl_top_k": -5}, "tokl_top_k.*=-5"),
        ({"stop": "never"}, "stop='never'.*separator"),
        ({"keep": "first"}, "keep='first'.*best.*last"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"patience": 0}, "patience=0"),
        (
            {"training_method": "tna", "label_type": "ground_truth"},
            "ground_truth: tna matches the teacher's activations",
        ),
        ({"training_method": "ia3-tokl", "label_type": "ground_truth"}, "ia3-tokl matches the teacher's distribution"),
        ({"gradient_clip_val": 0}, "gradient_clip_val=0"),
        ({"act_norm": "all"}, "act_norm='all'.*none.*layer"),
        ({"ldr_mode": True, "num_labelled_samples": 0}, "num_labelled_samples=0"),
        ({"checkpoint_frequency": 0}, "checkpoint_frequency=0"),
        ({"device_map": "everywhere"}, "device_map='everywhere'.*auto.*balanced.*sequential"),
        ({"device_map": "auto", "device": "cuda:1"}, "--device_map spreads .* --device cuda:1 names one"),
        ({"max_memory": ("cpu=1GB",)}, "--max_memory goes with --device_map"),
        ({"device_map": "auto", "max_memory": ("0=20GiB", "20GB")}, "max_memory='20GB': .* as in 0=20GiB or cpu=60GiB"),
        ({"device_map": "auto", "max_memory": ("cuda:0=20GiB",)}, "max_memory='cuda:0=20GiB'"),
        ({"device_map": "auto", "max_memory": ("0=lots",)}, "max_memory='0=lots'"),
        ({"track": "mlflow"}, "track='mlflow'.*tensorboard.*wandb"),
    ],
)
def test_what_training_refuses(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        TrainConfig.model_validate({"training_method": "tok", **fields})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"text": "a", "file": "b.csv"}, {"text": "a", "repl": True}])
def test_prediction_takes_one_input(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="exactly one of --text, --file and --repl"):
        PredictConfig.model_validate({"adapter": "x", **given})


def test_a_text_is_not_written_to_a_file() -> None:
    with pytest.raises(UserError, match="--out goes with --file"):
        PredictConfig(adapter=Path("x"), text="a", out=Path("b.csv"))


def test_changed_is_what_differs_from_the_defaults() -> None:
    config = TrainConfig(training_method="act", lr=1e-3, batch_size=4, device="cpu", root=Path("/x"))
    assert config.changed() == {"training_method": "act", "lr": 1e-3}


def test_identity_leaves_out_what_changes_no_result() -> None:
    left_out = set(TrainConfig.model_fields) - set(TrainConfig(training_method="act").identity())
    logging = {
        "log_gradient_norms",
        "log_weight_norms",
        "log_checkpoints",
        "checkpoint_frequency",
        "track",
        "wandb_log",
    }
    assert (
        left_out
        == {"root", "device", "device_map", "max_memory", "verify", "no_prepare", "retrain", "protocol"}
        | {"micro_batch_size"}
        | logging
    )


def test_the_published_protocol_decides_keep_and_stop_but_no_name() -> None:
    """It says nothing by itself: what it decides is in the identity."""
    for config in (
        TrainConfig(training_method="act", protocol="published"),
        TrainConfig.model_validate({"training_method": "act", "protocol": "published"}),
    ):
        assert (
            config.relevant_fields()
            == TrainConfig(training_method="act", keep="last", stop="published").relevant_fields()
        )
    assert TrainConfig(training_method="act", protocol="published", stop="eos").stop == "eos"


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("tok", {"lora_type", "lora_r", "lora_alpha", "label_type"}),
        ("act", {"lora_type", "lora_r", "lora_alpha", "layers", "act_norm"}),
        ("tna", {"lora_type", "lora_r", "lora_alpha", "ce_loss_weight", "layers", "act_norm"}),
        ("ia3-tokl", {"ia3_type", "tokl_top_k"}),
        ("prompt-a2t", {"num_virtual_tokens", "label_type", "layers", "act_norm"}),
        ("prefix-act", {"num_virtual_tokens", "layers", "act_norm"}),
    ],
)
def test_fields_that_mean_nothing_to_a_method_are_foreign(method: str, own: set[str]) -> None:
    special = {
        "lora_type": "q", "lora_r": 1, "lora_alpha": 1, "ia3_type": "q", "num_virtual_tokens": 1,
        "tokl_top_k": 3, "ce_loss_weight": 0.5, "layers": "0", "act_norm": "layer",
    }  # fmt: skip
    if method not in ("tna", "ia3-tokl"):  # these refuse the only other value
        special["label_type"] = "ground_truth"
    config = TrainConfig.model_validate({"training_method": method, **special})
    assert set(config.relevant_fields()) & {*special, "label_type"} == own
    assert set(config.ignored_fields()) == set(special) - own


def test_the_low_data_regime_has_its_own_sizes() -> None:
    special = {"num_labelled_samples": 4, "num_unlabelled_samples": 9, "max_permutations": 2}
    others = {"num_train_examples": 12, "max_icl_demos": 3}
    given = {"training_method": "tok", **special, **others}
    low_data, plain = (TrainConfig.model_validate({**given, "ldr_mode": mode}) for mode in (True, False))
    assert set(low_data.ignored_fields()) == set(others)
    assert set(plain.ignored_fields()) == set(special)
    assert (low_data.num_labels, plain.num_labels) == (4, 12)


def test_the_command_of_a_published_evaluation_says_so() -> None:
    """Else the command in its record would draw other demonstrations."""
    assert EvaluateConfig(protocol="published").command("evaluate") == "ia2 evaluate --protocol published"


def test_a_command_gives_its_config_back() -> None:
    config = EvaluateConfig(model_types=("base", "tok"), lrs=(1e-4,), eval_with_icl=True, model_id="a folder/m")
    words = shlex.split(config.command("evaluate"))
    assert words == [
        *("ia2", "evaluate", "--model_id", "a folder/m", "--model_types", "base", "tok"),
        *("--lrs", "0.0001", "--eval_with_icl"),
    ]
