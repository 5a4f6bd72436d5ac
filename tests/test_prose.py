"""STYLE's prose and names, read from the syntax tree: docstrings, help texts of flags, and one thing for each name."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import ia2

PACKAGE = Path(ia2.__file__).parent
ROOMS = (
    "tasks",
    "prompts",
    "models",
    "training",
    "evaluation",
    "analysis",
    "results",
    "page",
    "commands",
    "store",
    "sources",
    "config",
    "plots",
    "methods.py",
    "cli.py",
    "errors.py",
)
"""Rooms whose prose is in the manner of STYLE.md."""
NAMES_SHARED = ("results", "page")
"""Rooms whose public names may still be those of another."""
OPENINGS = {"what", "which", "whether", "how", "where", "who", "whose", "why"}
"""A docstring opens with a noun or an imperative verb, never with one of these."""
PHRASES = re.compile(r"\b(stands?|lies|so many|comes? to|(is|are) told|tells?|as it is|as they are)\b", re.IGNORECASE)
"""Words of no meaning of their own."""
NAMES_OF_TWO_THINGS: dict[str, str] = {
    "similarity": "the analysis of models and responses, and the command that selects runs for it",
    "subspace": "the analysis of two updates, and the command that selects runs for it",
}
"""Public names that are allowed to stand for two things, and the reason why."""

Node = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def files_of(room: str) -> list[Path]:
    path = PACKAGE / room
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def texts_of(tree: ast.Module) -> Iterator[str]:
    """Docstrings of modules, classes and functions, and of the fields and constants below which one is written."""
    for node in ast.walk(tree):
        for statement in node.body if isinstance(node, Node) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield text.strip()


FILES = [file for room in ROOMS for file in files_of(room)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_docstrings_open_with_a_noun_or_a_verb_and_say_what_they_mean(file: Path) -> None:
    texts = list(texts_of(ast.parse(file.read_text(encoding="utf-8"))))
    wrong = [text for text in texts if re.split(r"\W+", text)[0].lower() in OPENINGS]
    assert not wrong, wrong
    empty = [found[0] for text in texts if (found := PHRASES.search(text))]
    assert not empty, empty


def test_the_rules_find_what_they_are_for() -> None:
    module = ast.parse('"""Where it is."""\nX = 1\n"""The number that stands alone."""\ndef f():\n    """Sum."""\n')
    where, stands, plain = texts_of(module)
    assert where.split()[0].lower() in OPENINGS
    assert PHRASES.search(stands)
    assert not PHRASES.search(plain)


def test_every_public_name_is_one_thing() -> None:
    named = defaultdict(set)
    for file in FILES:
        if file.parent.name in NAMES_SHARED:
            continue
        if file.name != "__init__.py":
            named[file.stem].add(file)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                named[node.name].add(file)
    twice = {name for name, places in named.items() if len(places) > 1}
    assert twice == set(NAMES_OF_TWO_THINGS)
