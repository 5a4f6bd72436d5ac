"""The demo's pipeline on the real SmolLM2-135M, at reduced size: what a newcomer's first command does."""

import json
from pathlib import Path

import pandas as pd
import pytest

from ia2.cli import main
from ia2.results.records import examine_records
from ia2.store import run_folders

pytestmark = pytest.mark.model

REDUCED = ["demo", "--num_runs", "1", "--lrs", "2e-3", "--num_train_epochs", "12", "--num_eval_examples", "12"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    assert main([*REDUCED, "--root", str(folder)]) == 0
    return folder


def accuracies(root: Path) -> dict[str, float]:
    records = examine_records(root).found
    told = {f"{record.method} {key}": value for record in records for key, value in record.metrics.items()}
    return {key: value for key, value in told.items() if key.endswith("icl_accuracy")}


def test_the_student_learns_what_the_teacher_does_in_context(root: Path) -> None:
    found = accuracies(root)
    assert found["base without_icl_accuracy"] < 5
    assert found["base with_icl_accuracy"] > 60
    assert found["act without_icl_accuracy"] > 30  # a quarter of the steps of the demo, and no label
    assert set(found) == {
        "base without_icl_accuracy",
        "base with_icl_accuracy",
        *(f"{method} without_icl_accuracy" for method in ("act", "tok", "a2t")),
    }


def test_every_run_improved_on_its_own_dev_loss(root: Path) -> None:
    for folder in run_folders(root):
        history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        losses = [entry["dev_loss"] for entry in history if "dev_loss" in entry]
        statistics = json.loads((folder / "final_loss_statistics.json").read_text())
        assert statistics["best_dev_loss"] == min(losses) < losses[0]


def test_the_page_and_the_picture_show_the_numbers(root: Path) -> None:
    page = (root / "reports" / "report.html").read_text()
    for method, accuracy in accuracies(root).items():
        assert f"{accuracy:.1f}" in page, method
    assert "4-bit" in page
    assert (root / "reports" / "accuracy_capitals.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_demo_makes_nothing_again(root: Path) -> None:
    def written() -> dict[Path, int]:
        found = (path for path in (root / "outputs").rglob("*") if path.is_file() and path.suffix != ".lock")
        return {path: path.stat().st_mtime_ns for path in found}

    before = written()
    assert main([*REDUCED, "--root", str(root)]) == 0
    assert written() == before


def test_predicting_a_file_adds_answer_and_confidence(root: Path, tmp_path: Path) -> None:
    (folder,) = (root / "outputs" / "a2t" / "capitals").glob("smollm2*")
    questions, answers = tmp_path / "in.csv", tmp_path / "out.csv"
    questions.write_text("id,country\n7,France\n8,Japan\n")
    assert main(["predict", "--adapter", str(folder), "--file", str(questions), "--out", str(answers)]) == 0
    table = pd.read_csv(answers)
    assert list(table.columns) == ["id", "country", "answer", "confidence"]
    assert table["answer"].tolist() == ["Paris", "Tokyo"]
    assert table["confidence"].between(0, 1).all()
