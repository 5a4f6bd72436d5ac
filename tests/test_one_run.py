"""Examples are what a reader copies: short, of public names only, and they run."""

import ast
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_short_and_imports_public_names_only(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    imported = [
        part
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ia2")
        for part in (*(node.module or "").split("."), *(alias.name for alias in node.names))
    ]
    assert imported
    assert not [part for part in imported if part.startswith("_")]
    assert "._" not in text


def test_one_run_trains_and_evaluates_an_adapter(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLES[0]))["main"]
    found = main(str(tiny_model_folder), num_examples=4, num_epochs=2)
    assert found.keys() == {"base", "teacher", "act"}
    assert all(0 <= value <= 100 for value in found.values())
    assert "best_dev_loss" in capsys.readouterr().out
