"""A seventh variant is one row more in a copy of the package; the commands train, evaluate, tabulate and plot it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import undrawn
from tiny_runs import RUN_FILES

import ia2

PACKAGE = Path(ia2.__file__).parent
ROW = """    "d2t": Variant(
        (Phase("both", lambda w: {"act": 1 - w, "tokl": w}), TOK), "both → SFT", "a made-up one", "#332288", "h"
    ),
"""
"""Its first phase is joint, no variant alone, and of two losses that no row joins; its second takes gold labels."""
ADDED = "ground_truth_topk5_0.002+num_train_epochs=1"
LAST = '    "t2a": Variant('
PROGRAM = """
import json, sys
from ia2.cli import main
from undrawn import draw_nothing  # figures are made and saved empty: laying them out takes most of the time
draw_nothing()
sys.exit(max(map(main, json.loads(sys.argv[1]))))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a copy of ia2 with the row."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(PACKAGE, folder / "ia2", ignore=shutil.ignore_patterns("__pycache__"))
    methods = folder / "ia2" / "methods.py"
    before, last, after = methods.read_text(encoding="utf-8").partition(LAST)
    methods.write_text(before + ROW + last + after, encoding="utf-8")
    return folder


def test_a_row_is_all_that_a_new_variant_needs(package: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    model = ["--model_id", str(tiny_model_folder), "--root", str(tmp_path)]
    run = [*model, "--dataset", "capitals", "--num_train_examples", "4", "--num_generated_tokens", "2", "--lr", "0.01"]
    run += ["--num_train_epochs", "1", "--tokl_top_k", "5", "--label_type", "ground_truth"]
    asked = ["--num_eval_examples", "4", "--icl_max_demos", "2", "--num_generated_tokens_eval", "2"]
    methods = ["tok", "d2t", "ia3-d2t"]
    commands = [["train", *run, "--training_method", method] for method in methods]
    commands += [["evaluate", *model, *asked], ["tables", "--root", str(tmp_path)], ["plot", "--root", str(tmp_path)]]
    commands += [["results", "--root", str(tmp_path)], ["report", "--root", str(tmp_path)]]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(Path(undrawn.__file__).parent)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    # trained, under the name that follows from its fields
    names = [f"{tiny_model_folder.name}_{part}_2_4_0.01_0_{ADDED}" for part in ("qkv_8_8", "ia3_qkv")]
    for method, name in zip(methods[1:], names, strict=True):
        assert {file.name for file in (tmp_path / "outputs" / method / "capitals" / name).iterdir()} >= RUN_FILES
    history = pd.read_json(tmp_path / "outputs" / "d2t" / "capitals" / names[0] / "history.jsonl", lines=True)
    assert list(dict.fromkeys(history["phase"])) == ["both", "tok"]
    kinds = {file.name for file in (tmp_path / "outputs" / "targets").glob("*/*.safetensors")}
    assert kinds >= {"activations.safetensors", "distributions.safetensors"}, kinds

    # evaluated, tabulated and plotted, by its label
    measured = pd.read_csv(tmp_path / "reports" / "results.csv")
    assert {"base", *methods} == set(measured["method"])
    tables = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "reports" / "tables").glob("*.md"))
    assert "| d2t: Acc. % |" in tables
    assert "| ia3-d2t: Acc. % |" in tables
    page = (tmp_path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "a made-up one" in page
    assert "(IA)3 d2t (both → SFT)" in page
    assert list((tmp_path / "plots").rglob("*_accuracy_without_icl.png"))
