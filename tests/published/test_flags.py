"""The published tables of arguments and `--help`: the same flags, types and defaults."""

import contextlib
import io
import json
import re
from functools import cache

import pytest
from specification import FILE

from ia2 import cli
from ia2.config import TrainConfig

SPECIFICATION = json.loads(FILE.read_text(encoding="utf-8"))
TABLES = {"train": "Common Training Arguments", "evaluate": "Evaluation Arguments"}
ROWS = [(command, row) for command, table in TABLES.items() for row in SPECIFICATION["arguments"][table]]
METHOD_SPECIFIC = ("label_type", "tokl_top_k", "ce_loss_weight", "ia3_type", "num_virtual_tokens", "continue_training")
OURS = {
    "num_generated_tokens": "what the task declares, else 1",
    "num_generated_tokens_eval": "what the task declares, else 1",
    "model_type": "base and every method found",
    "eval_dataset_name": "the trained ones",
    "icl_source_dataset": "the trained dataset",
    "icl_max_demos": "256",
}
"""Where the default is another: a task with longer answers says how many tokens they need, and what an evaluation
required is all that is found."""


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_MODEL_ID", raising=False)
    monkeypatch.setenv("COLUMNS", "300")


@cache
def shown(command: str) -> dict[str, tuple[str, str]]:
    """What `--help` says of each flag: what it takes, and the explanation below it."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written), pytest.raises(SystemExit):
        cli.main([command, "--help"])
    lines = [line.strip("│ ") for line in written.getvalue().splitlines()]
    found = {}
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        told, _, beside = line.partition("  ")
        for flag, takes in re.findall(r"--(\w+) ?([^,\s]*(?: \[[^,]*\]\])?)", told) if line.startswith("--") else []:
            found[flag] = (takes, beside.strip() or following)
    return found


@pytest.mark.parametrize(
    ("command", "row"), ROWS, ids=lambda value: value["flag"] if isinstance(value, dict) else value
)
def test_help_agrees_with_the_published_table(command: str, row: dict[str, str]) -> None:
    takes, told = shown(command)[row["flag"]]
    assert takes.strip("[").split(" ")[0].rpartition("|")[2] == {"flag": ""}.get(row["type"], row["type"].upper())
    if row["flag"] in OURS:
        assert f"(default: {OURS[row['flag']]})" in told
    elif row["default"] == "Required":
        assert "(required)" in told
    else:
        default = told.rpartition("(default: ")[2].removesuffix(")")
        assert default == row["default"] or float(default) == float(row["default"])


def test_every_flag_that_the_text_mentions_is_one() -> None:
    taken = {flag for config in cli.SUBCOMMANDS.values() for flag in (*config.model_fields, *config.aliases)}
    assert set(SPECIFICATION["flags"]) <= taken


def test_training_has_the_flags_of_each_method() -> None:
    assert set(METHOD_SPECIFIC) <= set(SPECIFICATION["flags"]) & shown("train").keys()


def test_values_of_the_flags_of_each_method() -> None:
    for label_type in ("ground_truth", "icl_outputs"):
        assert TrainConfig(training_method="tok", label_type=label_type).label_type == label_type
    for ia3_type in ("qkv", "qko", "qkvo"):
        assert TrainConfig(training_method="ia3-act", ia3_type=ia3_type).ia3_type == ia3_type


ONE_OR_SEVERAL = (
    ("prepare", "dataset", "datasets"),
    ("create", "dataset", "datasets"),
    ("sweep", "training_method", "training_methods"),
    ("sweep", "dataset", "datasets"),
    ("evaluate", "model_type", "model_types"),
    ("evaluate", "trained_dataset", "trained_datasets"),
    ("evaluate", "eval_dataset_name", "eval_datasets"),
    ("evaluate", "icl_source_dataset", "icl_source_datasets"),
    ("plot", "trained_dataset", "trained_datasets"),
    ("plot", "eval_dataset", "eval_datasets"),
    ("plot", "icl_source_dataset", "icl_source_datasets"),
)


def test_where_the_text_has_two_spellings_both_are_flags() -> None:
    """tests/test_aliases.py parses each alias."""
    for command, one, several in ONE_OR_SEVERAL:
        assert cli.SUBCOMMANDS[command].aliases[one] == several
