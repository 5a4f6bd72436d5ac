"""What the documents tell a person to type works: every command and all Python in them, in their order.

In a fenced block of `sh` each line is a command and in one of `python` all is run; `text` and `console` are not. The
embedded model is a tiny one here, under its name.
"""

import csv
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from undrawn import draw_nothing

import ia2
from ia2.cli import SUBCOMMANDS, main, parse_arguments
from ia2.config import EMBEDDED_MODEL
from ia2.models import loading

ROOT = Path(__file__).parents[1]
LONG = "docs/commands.md"
"""It draws every plot there is."""
DOCUMENTS = ("README.md", "docs/tutorial.md", "docs/sweeps.md", LONG)
ELSEWHERE = {"make demo": ROOT / "tests" / "flows" / "test_demo.py"}
"""Commands of a document that a test of their own runs."""


@dataclass(frozen=True)
class Block:
    """A fenced block that is run."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of `sh`, those joined that end in a backslash."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def blocks_of(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert {language for language, _ in found} <= {"sh", "python", "text", "console"}, "say what a block is"
    return [Block(*one) for one in found if one[0] in ("sh", "python")]


@pytest.fixture
def empty_folder(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a document begins: nothing but a person's own rows. These are invented."""
    known = loading.model_folder
    tiny = {EMBEDDED_MODEL: str(tiny_model_folder)}
    for place in (ia2, loading):  # the package keeps a name once it was asked for, which must be the true one
        monkeypatch.setattr(place, "model_folder", lambda model_id: tiny.get(model_id) or known(model_id))
    for name in ("IA2_ROOT", "IA2_MODEL_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with Path("reviews.csv").open("w", encoding="utf-8", newline="") as stream:
        words = [("good", "a fine film"), ("bad", "two hours of noise")]
        rows = [[f"{text}, the {i}th of its kind", label] for i in range(8) for label, text in words]
        csv.writer(stream).writerows([["text", "label"], *rows])
    Path("new.csv").write_text("text\nnot bad at all\n", encoding="utf-8")
    return tmp_path


def run_line(line: str) -> None:
    """A command of ours in this process, another in a shell; make in the repository."""
    words = shlex.split(line, comments=True)
    if words[0] == "ia2":
        assert main(words[1:]) == 0, line
    elif line in ELSEWHERE:
        assert ELSEWHERE[line].exists()
    else:
        where = ROOT if words[0] == "make" else Path.cwd()
        subprocess.run(["bash", "-ec", line], cwd=where, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("document", [*DOCUMENTS[:-1], pytest.param(LONG, marks=pytest.mark.slow)])
def test_what_a_document_says_to_type_works(document: str, empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The long one draws; the others save empty figures."""
    if document != LONG:
        draw_nothing(monkeypatch.setattr)
    blocks = blocks_of(document)
    assert sum(len(block.commands) for block in blocks if block.language == "sh") >= 1
    spaces: dict[str, object] = {}
    for block in blocks:
        if block.language == "python":
            exec(compile(block.text, document, "exec"), spaces)
        else:
            for line in block.commands:
                run_line(line)


def test_every_command_of_the_long_document_can_be_read() -> None:
    """Those of the others are run above, without `slow`."""
    lines = [line for block in blocks_of(LONG) for line in block.commands if block.language == "sh"]
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[0] != "ia2" or parse_arguments(words[1:])


def test_the_demo_is_what_make_runs() -> None:
    """And what tests/flows/test_demo.py runs, at reduced size."""
    assert re.search(r"^demo:.*\n\t\$\(VENV\)/bin/ia2 demo$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert 'REDUCED = ["demo"' in ELSEWHERE["make demo"].read_text(encoding="utf-8")


def inline_commands() -> list[tuple[str, str]]:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        (file.name, command)
        for file in documents
        for command in re.findall(r"`ia2 ([^`]+)`", file.read_text(encoding="utf-8").replace("\n", " "))
    ]


def test_commands_within_sentences_exist() -> None:
    named = inline_commands()
    assert len(named) > 30
    for file, command in named:
        subcommand, *words = command.split()
        if subcommand in ("COMMAND", "--help"):
            continue
        assert subcommand in SUBCOMMANDS, f"{file}: ia2 {command}"
        config = SUBCOMMANDS[subcommand]
        flags = {word[2:] for word in words if word.startswith("--")} - {"help"}
        assert flags <= {*config.model_fields, *config.aliases}, f"{file}: ia2 {command}"


def test_no_command_is_left_out_of_the_documents() -> None:
    """Each stands in one of those that are run, or, as the demo, is said to."""
    lines = [line for document in DOCUMENTS for block in blocks_of(document) for line in block.commands]
    typed = {shlex.split(line, comments=True)[1] for line in lines if line.startswith("ia2 ")}
    assert SUBCOMMANDS.keys() - typed == {"demo", "run"}
