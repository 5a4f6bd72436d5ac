"""The command line: what it reads, what it refuses in one line, and how soon it answers."""

import errno
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ia2 import cli
from ia2.config import Config, EvaluateConfig, TrainConfig
from ia2.errors import MachineError, UserError


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """What the command line says in its one line before it ends with `code`."""
    assert cli.main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ia2: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


# Reading


def test_flags_become_fields() -> None:
    arguments = "train --training_method ia3-tok --dataset sst2 --lr 3e-4 --num_train_examples 8 --retrain --root /x"
    assert cli.parse_arguments(arguments.split()) == TrainConfig(
        training_method="ia3-tok", dataset="sst2", lr=3e-4, num_train_examples=8, retrain=True, root=Path("/x")
    )


def test_equals_signs() -> None:
    config = cli.parse_arguments(["train", "--training_method=act", "--model_id=a=b"])
    assert config == TrainConfig(training_method="act", model_id="a=b")


def test_lists() -> None:
    command = "evaluate --model_types base tok --lrs 1e-4 5e-4 --run_indices 0 1 2"
    config = cli.parse_arguments(command.split())
    assert config == EvaluateConfig(model_types=("base", "tok"), lrs=(1e-4, 5e-4), run_indices=(0, 1, 2))


def test_numbers_or_words() -> None:
    configs = [cli.parse_arguments(["train", "--training_method", "tokl", "--tokl_top_k", k]) for k in ("5", "all")]
    assert [config.tokl_top_k for config in configs if isinstance(config, TrainConfig)] == [5, "all"]


# Refusing


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", f"which command? Given: none; valid: {', '.join(cli.SUBCOMMANDS)}"),
        ("fits", "which command? Given: 'fits' (did you mean 'fit'?); valid: demo"),
        ("xyzzy", "which command? Given: 'xyzzy'; valid: demo"),
        ("train", "training_method"),
        ("train --training_method", "--training_method needs a value"),
        ("train --training_method --lr 1", "--training_method needs a value"),
        ("train --training_method act --learning 3", "ia2 train has no --learning; `ia2 train --help` lists the flags"),
        ("train --training_method act --num_train_example 3", "did you mean --num_train_examples?"),
        ("train --training_method act --lr 1e-4 --lr 1e-3", "--lr is given twice"),
        ("evaluate --lrs 1e-4 --lrs 1e-3", "--lrs is given twice; a list takes all its values after one --lrs"),
        ("evaluate --lrs", "--lrs needs a value"),
        ("evaluate --lrs many", "many"),
        ("train --training_method act --lr many", "many"),
        ("train --training_method act --num_train_examples 2.5", "2.5"),
        ("train --training_method act --num_train_examples 1", "num_train_examples=1"),
        ("train --training_method sft", "unknown method 'sft'; valid: tok, tokl"),
        ("train --training_method act --lora_type xyz", "lora_type='xyz'"),
        ("train --training_method act --label_type gold", "gold"),
        ("train --training_method act extra", "extra"),
        ("predict --adapter x", "give exactly one of --text, --file and --repl"),
        ("predict --text France", "adapter"),
        ("create --num_runs 0", "num_runs=0"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys: pytest.CaptureFixture[str], command: str, says: str) -> None:
    assert says in refusal(capsys, *command.split())


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_mistakes_are_told_whatever_the_terminal_can_show(encoding: str) -> None:
    """tyro frames what it says in other characters where the terminal has no better ones."""
    done = subprocess.run(
        [sys.executable, "-m", "ia2.cli", "train", "--training_method", "act", "--lr", "many"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ia2: Error parsing --lr: could not convert string to float: 'many'\n"


@pytest.mark.parametrize("subcommand", cli.SUBCOMMANDS)
def test_help_shows_every_spelling_of_a_flag_and_its_default_once(
    capsys: pytest.CaptureFixture[str], subcommand: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        cli.main([subcommand, "--help"])
    shown = capsys.readouterr().out
    assert not re.search(r"\(default: [^()]*\)[ .]*\(default:", shown)
    for flag in cli.SUBCOMMANDS[subcommand].aliases:
        assert f"--{flag} " in shown


def test_help_is_printed_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert all(subcommand in printed for subcommand in cli.SUBCOMMANDS)


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert not stop.value.code
    assert capsys.readouterr().out == f"ia2 {metadata.version('ia2')}\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("mend it"), 2, "mend it"),
        (MachineError("the net is down"), 1, "the net is down"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "No space left on device: /x/y"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device: the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "Permission denied: /x"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/x/y"), 2, "Not a directory: /x/y"),
        (FileExistsError(errno.EEXIST, "File exists", "/x"), 2, "File exists: /x"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), 2, "No such file or directory: /x"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/x"), 2, "Too many levels of symbolic links: /x"),
        (OSError(errno.ESTALE, "Stale file handle", "/x"), 1, "Stale file handle: /x"),
        (OSError(errno.EMFILE, "Too many open files", "/x"), 1, "Too many open files: /x"),
        (MemoryError(), 1, "out of memory"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (KeyboardInterrupt(), 130, "the same command goes on from there"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_failures_have_their_exit_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    def fail(_: Config) -> None:
        raise error

    monkeypatch.setattr(cli, "run", fail)
    assert says in refusal(capsys, "prepare", code=code)


@pytest.mark.parametrize("error", [UserError, MachineError])
def test_whatever_a_message_quotes_it_is_one_short_line_that_a_terminal_only_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: Config) -> None:
        raise error("first \x1b[31m\r\n\x85\u2028\u202e\udcff" + "x" * 5000 + "last")

    monkeypatch.setattr(cli, "run", fail)
    told = refusal(capsys, "prepare", code=2 if error is UserError else 1)
    assert len(told) <= 1000
    assert told.rstrip("\n").isprintable()
    assert "first" in told
    assert "last" in told


@pytest.mark.parametrize("error", [KeyError("bug"), AssertionError("bug"), OSError("no number of the system's")])
def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(_: Config) -> None:
        raise error

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(type(error)):
        cli.main(["prepare"])


# Where output cannot be shown


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"? ?"), ("cp1252", b"? \xe9"), ("utf-8", "→ é".encode())])
def test_characters_that_the_output_cannot_encode_are_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str, shown: bytes
) -> None:
    monkeypatch.setattr(cli, "run", lambda _: sys.stdout.write("→ é\n"))
    with (tmp_path / "out").open("w", encoding=encoding) as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.main(["tasks"]) == 0
        assert sys.stdout is out
    assert (tmp_path / "out").read_bytes() == shown + b"\n"


def test_a_command_whose_reader_leaves_goes_on_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ia2 sweep | head -1`"""
    kept: list[str] = []

    def show_and_keep(_: Config) -> None:
        for number in range(3):
            sys.stdout.write(f"{number} " * 10_000)
            sys.stdout.flush()
            kept.append(f"{number}")

    monkeypatch.setattr(cli, "run", show_and_keep)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.main(["tasks"]) == 141
    assert kept == ["0", "1", "2"]


# How soon


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom ia2.cli import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'pandas', 'datasets', 'matplotlib', 'numpy', 'pyarrow'}\n"
        "heavy |= {'scipy', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
