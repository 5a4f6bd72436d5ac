"""Aliases: one thing or several, a flag may be written as documented or as its field is named."""

import pytest

from ia2.cli import SUBCOMMANDS, parse_arguments
from ia2.config import Config, EvaluateConfig, PrepareConfig
from ia2.errors import UserError

ALIASES = [(name, alias, field) for name, config in SUBCOMMANDS.items() for alias, field in config.aliases.items()]

NEEDED = {"fit": ["rows.csv"], "tasks": ["--init", "rows.csv"], "sweep": ["--training_methods", "tok"]}
"""What a subcommand cannot do without."""
VALUES = {
    "label_types": ("ground_truth", "icl_outputs"),
    "plot_types": ("accuracy", "cost"),
    **dict.fromkeys(("lrs", "ce_loss_weights"), ("0.5", "0.25")),
    **dict.fromkeys(("num_examples", "run_indices", "lora_rs", "lora_alphas", "tokl_top_ks"), ("3", "4")),
}
"""What a field takes that does not take every word."""


@pytest.mark.parametrize(("subcommand", "alias", "field"), ALIASES)
@pytest.mark.parametrize("count", [1, 2])
def test_an_alias_gives_the_config_of_its_field(subcommand: str, alias: str, field: str, count: int) -> None:
    values = VALUES.get(field, ("base", "act"))[:count]
    needed = [] if field == "training_methods" else NEEDED.get(subcommand, [])
    config = parse_arguments([subcommand, *needed, f"--{alias}", *values])
    assert config == parse_arguments([subcommand, *needed, f"--{field}", *values])
    assert tuple(map(str, getattr(config, field))) == values


@pytest.mark.parametrize("config", SUBCOMMANDS.values())
def test_every_alias_stands_for_a_field_and_is_none_itself(config: type[Config]) -> None:
    assert set(config.aliases.values()) <= config.model_fields.keys()
    assert not config.aliases.keys() & config.model_fields.keys()


@pytest.mark.parametrize("flag", ["--eval_dataset_name", "--eval-dataset-name", "--eval-dataset_name"])
def test_dashes_and_underscores_are_the_same(flag: str) -> None:
    expected = EvaluateConfig(eval_datasets=("sst2",), icl_max_demos=5)
    assert parse_arguments(["evaluate", flag, "sst2", "--icl_max_demos", "5"]) == expected
    assert parse_arguments(["evaluate", f"{flag}=sst2", "--icl_max_demos=5"]) == expected


def test_a_value_that_looks_like_an_alias_is_left_alone() -> None:
    assert parse_arguments(["prepare", "--datasets", "dataset"]) == PrepareConfig(datasets=("dataset",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "--dataset", "a", "--dataset", "b"], r"--dataset is given twice; .* after one --datasets"),
        (["prepare", "--dataset", "a", "--datasets=b"], r"--dataset and --datasets are one flag; .* one --datasets"),
        (["evaluate", "--eval_dataset_name", "a", "--eval-dataset", "b"], r"--eval_dataset_name and --eval_dataset "),
        (["evaluate", "--eval_dataset_nam", "a"], r"no --eval_dataset_nam; did you mean --eval_dataset_name\?"),
    ],
)
def test_mistakes_are_told_in_the_words_that_were_written(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_arguments(arguments)
    assert "\n" not in str(caught.value)
