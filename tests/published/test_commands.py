"""Every published command, in its order, unchanged, from the project's root and from inside scripts/: into one store.

The model and the datasets are replaced through the environment: a tiny model with nothing to learn, and generated rows
in the hub's schema; so is wandb. In the quick test the scripts run in this process, which has imported torch, in turn
from one place and the other, and the two large sweeps are planned only, by `--dry_run`. The slow one runs every line in
a process of its own, and trains those sweeps. conda is not run: `ia2.yaml` is judged by test_environment.py.
"""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from generated_rows import write_generated_datasets
from settled_model import NAME, save_settled_model
from specification import FILE
from stand_in_for_wandb import write_stand_in
from undrawn import draw_nothing

from ia2 import store

SCRIPTS = Path(__file__).parents[2] / "scripts"
SPECIFICATION = json.loads(FILE.read_text(encoding="utf-8"))
COMMANDS: list[str] = [one["command"] for one in SPECIFICATION["commands"] if one["command"].startswith("python ")]
LARGE = "--max_parallel 4"
"""What the two sweeps of many runs have, and no other command."""
OF_LABELS = (
    "train_unified.py --training_method tok --dataset sst2",
    "evaluate_batch_optimized.py --trained_datasets sst2 --icl_max_demos 5 --uncertainty_analysis",
    "plot_unified.py --trained_dataset sst2 --uncertainty_mode --plot_types accuracy",
)
"""Not published. gsm8k has no labels, so that one file of the published tree appears for another dataset only."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project but for scripts/, in an environment that has model, datasets and wandb."""
    monkeypatch.delenv("IA2_ROOT", raising=False)
    monkeypatch.setenv("IA2_MODEL_ID", str(save_settled_model(tmp_path / "models")))
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(write_generated_datasets(tmp_path / "hub")))
    packages = write_stand_in(tmp_path / "packages")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]))
    shutil.copytree(SCRIPTS, tmp_path / "project" / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "project"


def placed(command: str, project: Path, inside: bool) -> tuple[list[str], Path]:
    """Script and arguments of a command, and where it is run."""
    words = shlex.split(command.removeprefix("python "))
    return (words, project / "scripts") if inside else ([f"scripts/{words[0]}", *words[1:]], project)


@dataclass(frozen=True)
class InThisProcess:
    """Runs a command as `python` does, but for starting an interpreter and importing what is there."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    caplog: pytest.LogCaptureFixture

    def __call__(self, words: list[str], where: Path) -> str:
        self.monkeypatch.chdir(where)
        self.monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(where / words[0]), run_name="__main__")
        told = "\n".join([*self.capsys.readouterr(), *self.caplog.messages])
        self.caplog.clear()
        assert ended.value.code == 0, f"{shlex.join(words)}: {told}"
        return told


def in_a_process_of_its_own(words: list[str], where: Path) -> str:
    ended = subprocess.run([sys.executable, *words], cwd=where, capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == 0, f"{shlex.join(words)}: {ended.stderr}"
    return ended.stdout + ended.stderr


@pytest.mark.timeout(900)  # less than a minute where the cores are free
def test_every_command_runs(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Figures, which take most of the time, are saved empty, and what was plotted is not plotted of other methods."""
    draw_nothing(monkeypatch.setattr)
    run = InThisProcess(monkeypatch, capsys, caplog)
    plotted = set[str]()
    for number, command in enumerate([*COMMANDS, *OF_LABELS]):
        if command.startswith("python plot"):
            if (of_any := command.partition(" --model_types ")[0]) in plotted:
                continue
            plotted.add(of_any)
        shortened = f"{command} --dry_run" if LARGE in command else command
        assert_no_failure(run(*placed(shortened, project, inside=number % 2 == 1)))
    assert_as_published(project)


NUM_RUNS = 36 * 3 + 36 * 3 + 11 + 5 + 1
"""T = 200: 3 N x 4 learning rates x 3 runs for tok, tokl and act, and for tna at 3 weights, which the smaller sweep is
part of; 2 sequential and 9 of other adapters. T = 1: 5. And 1 of labels."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_runs_as_a_process(project: Path) -> None:
    for number, command in enumerate([*COMMANDS, *OF_LABELS]):
        assert_no_failure(in_a_process_of_its_own(*placed(command, project, inside=number % 2 == 0)))
    assert_as_published(project)
    assert len(store.run_folders(project)) == NUM_RUNS


def assert_no_failure(told: str) -> None:
    """Nor are two records told by one name, as tok and tokl once were."""
    assert not re.search("failed|Traceback|Error", told), told
    records = re.findall(r"^\[\d+/\d+\] (\S+): with", told, re.MULTILINE)
    assert len(set(records)) == len(records), told


def assert_as_published(project: Path) -> None:
    """Every folder and file of the published trees is there, every run of the naming section, every metric."""
    for path in expected_paths():
        assert (project / path).exists(), path
        assert path.endswith("/") == (project / path).is_dir(), path
    names = {folder.name for folder in store.run_folders(project)}
    assert set(SPECIFICATION["run_names"]) <= names
    (record,) = (project / "outputs/evaluations/base").glob(f"{NAME}_100_0__gsm8k_on_gsm8k_demos5_*.json")
    metrics = json.loads(record.read_text(encoding="utf-8"))["metrics"]
    assert set(SPECIFICATION["metrics"]) <= metrics.keys()
    assert metrics["with_icl_accuracy"] == metrics["without_icl_accuracy"] == pytest.approx(100 * 2 / 12)
    assert {file.suffix for file in (project / "scripts").iterdir() if file.name != "__pycache__"} == {".py"}


def expected_paths() -> list[str]:
    """The paths of the published trees, with what these commands name in the places of `{...}`."""
    filled = {"dataset": "gsm8k", "eval_dataset": "gsm8k", "icl_source": "gsm8k", "demos": "5", "model": NAME}
    paths = [*SPECIFICATION["tree"], *SPECIFICATION["folders"]]
    of_labels = dict.fromkeys(("dataset", "eval_dataset", "icl_source"), "sst2")
    return [
        path.format_map(filled | {"variant": variant} | (of_labels if "label_accuracy" in path else {}))
        for path in paths
        for variant in (("tok", "act", "tna") if "{variant}" in path else ("",))
    ]
