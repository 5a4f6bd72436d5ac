"""Two commands of every kind at once in one root: no traceback, nothing lost, no work done twice."""

import shutil
from itertools import combinations_with_replacement
from pathlib import Path

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers, results

SMALL = ("--num_train_examples", 4, "--num_generated_tokens", 3, "--num_train_epochs", 2)
RUN = "outputs/a2t/capitals/tiny-llama_qkv_8_8_3_4_0.0001_0_icl_outputs+num_train_epochs=2"
TRAIN = ("train", "--training_method", "a2t", "--dataset", "capitals", "--model_id", "{model}", *SMALL)
KINDS: dict[str, tuple[object, ...]] = {
    "retrain": (*TRAIN, "--retrain"),
    "fit": ("fit", "{root}/../rows.csv", "--model_id", "{model}", "--num_train_epochs", 1, "--lrs", 1e-2),
    "evaluate": ("evaluate", "--model_id", "{model}", "--trained_datasets", "capitals", "--num_eval_examples", 5),
    "similarity": ("similarity", "--trained_datasets", "capitals", "--num_eval_examples", 5, "--icl_max_demos", 4),
    "reparse": ("reparse", "--trained_datasets", "capitals", "--parser", "exact"),
    "merge": ("merge", "--adapter", f"{{root}}/{RUN}", "--out", "{root}/merged"),
    "clean": ("clean", "--targets"),
}
PAIRS = list(combinations_with_replacement(KINDS, 2))
SAMPLE = [("merge", "merge"), ("similarity", "clean")]
ANEW = {"retrain": ("adapter_model.safetensors", Path(RUN).name), "clean": ()}
"""What such a command is asked to make anew, each time."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, commands: Commands) -> Path:
    """A run of two phases, its first, and records of both."""
    root = tmp_path_factory.mktemp("at_once") / "root"
    few = ("--num_eval_examples", 4, "--icl_max_demos", 4)
    for words in (TRAIN, ("evaluate", "--model_id", "{model}", *few)):
        ended = commands.run(*filled(words, root, tiny_model_folder))
        assert ended.code == 0, ended.stderr
    lines = [f"sentence number {i} of these,{'ab'[i % 2]}" for i in range(16)]
    (root.parent / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return root


def filled(words: tuple[object, ...], root: Path, model: Path) -> list[str]:
    words = words if words[0] == "merge" else (*words, "--root", root)
    return [str(word).format(root=root, model=model) for word in words]


def at_once(pair: tuple[str, str], root: Path, commands: Commands, model: Path, folder: Path) -> None:
    here = shutil.copytree(root, folder / "root")
    shutil.copy(root.parent / "rows.csv", folder)
    begun = [commands.begin(*filled(KINDS[kind], here, model)) for kind in pair]
    ended = [commands.end(one) for one in begun]
    for kind, one in zip(pair, ended, strict=True):
        assert one.code == 0, f"{kind} of {pair}: {one.stderr}"
        assert "Traceback" not in one.stderr
    assert_whole(here)
    assert leftovers(here) == []
    if not set(pair) & set(ANEW):
        twice = [name for name, number in (ended[0].done + ended[1].done).items() if number > 1 and str(here) in name]
        assert [name for name in twice if not name.endswith(("README.md", ".html", ".png", ".toml"))] == []
    for kind in (*pair, *pair):
        if kind != "clean":
            assert commands.run(*filled(KINDS[kind], here, model)).code == 0
    alone = shutil.copytree(root, folder / "one_after_the_other")
    for kind in (*pair, *pair):
        if kind != "clean":
            assert commands.run(*filled(KINDS[kind], alone, model)).code == 0
    cleaned = ("outputs/targets", "outputs/responses") if "clean" in pair else ("?",)
    found, expected = (
        {name: value for name, value in results(one).items() if not name.startswith(cleaned)} for one in (here, alone)
    )
    assert found == expected


@pytest.mark.parametrize("pair", SAMPLE, ids="-".join)
def test_two_commands_at_once(
    pair: tuple[str, str], root: Path, commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    at_once(pair, root, commands, tiny_model_folder, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pair", sorted({*PAIRS} - {*SAMPLE}), ids="-".join)
def test_every_pair_of_commands_at_once(
    pair: tuple[str, str], root: Path, commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    at_once(pair, root, commands, tiny_model_folder, tmp_path)
