"""Data files in the published shape, written by hand from its description, load and train as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import training

from ia2 import store
from ia2.commands.train import resolve, train
from ia2.models.loading import ModelCache
from ia2.prompts.splits import load_split
from ia2.tasks.pool import load_pool

# Invented questions. `answer` is a number in one example: the published files hold both.
QUESTIONS = [
    "Question:Which is a gas?\nChoices:\n[0]iron\n[1]helium\n[2]salt\n[3]wood\n\nAnswer:",
    "Question:Which is a metal?\nChoices:\n[0]iron\n[1]helium\n[2]salt\n[3]wood\n\nAnswer:",
    "Question:Which dissolves?\nChoices:\n[0]iron\n[1]helium\n[2]salt\n[3]wood\n\nAnswer:",
    "Question:Which burns?\nChoices:\n[0]iron\n[1]helium\n[2]salt\n[3]wood\n\nAnswer:",
]
EXAMPLES: list[dict[str, Any]] = [
    {"idx": 10, "question": QUESTIONS[0], "answer": 1},
    {"idx": 11, "question": QUESTIONS[1], "answer": "0"},
    {"idx": 12, "question": QUESTIONS[2], "answer": "2"},
]
MAIN = {
    "metadata": {"max_choices": 4, "remap_dict": None, "num_train_examples": 3, "avg_question_length": 61.3},
    "train_examples": EXAMPLES,
    "val_examples": [{"idx": 0, "question": QUESTIONS[3], "answer": "3"}],
}
FIRST, SECOND, THIRD = (f"{question}{answer}" for question, answer in zip(QUESTIONS, "102", strict=False))
UNIQUE = {
    "train": {"examples": EXAMPLES[:2], "icl_demos": [[SECOND], [FIRST]]},
    "dev": {"examples": EXAMPLES[2:], "icl_demos": [[SECOND, FIRST]]},
    "remaining_indices": [],
    "demo_type": "unique",
}
FIXED = {
    "train": {"examples": EXAMPLES[:2], "icl_demos": [THIRD]},
    "dev": {"examples": EXAMPLES[2:], "icl_demos": [FIRST, SECOND]},
    "remaining_indices": [],
    "demo_type": "fixed",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {"main.json": MAIN, "train/2_0.json": UNIQUE, "train_fixed/2_0.json": FIXED}
    for name, content in files.items():
        path = tmp_path / "data" / "sciq" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return tmp_path


def test_they_are_read_as_they_say(root: Path) -> None:
    pool = load_pool(root, "sciq")
    assert [example.answer for example in pool.train] == ["1", "0", "2"]
    unique = load_split(store.split_path(root, "sciq", 2, 0), pool.train)
    assert [prompt.demonstrations for prompt in (*unique.train, *unique.dev)] == [
        (pool.train[1],),
        (pool.train[0],),
        (pool.train[1], pool.train[0]),
    ]
    fixed = load_split(store.split_path(root, "sciq", 2, 0, "fixed"), pool.train)
    assert [prompt.demonstrations for prompt in fixed.train] == [(pool.train[2],)] * 2
    assert fixed.dev[0].demonstrations == (pool.train[0], pool.train[1])


@pytest.mark.parametrize("fixed", [False, True])
def test_they_train_and_stay_as_they_are(root: Path, tiny_model_folder: Path, fixed: bool) -> None:
    before = {path: path.read_bytes() for path in (root / "data").rglob("*.json")}
    fields = {"dataset": "sciq", "num_train_examples": 2, "num_generated_tokens": None, "fixed_demos": fixed}
    config = training(root, tiny_model_folder, training_method="a2t", no_prepare=True, **fields)
    assert resolve(config).num_generated_tokens == 1
    assert (train(config, ModelCache()) / "adapter_model.safetensors").exists()
    assert {path: path.read_bytes() for path in (root / "data").rglob("*.json")} == before
