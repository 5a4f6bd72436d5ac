"""Which runs a sweep is: counted by hand, and as laws."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.cli import main
from ia2.commands.sweep.grid import SWEPT, expand, left_out, methods_of
from ia2.config import SweepConfig, TrainConfig
from ia2.errors import UserError
from ia2.methods import METHODS, parse_method


def test_the_readmes_hyperparameter_sweep() -> None:
    """3 N x 4 lr x 3 runs of tok, tokl, act, and three times as many of tna, which alone has three weights."""
    config = SweepConfig(
        training_methods=("tok", "tokl", "act", "tna"),
        num_train_examples=(50, 100, 200),
        lrs=(5e-5, 1e-4, 5e-4, 1e-3),
        run_indices=(0, 1, 2),
        ce_loss_weights=(0.001, 0.002, 0.005),
    )
    runs = expand(config)
    assert len(runs) == 36 * 3 + 108
    assert sum(run.training_method == "tna" for run in runs) == 108


def test_a_list_counts_only_for_the_methods_that_it_means_something_to() -> None:
    lists = {"lora_rs": (4, 8), "ia3_types": ("q", "qkv", "qkvo"), "num_virtual_tokens": (5, 20, 40, 80)}
    counted = {
        method: len(
            expand(SweepConfig(training_methods=(method,), label_types=("ground_truth", "icl_outputs"), **lists))
        )
        for method in ("tok", "act", "ia3-tok", "prompt-act", "prefix-a2t", "tna", "tokl")
    }
    assert counted == {
        "tok": 2 * 2,
        "act": 2,
        "ia3-tok": 3 * 2,
        "prompt-act": 4,
        "prefix-a2t": 4 * 2,
        "tna": 2,
        "tokl": 2,
    }


def test_nothing_left_says_why() -> None:
    with pytest.raises(UserError, match="tokl and tna take no ground truth"):
        expand(SweepConfig(training_methods=("tna",), label_types=("ground_truth",)))


def test_what_a_grid_leaves_out_is_counted() -> None:
    """By hand: 2 lr x 3 runs, of tna with 2 weights; the ranks mean something to LoRA only."""
    config = SweepConfig(
        training_methods=("tok", "tokl", "tna", "prompt-tok"),
        label_types=("ground_truth",),
        lrs=(1e-4, 1e-3),
        run_indices=(0, 1, 2),
        ce_loss_weights=(0.001, 0.002),
        lora_rs=(4, 8),
    )
    lines = left_out(config)
    assert {run.training_method for run in expand(config)} == {"tok", "prompt-tok"}
    assert [line.split(" are left out")[0] for line in lines if "left out" in line] == [
        "12 runs of tokl",
        "24 runs of tna",
    ]
    (tok,) = [line for line in lines if line.startswith("tok ")]
    assert "ce_loss_weights" in tok
    assert "lora_rs" not in tok
    (prompt,) = [line for line in lines if line.startswith("prompt-tok ")]
    assert "lora_rs" in prompt


def test_a_grid_that_leaves_nothing_out_says_nothing() -> None:
    assert left_out(SweepConfig(training_methods=("tok", "act"), lrs=(1e-4, 1e-3), lora_rs=(4, 8))) == []


@pytest.mark.model
def test_a_dry_run_says_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "--training_methods", "tok", "tna", "--label_types", "ground_truth", "--datasets", "capitals"]
    words += ["--num_train_examples", "4", "--root", str(tmp_path), "--dry_run"]
    assert main(words) == 0
    assert "1 runs of tna" in capsys.readouterr().out


def test_sequential_methods_are_added_to_their_first_phases() -> None:
    config = SweepConfig(training_methods=("tok", "act", "ia3-act", "tna"), include_sequential=True)
    assert methods_of(config) == ["tok", "act", "ia3-act", "tna", "t2a", "a2t", "ia3-a2t"]
    assert methods_of(config.model_copy(update={"include_sequential": False})) == ["tok", "act", "ia3-act", "tna"]


@given(
    methods=st.lists(st.sampled_from(sorted(METHODS)), min_size=1, max_size=4),
    lrs=st.lists(st.sampled_from([1e-4, 1e-3]), min_size=1, max_size=3),
    ranks=st.lists(st.sampled_from([4, 8]), min_size=1, max_size=3),
)
def test_no_run_comes_twice_and_all_have_values_that_were_given(
    methods: list[str], lrs: list[float], ranks: list[int]
) -> None:
    runs = expand(SweepConfig(training_methods=tuple(methods), lrs=tuple(lrs), lora_rs=tuple(ranks), batch_size=2))
    told = [tuple(sorted((key, str(value)) for key, value in run.relevant_fields().items())) for run in runs]
    assert len(set(told)) == len(told)
    assert {run.training_method for run in runs} == set(methods)
    expected = sum(
        len(set(lrs)) * (len(set(ranks)) if parse_method(method).adapter == "lora" else 1) for method in set(methods)
    )
    assert len(runs) == expected
    assert all(run.batch_size == 2 and run.lr in lrs for run in runs)


def test_every_field_of_a_run_is_swept_or_shared() -> None:
    shared = TrainConfig.model_fields.keys() & SweepConfig.model_fields.keys() - SWEPT.keys()
    assert TrainConfig.model_fields.keys() - shared == {"training_method", *SWEPT}
    assert set(SWEPT.values()) <= SweepConfig.model_fields.keys()
