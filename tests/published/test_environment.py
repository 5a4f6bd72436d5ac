"""ia2.yaml, for users of conda: it says the same as `make setup`. conda itself is not run by any test."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def environment() -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load((PROJECT / "ia2.yaml").read_text(encoding="utf-8"))
    return described


def test_it_is_called_as_published_and_has_a_python_that_we_support(environment: dict[str, Any]) -> None:
    assert environment["name"] == "ia2"
    python, pip, packages = environment["dependencies"]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert python.removeprefix("python=") in SpecifierSet(project["requires-python"])
    assert pip == "pip"
    assert packages.keys() == {"pip"}


def test_its_pip_section_installs_what_the_makefile_does(environment: dict[str, Any]) -> None:
    """conda writes the section into a requirements file beside ia2.yaml, from which relative paths are read."""
    constraint, package = environment["dependencies"][-1]["pip"]
    assert re.search(rf"^install = .* {constraint}$", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert (PROJECT / constraint.removeprefix("--constraint ")).is_file()
    assert package == "--editable ."
