"""What is handed out: a source archive, the wheel that pip builds of it, and an installation of that wheel.

Each is made once, from the one before. Dependencies are those of this environment, so nothing is fetched.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pytest
from made_up import MadeUpStore, config

PROJECT = Path(__file__).parents[1]
SHIPPED = ("src", "tests", "scripts", "benchmarks", "examples", "experiments", "docs")
FILES = {
    "ia2.yaml",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
}
OF_THE_ARCHIVE = {"PKG-INFO", ".gitignore"}
OF_THE_WHEEL = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def run(*command: str | Path, cwd: Path = PROJECT, first: Path | None = None) -> str:
    """What a command prints; Python looks for packages in `first` before anywhere else."""
    done = subprocess.run(command, cwd=cwd, env=environment(first), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(first: Path | None) -> dict[str, str]:
    """This one, without what it says of models and roots."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("IA2_")}
    found = [str(first)] * (first is not None) + [kept.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, found))}


@dataclass(frozen=True)
class Handed:
    """What was built, and where it is installed."""

    archive: Path
    wheel: Path
    site: Path

    def python(self, program: str, cwd: Path) -> str:
        return run(sys.executable, "-W", "error", "-c", program, cwd=cwd, first=self.site)

    def ia2(self, *arguments: str, cwd: Path) -> str:
        return run(sys.executable, self.site / "bin" / "ia2", *arguments, cwd=cwd, first=self.site)


@pytest.fixture(scope="session")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    folder = tmp_path_factory.mktemp("handed")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder)
    (archive,) = folder.glob("*.tar.gz")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, archive)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--no-compile", "--target", folder / "site", wheel)
    return Handed(archive, wheel, folder / "site")


def files_below(folder: Path) -> Iterator[Path]:
    """Its files, without what Python keeps beside them."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def contents(folder: Path, *below: str) -> dict[str, bytes]:
    """Files by their name in `folder`."""
    found = [path for part in below for path in files_below(folder / part)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_archive_holds_the_project_and_nothing_else(handed: Handed) -> None:
    with tarfile.open(handed.archive) as file:
        members = {one.name.split("/", 1)[1]: file.extractfile(one) for one in file.getmembers() if one.isfile()}
        found = {name: member.read() for name, member in members.items() if member}
    expected = contents(PROJECT, *SHIPPED) | {name: (PROJECT / name).read_bytes() for name in FILES}
    assert found.keys() == expected.keys() | OF_THE_ARCHIVE
    assert {name for name in expected if found[name] != expected[name]} == set()


def test_the_wheel_holds_the_package_and_nothing_else(handed: Handed) -> None:
    with zipfile.ZipFile(handed.wheel) as file:
        found = {name: file.read(name) for name in file.namelist()}
    told = next(name for name in found if name.endswith("METADATA")).removesuffix("METADATA")
    expected = contents(PROJECT / "src", "ia2")
    assert found.keys() == expected.keys() | {told + name for name in OF_THE_WHEEL}
    assert {name for name in expected if found[name] != expected[name]} == set()
    assert {
        "ia2/py.typed",
        "ia2/__init__.pyi",
        "ia2/tasks/data/capitals.tsv",
        "ia2/tasks/datasets/sst2.toml",
        "ia2/page/page.css",
    } <= found.keys()
    metadata = message_from_bytes(found[f"{told}METADATA"])
    assert (metadata["Name"], metadata["License-Expression"]) == ("ia2", "Apache-2.0")
    assert metadata["Requires-Python"] == "<3.13,>=3.11"
    assert "make demo" in metadata.get_payload()


def test_an_installation_is_what_the_wheel_holds(handed: Handed, tmp_path: Path) -> None:
    assert contents(handed.site, "ia2") == contents(PROJECT / "src", "ia2")
    assert handed.python("import ia2; print(ia2.__file__)", tmp_path).strip() == str(handed.site / "ia2/__init__.py")


def test_its_command_knows_its_version_and_its_tasks(handed: Handed, tmp_path: Path) -> None:
    version = handed.wheel.name.split("-")[1]
    assert handed.ia2("--version", cwd=tmp_path) == f"ia2 {version}\n"
    assert handed.ia2("tasks", cwd=tmp_path).startswith("capitals\n")


def test_its_data_and_its_templates_are_found_and_its_names_can_be_imported(handed: Handed, tmp_path: Path) -> None:
    """In one process, since what they import takes most of the time."""
    MadeUpStore(tmp_path).adapter(config("tok"), 70.0, 0.5)
    handed.python(
        "import ia2\n"
        "from ia2.cli import main\n"
        "assert main(['prepare', '--datasets', 'capitals', 'past_tense']) == 0\n"
        "assert main(['report']) == 0\n"
        "ia2.fit",
        tmp_path,
    )
    assert {path.parent.name for path in tmp_path.glob("data/*/main.json")} == {"capitals", "past_tense"}
    assert "</html>" in (tmp_path / "reports" / "report.html").read_text(encoding="utf-8")


USER = """
from pathlib import Path

import ia2
from ia2 import Adapter, Prediction, TrainConfig


def answer(texts: list[str]) -> list[str | None]:
    adapter: Adapter = ia2.fit([("a fine film", "good"), ("two hours of noise", "bad")], model="smollm2-135m")
    predictions: list[Prediction] = adapter.predict(texts)
    return [prediction.answer for prediction in predictions]


def folder_of(method: str) -> Path:
    return ia2.train(TrainConfig(training_method=method, lr=1e-3))
"""


@pytest.mark.slow
def test_a_strict_type_checker_accepts_what_users_write_and_finds_their_mistakes(
    handed: Handed, tmp_path: Path
) -> None:
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(
        USER.replace(" -> Path", " -> int").replace("prediction.answer ", "prediction.no ")
    )
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "right.py", "wrong.py"],
        cwd=tmp_path,
        env=environment(handed.site),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    mistakes = [line.split(": ", 2)[::2] for line in done.stdout.splitlines() if ": error: " in line]
    assert [(file.split(":")[0], told) for file, told in mistakes] == [
        ("wrong.py", '"Prediction" has no attribute "no"  [attr-defined]'),
        ("wrong.py", 'Incompatible return value type (got "Path", expected "int")  [return-value]'),
    ]
