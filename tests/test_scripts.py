"""The published entry points: each is its subcommand, from the project's root and from inside scripts/."""

import ast
import os
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
SUBCOMMAND_OF = {
    "prepare_data.py": "prepare",
    "create_training_datasets.py": "create",
    "create_all_training_datasets.py": "create",
    "train_unified.py": "train",
    "train_all_unified.py": "sweep",
    "run.py": "run",
    "evaluate_batch_optimized.py": "evaluate",
    "discover_all_results.py": "results",
    "reparse_evaluations.py": "reparse",
    "generate_latex_tables.py": "tables",
    "run_table_generator.py": "tables",
    "plot_unified.py": "plot",
    "plot_all_unified.py": "plot-all",
    "plot_base_methods_comparison.py": "plot",
    "plot_activation_similarity_vs_performance.py": "plot",
    "plot_subspace_overlap_overall.py": "plot",
    "activation_similarity_analysis.py": "similarity",
    "subspace_overlap_analysis.py": "subspace",
}

MODULES = ("data.py", "utils.py", "remap_utils.py")


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "IA2_ROOT"}
    command = [sys.executable, script, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize(("script", "subcommand"), SUBCOMMAND_OF.items())
def test_a_script_is_its_subcommand(
    script: str, subcommand: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process; the others start one, as a person does. A worker that imports it does not begin again."""
    assert runpy.run_path(str(SCRIPTS / script), run_name="__mp_main__")["__doc__"]
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    assert not stop.value.code
    assert capsys.readouterr().out.startswith(f"usage: ia2 {subcommand} ")


def test_every_file_is_tested() -> None:
    assert {file.name for file in SCRIPTS.glob("*.py")} == {*SUBCOMMAND_OF, *MODULES}


def test_a_script_may_start_workers(tmp_path: Path) -> None:
    sizes = ["--num_train_examples", "2", "--num_runs", "2", "--num_workers", "2"]
    created = run(str(SCRIPTS / "create_all_training_datasets.py"), "--datasets", "capitals", *sizes, cwd=tmp_path)
    assert (created.returncode, created.stderr.splitlines()[-1]) == (0, "2 splits stand, 2 of them new")


@pytest.mark.parametrize("script", MODULES)
def test_a_module_gives_pieces_of_the_package(script: str) -> None:
    given = runpy.run_path(str(SCRIPTS / script))
    tree = ast.parse((SCRIPTS / script).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    pieces = {name.name: node.module for node in imports for name in node.names}
    assert sorted(pieces) == sorted(given["__all__"])
    for name, module in pieces.items():
        assert module.startswith("ia2.")
        assert given[name] is getattr(import_module(module), name)


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    refused = run(str(SCRIPTS / "prepare_data.py"), "--dataset", "nowhere", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("ia2: unknown dataset 'nowhere'")
    assert refused.stderr.count("\n") == 1
