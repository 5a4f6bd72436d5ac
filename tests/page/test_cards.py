"""Model cards as text: the header that the hub reads, what stands for whom, and the part that evaluations replace."""

from typing import Any

import pytest
import yaml

from ia2.commands.card import measured_part
from ia2.config import TrainConfig
from ia2.page.card import NOT_MEASURED, model_card, part_of, with_part

TASK = {"name": "capitals", "template": "Input: {country}\nOutput:", "answer_template": " {capital}", "parser": "line"}
OUTCOME = {"best_dev_loss": 0.5, "best_step": 12, "num_steps": 18, "trainable_parameters": 645120}


def card(base: str = "Qwen/Qwen3-4B-Base", source: str = "hub stanfordnlp/sst2 train", **fields: Any) -> str:
    """Of a run that never was."""
    given = {"training_method": "a2t", "dataset": "sst2", "num_generated_tokens": 8, "model_id": base, **fields}
    description = {
        "config": TrainConfig(**given).relevant_fields(),
        "base": {"model_id": base, "revision": "0" * 40, "dtype": "bfloat16"},
        "task": TASK,
        "num_dev_used": 50,
        "data": {"source": source, "licence": "CC0"},
        "versions": {"ia2": "0.1.0", "peft": "0.21.2"},
    }
    return model_card(description, OUTCOME)


def header(text: str) -> dict[str, Any]:
    opening, told, _ = text.split("---\n", 2)
    assert opening == ""
    content: dict[str, Any] = yaml.safe_load(told)
    return content


def test_the_header_is_what_the_hub_reads() -> None:
    assert header(card(training_method="ia3-act")) == {
        "base_model": "Qwen/Qwen3-4B-Base",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["ia2", "in-context-learning", "ia3", "act"],
        "datasets": ["stanfordnlp/sst2"],
    }


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("/data/models/mine", None),
        ("mine/weights.gguf", None),
        ("tests/page", None),  # a folder that is there, and looks like a hub id
    ],
)
def test_a_base_model_of_nobody_elses_is_not_named_to_the_hub(base: str, named: str | None) -> None:
    assert header(card(base)).get("base_model") == named
    assert ("4-bit" in card(base)) == (base == "smollm2-135m")
    assert ("ia2.model_folder" in card(base)) == (base in ("smollm2-135m", "mine/weights.gguf"))


def test_rows_that_are_not_the_hubs_have_our_name() -> None:
    assert header(card(source="package vaderSentiment 3.3.2, reviews"))["datasets"] == ["sst2"]


def test_what_a_run_is_stands_in_the_card() -> None:
    text = card(label_type="ground_truth", lr=1e-3, run_idx=2, lora_r=4)
    for told in ("| 100, run 2 |", "100 of training, 50 of development", "licence: CC0", "lora_r 4", "lr 0.001"):
        assert told in text
    assert "0.5 at its lowest, at step 12 of 18; saved: that" in text
    assert "`a2t`: IA2 first, then fine-tuning from there (labels: the dataset's answers)" in text
    assert "ia2 train --training_method a2t --dataset sst2" in text


def test_of_the_low_data_regime() -> None:
    assert "8 labelled as demonstrations (N), at most 1000 unlabelled queries in at most 24 orders" in card(
        ldr_mode=True
    )


@pytest.mark.parametrize(("label_type", "copies"), [("ground_truth", False), ("icl_outputs", True)])
def test_only_a_student_was_taught_what_its_teacher_gets_wrong(label_type: str, copies: bool) -> None:
    assert ("taught what is wrong" in card(training_method="tok", label_type=label_type)) == copies


def test_nothing_measured_is_said() -> None:
    assert part_of(card()) == NOT_MEASURED == measured_part([])


def test_the_part_is_replaced_and_nothing_else() -> None:
    edited = card().replace("## Limits", "## What I found\n\nNothing.\n\n## Limits")
    replaced = with_part(edited, "| 1 | 2 |")
    assert part_of(replaced) == "| 1 | 2 |"
    assert replaced.replace("| 1 | 2 |", NOT_MEASURED) == edited


def test_a_card_without_the_marks_stays_as_it_is() -> None:
    mine = "# My own card\n"
    assert part_of(mine) is None
    assert with_part(mine, "| 1 | 2 |") == mine
