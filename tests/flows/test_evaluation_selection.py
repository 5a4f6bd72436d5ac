"""Which runs an evaluation is about: fields are compared, and the filter that leaves none is named."""

from pathlib import Path
from typing import Any

import pytest
from made_up_runs import CHANGES, configs

from ia2 import store
from ia2.commands.evaluate import plan
from ia2.commands.selection import FILTERS, select_runs
from ia2.config import EvaluateConfig, TrainConfig
from ia2.errors import UserError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_MODEL_ID", raising=False)


def selected(root: Path, **filters: Any) -> set[str]:
    folders = {store.run_folder(root, config): name for name, config in configs(root).items()}
    return {folders[run.folder] for run in select_runs(root, EvaluateConfig(root=root, **filters))}


ALL = set(CHANGES)
LORA = ALL - {"ia3", "prompt"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ALL),
        ({"model_types": ("tok", "tna", "base")}, {"tok", "tna"}),
        ({"model_types": ("base",)}, ALL),
        ({"model_types": ("ia3-act", "act")}, ALL - {"tok", "tokl", "tna", "prompt"}),
        ({"trained_datasets": ("towns",)}, {"towns"}),
        ({"trained_datasets": ("townspeople", "towns")}, {"towns", "townspeople"}),
        ({"model_id": "org/Llama-3.2-1B"}, ALL - {"instruct"}),
        ({"model_id": "org/Llama-3.2-1B-Instruct"}, {"instruct"}),
        ({"num_examples": (4,)}, ALL - {"ldr"}),
        ({"num_examples": (5,)}, {"ldr"}),
        ({"num_examples": (100,)}, set()),  # what a low-data run calls its number of labels is N
        ({"run_indices": (1,)}, {"run"}),
        ({"lrs": (2e-2, 1.0)}, {"lr"}),
        ({"label_types": ("icl_outputs",)}, ALL - {"tok"}),
        ({"label_types": ("ground_truth",)}, ALL),
        ({"lora_types": ("qkvo",)}, {"r", "ia3", "prompt"}),
        ({"lora_types": ("qk",)}, {"ia3", "prompt"}),
        ({"lora_rs": (4,)}, {"r", "ia3", "prompt"}),
        ({"lora_alphas": (8,)}, ALL - {"r"}),
        ({"ia3_types": ("qkv",)}, ALL - {"ia3"}),
        ({"num_virtual_tokens": (3,)}, ALL),
        ({"num_virtual_tokens": (20,)}, ALL - {"prompt"}),
        ({"ce_loss_weights": (0.002,)}, ALL - {"tna"}),
        ({"tokl_top_ks": ("all",)}, ALL - {"tokl"}),
        ({"tokl_top_ks": (5, "all")}, ALL),
        ({"num_generated_tokens": (1,)}, {"run"}),
        ({"ldr_mode": True}, {"ldr"}),
        ({"ldr_mode": True, "lrs": (0.02,)}, set()),
    ],
    ids=lambda one: str(sorted(one) if isinstance(one, set) else one),
)
def test_filters(made_up: Path, filters: dict[str, Any], expected: set[str]) -> None:
    assert selected(made_up, **filters) == expected


def test_every_field_of_selection_is_a_flag_and_a_field_of_a_run() -> None:
    assert FILTERS.keys() <= EvaluateConfig.model_fields.keys()
    assert set(FILTERS.values()) - {"num_labels"} <= TrainConfig.model_fields.keys()


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"lrs": (5e-4,), "model_types": ("tok",)}, r"matches --lrs 0.0005; lr of the 1 before this filter: 0.01$"),
        ({"lrs": (5e-4, 1.0)}, r"matches --lrs 0.0005 1.0; lr of the 13 before this filter: 0.01, 0.02$"),
        ({"model_types": ("a2t",)}, "--model_types a2t; .* 13 .*: act, ia3-act, prompt-act, tna, tok, tokl$"),
        ({"num_generated_tokens": (9,)}, "--num_generated_tokens 9; .*: 1, 3$"),
        ({"ldr_mode": True, "run_indices": (1,)}, "matches --ldr_mode; ldr_mode of the 1 before this filter: False$"),
        ({"model_types": ("act",), "model_id": "org/Llama"}, "--model_id org/Llama; .*: org/Llama-3.2-1B, org/Ll.*ct$"),
    ],
    ids=lambda one: str(sorted(one) if isinstance(one, set) else one),
)
def test_the_filter_that_left_nothing_is_named(made_up: Path, filters: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        plan(made_up, EvaluateConfig(root=made_up, **filters))
    assert "\n" not in str(caught.value)


def test_the_environment_names_the_base_model(made_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IA2_MODEL_ID", "org/Llama-3.2-1B-Instruct")
    assert selected(made_up) == {"instruct"}
