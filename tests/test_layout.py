"""The import rules of DESIGN.md section 1, read from the syntax tree of every file."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import ia2

PACKAGE = Path(ia2.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
SHARED = {"config", "store", "sources", "errors", "methods"}
ORDER = ["tasks", "prompts", "models", "training", "evaluation", "analysis", "commands", "flows", "cli"]
SHOWN = ["results", "plots", "tables", "page"]
"""Beside the order: from records to what people see. Plots and tables do not use each other."""
PURE = {"calibration", "metrics", "statistics"}
"""Modules of `evaluation` that import nothing of ours but each other."""


def module_of(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(file: Path) -> Iterator[tuple[str, ...]]:
    """The modules that a file imports, at the top and within functions, as parts of their full name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            base = tuple((node.module or "").split("."))
            yield from ((*base, alias.name) for alias in node.names)


def ours(file: Path) -> set[tuple[str, ...]]:
    """Our own modules among them, without `ia2`."""
    return {parts[1:] for parts in imports(file) if parts[0] == "ia2" and len(parts) > 1}


def files_of(folder: str) -> list[Path]:
    return [file for file in FILES if module_of(file)[:1] == (folder,)]


def may_import(importer: str, imported: str) -> bool:
    """Whether a file of one part of the package may import from another."""
    if importer == imported or imported in SHARED:
        return True
    if importer in SHARED:
        return False
    if imported in SHOWN and importer in SHOWN:
        return SHOWN.index(imported) < SHOWN.index(importer) and (imported, importer) != ("plots", "tables")
    if imported in SHOWN:
        return importer in ("commands", "flows")
    if importer in SHOWN:
        return imported in ("tasks", "evaluation", "analysis")
    return importer in ORDER and imported in ORDER and ORDER.index(imported) < ORDER.index(importer)


def test_every_part_of_the_package_has_its_rule() -> None:
    parts = {module_of(file)[0] for file in FILES if module_of(file)}
    assert parts == SHARED | set(ORDER) | set(SHOWN)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_one_way(file: Path) -> None:
    module = module_of(file)
    if not module:
        return  # ia2/__init__.py gives names away and imports none
    wrong = [".".join(parts) for parts in ours(file) if not may_import(module[0], parts[0])]
    assert not wrong, f"{'.'.join(module)} imports {', '.join(sorted(wrong))}"


def test_the_package_itself_imports_nothing() -> None:
    assert not ours(PACKAGE / "__init__.py")


def test_measures_and_losses_import_nothing_of_ours() -> None:
    measures = [file for file in files_of("evaluation") if file.stem in PURE]
    assert {file.stem for file in measures} == PURE
    for file in [*measures, PACKAGE / "training" / "losses.py"]:
        assert {parts for parts in ours(file) if parts[:1] != ("evaluation",) or parts[1] not in PURE} == set(), file


@pytest.mark.parametrize("folder", ["config", "tasks", "report", "methods", "errors", "store"])
def test_no_torch_is_named_where_there_should_be_none(folder: str) -> None:
    heavy = {"torch", "transformers", "peft", "safetensors", "accelerate"}
    for file in files_of(folder):
        assert not {parts[0] for parts in imports(file)} & heavy, file


def test_the_command_line_imports_what_is_heavy_only_when_it_runs() -> None:
    light = {f"ia2.{part}" for part in SHARED}
    for file, more in (("cli.py", {"ia2.flows.commands"}), ("flows/commands.py", set())):
        tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ia2")]
        assert {node.module for node in top} <= light | more


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("training", "models", True),
        ("models", "training", False),
        ("tasks", "prompts", False),
        ("store", "tasks", False),
        ("page", "training", False),
        ("results", "tasks", True),
        ("training", "results", False),
        ("training", "evaluation", False),
        ("results", "evaluation", True),
        ("page", "analysis", True),
        ("analysis", "results", False),
        ("page", "plots", True),
        ("results", "tables", False),
        ("tables", "plots", False),
        ("cli", "flows", True),
    ],
)
def test_the_rules_themselves(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) == allowed


def test_what_reads_and_shows_loads_no_torch() -> None:
    """What they import may import something in turn: load all of their modules in a process of its own."""
    folders = ("config", "tasks", *SHOWN, "analysis", "cli", "store", "sources")
    modules = [".".join(("ia2", *module_of(file))) for folder in folders for file in files_of(folder)]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    for public in ia2.__all__:
        assert getattr(ia2, public).__name__ == public


def test_what_is_imported_is_a_dependency_and_every_dependency_is_imported() -> None:
    """Optional ones may be imported and need not be, and those of development may not."""
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(*requirements: str) -> set[str]:
        found = {re.split(r"[<>= ]", one)[0].replace("-", "_") for one in requirements}
        return {"sklearn" if name == "scikit_learn" else name for name in found}

    runtime, optional = names(*project["dependencies"]), project["optional-dependencies"]
    imported = {parts[0] for file in FILES for parts in imports(file)} - {"ia2"} - sys.stdlib_module_names
    assert runtime - imported == {"gguf"}, "which transformers imports, to read the embedded model"
    assert imported - runtime <= names(*(one for extra in optional.keys() - {"dev"} for one in optional[extra]))


def test_versions_are_looked_up_in_one_place() -> None:
    """Where metadata is missing, as in a source tree, one function knows what to say."""
    found = {
        module_of(file) for file in FILES if any(parts[:2] == ("importlib", "metadata") for parts in imports(file))
    }
    assert found == {("sources", "packages")}
