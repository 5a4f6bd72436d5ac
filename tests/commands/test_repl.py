"""`ia2 predict --repl`: line by line from standard input."""

import io
from pathlib import Path

import pytest
from tiny_runs import training

from ia2 import cli
from ia2.commands.train import train
from ia2.models.loading import ModelCache


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    return train(training(tmp_path_factory.mktemp("repl"), tiny_model_folder, lr=0.05), ModelCache())


def test_lines_are_answered_one_by_one(
    adapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = []
    for text in ("France", "Peru"):
        assert cli.main(["predict", "--adapter", str(adapter), "--text", text]) == 0
        alone.append(capsys.readouterr().out)
    monkeypatch.setattr("sys.stdin", io.StringIO("France\n\n  Peru  \n"))
    assert cli.main(["predict", "--adapter", str(adapter), "--repl"]) == 0
    assert capsys.readouterr().out == "".join(alone)


def test_nothing_typed_nothing_answered(
    adapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.main(["predict", "--adapter", str(adapter), "--repl"]) == 0
    assert capsys.readouterr().out == ""


def test_a_terminal_is_told_what_to_type(
    adapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("France\n"))
    assert cli.main(["predict", "--adapter", str(adapter), "--repl"]) == 0
    said = capsys.readouterr()
    assert said.err == "country, one a line; Ctrl-D ends\n"
    assert said.out.count("\n") == 1


@pytest.mark.parametrize("more", [["--text", "France"], ["--file", "x.csv"]])
def test_it_goes_with_no_other_input(adapter: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "--adapter", str(adapter), "--repl", *more]) == 2
    assert "exactly one of --text, --file and --repl" in capsys.readouterr().err
