"""Packages: real pip on a local folder of packages, and a stand-in for pip where it has to misbehave."""

import errno
import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

from ia2 import store
from ia2.cli import main
from ia2.errors import MachineError
from ia2.sources import PackageSource, extract_member, package_file, packages, read_members, read_nested_member

METADATA = "Metadata-Version: 2.1\nName: invented\nVersion: 1.0\n"
MEMBERS = {
    "invented/data/b.txt": "second",
    "invented/data/a.txt": "first",
    "invented/weights.bin": "w" * 1000,
    "invented-1.0.dist-info/METADATA": METADATA,
    "invented-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "invented-1.0.dist-info/RECORD": "",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nowhere else; and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("IA2_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def wheel(index: Path) -> PackageSource:
    path = index / "invented-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in MEMBERS.items():
            file.writestr(name, content)
    return PackageSource("invented", "1.0", path.name, digest(path.read_bytes()))


@pytest.fixture
def sdist(index: Path) -> PackageSource:
    path = index / "invented-1.0.tar.gz"
    path.write_bytes(archive_of({"invented-1.0/data/x.txt": b"x", "invented-1.0/PKG-INFO": METADATA.encode()}))
    return PackageSource("invented", "1.0", path.name, digest(path.read_bytes()))


def archive_of(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FakePip:
    """Stands where pip is started: `content` is what the index serves, `delay` how long it takes."""

    def __init__(self, content: bytes, filename: str, delay: float = 0.0) -> None:
        self.content, self.filename, self.delay = content, filename, delay
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        time.sleep(self.delay)
        Path(command[command.index("-d") + 1], self.filename).write_bytes(self.content)
        return subprocess.CompletedProcess(command, 0, "", "")


def kept(folder: Path) -> list[str]:
    """What lies in the cache, without the locks."""
    return sorted(p.name for p in (folder / "cache" / "packages").iterdir() if p.suffix != ".lock")


def test_real_pip_fetches_once(
    wheel: PackageSource, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = package_file(wheel)
    assert digest(path.read_bytes()) == wheel.sha256
    assert capsys.readouterr().err == "fetching invented 1.0 from the package index ...\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was started for a file that is cached"))
    assert package_file(wheel) == path
    assert capsys.readouterr().err == ""
    assert kept(tmp_path) == [wheel.filename]


def test_real_pip_refuses_another_hash(wheel: PackageSource, tmp_path: Path) -> None:
    wrong = PackageSource(wheel.name, wheel.version, wheel.filename, "1" * 64)
    with pytest.raises(MachineError, match=f"expected sha256 {'1' * 64}, found {wheel.sha256}"):
        package_file(wrong)
    assert kept(tmp_path) == []


def test_real_pip_finds_no_such_version(wheel: PackageSource, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"cannot fetch invented 2\.0 .*No matching distribution.*PIP_INDEX_URL"):
        package_file(PackageSource(wheel.name, "2.0", "invented-2.0-py3-none-any.whl", wheel.sha256))
    assert kept(tmp_path) == []


def test_an_interpreter_without_pip(wheel: PackageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(MachineError, match=r"bare/bin/python has none: run `.*ensurepip`, or put invented-1\.0"):
        package_file(wheel)
    assert kept(tmp_path) == []


def test_a_corrupt_download_is_refused_by_our_own_check(
    wheel: PackageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", FakePip(b"truncated", wheel.filename))
    with pytest.raises(MachineError, match=f"expected sha256 {wheel.sha256}, found {digest(b'truncated')}"):
        package_file(wheel)
    assert kept(tmp_path) == []


def test_a_cached_file_that_changed_is_fetched_again(wheel: PackageSource) -> None:
    path = package_file(wheel)
    path.write_bytes(path.read_bytes()[:-1])
    assert digest(package_file(wheel).read_bytes()) == wheel.sha256


def test_a_killed_fetch_leaves_nothing_that_counts(wheel: PackageSource, index: Path, tmp_path: Path) -> None:
    script = f"""
import os, signal, subprocess
from pathlib import Path
from ia2.sources import packages
def die_half_way(command, **_):
    Path(command[command.index("-d") + 1], {wheel.filename!r}).write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
subprocess.run = die_half_way
packages.package_file(packages.PackageSource({wheel.name!r}, "1.0", {wheel.filename!r}, {wheel.sha256!r}))
"""
    died = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert wheel.filename not in kept(tmp_path)
    assert digest(package_file(wheel).read_bytes()) == wheel.sha256
    assert kept(tmp_path) == [wheel.filename]


def test_two_at_once_fetch_once(wheel: PackageSource, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = FakePip((index / wheel.filename).read_bytes(), wheel.filename, delay=0.3)
    monkeypatch.setattr(subprocess, "run", pip)
    together = threading.Barrier(2)

    def fetch(_: int) -> Path:
        together.wait()
        return package_file(wheel)

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(fetch, range(2)))) == 1
    assert len(pip.commands) == 1


def test_members_of_a_wheel_come_in_name_order(wheel: PackageSource) -> None:
    assert list(read_members(wheel, "invented/data/").items()) == [
        ("invented/data/a.txt", b"first"),
        ("invented/data/b.txt", b"second"),
    ]
    with pytest.raises(MachineError, match="holds nothing called 'invented/no'"):
        read_members(wheel, "invented/no")


def test_a_source_archive_is_asked_for_and_read_as_one(
    sdist: PackageSource, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = FakePip((index / sdist.filename).read_bytes(), sdist.filename)
    monkeypatch.setattr(subprocess, "run", pip)
    assert read_members(sdist, "invented-1.0/data/") == {"invented-1.0/data/x.txt": b"x"}
    assert extract_member(sdist, "invented-1.0/data/x.txt", digest(b"x")).read_bytes() == b"x"
    assert ("--no-binary", "invented") in zip(pip.commands[0], pip.commands[0][1:], strict=False)


def test_a_member_of_an_archive_inside_a_package(index: Path, tmp_path: Path) -> None:
    content = archive_of({"invented-1.0/inner.tar.gz": archive_of({"data/x.txt": b"x"})})
    package = PackageSource("invented", "1.0", "invented-1.0.tar.gz", digest(content))
    cached = tmp_path / "cache" / "packages" / package.filename
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    assert read_nested_member(package, "invented-1.0/inner.tar.gz", "data/x.txt") == b"x"
    with pytest.raises(MachineError, match=r"inner\.tar\.gz of invented 1\.0 has no member 'data/y\.txt'"):
        read_nested_member(package, "invented-1.0/inner.tar.gz", "data/y.txt")
    with pytest.raises(MachineError, match=r"has no member 'invented-1\.0/other\.tar\.gz'"):
        read_nested_member(package, "invented-1.0/other.tar.gz", "data/x.txt")


def test_a_member_is_extracted_once_and_checked(wheel: PackageSource, monkeypatch: pytest.MonkeyPatch) -> None:
    path = extract_member(wheel, "invented/weights.bin", digest(b"w" * 1000))
    assert path.read_bytes() == b"w" * 1000
    path.write_bytes(b"w" * 999)
    assert extract_member(wheel, "invented/weights.bin", digest(b"w" * 1000)).read_bytes() == b"w" * 1000
    monkeypatch.setattr(packages, "package_file", lambda _: pytest.fail("the package was opened for nothing"))
    assert extract_member(wheel, "invented/weights.bin", digest(b"w" * 1000)) == path


def test_a_member_that_is_missing_or_another_leaves_nothing(wheel: PackageSource, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"weights\.bin of invented 1\.0 is corrupt: expected sha256 1"):
        extract_member(wheel, "invented/weights.bin", "1" * 64)
    with pytest.raises(MachineError, match=r"has no member 'invented/other\.bin'"):
        extract_member(wheel, "invented/other.bin")
    assert [p for p in (tmp_path / "cache").rglob("*") if "weights" in p.name and p.suffix != ".lock"] == []


def test_a_full_disk_is_one_line_and_leaves_nothing(
    wheel: PackageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(_source: object, file: io.BufferedWriter, _size: int) -> None:
        file.write(b"w")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packages.shutil, "copyfileobj", fill_up)
    with pytest.raises(MachineError, match=r"cannot write .*weights\.bin: No space left on device; IA2_CACHE"):
        extract_member(wheel, "invented/weights.bin")
    assert [p for p in (tmp_path / "cache").rglob("*") if "weights" in p.name and p.suffix != ".lock"] == []


def test_a_cache_that_cannot_be_made(wheel: PackageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IA2_CACHE", str(tmp_path / "file"))
    with pytest.raises(MachineError, match=r"cannot write .*IA2_CACHE names another place"):
        package_file(wheel)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert packages.cache_folder() == Path("/x/ia2")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert packages.cache_folder() == Path.home() / ".cache" / "ia2"


def test_a_source_tree_without_metadata_has_versions_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known, hidden = metadata.version, ("ia2", "datasets", "pytest")

    def version(name: str) -> str:
        if name in hidden:
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", version)
    assert main(["prepare", "--datasets", "capitals", "--root", str(tmp_path)]) == 0
    assert store.read_object(tmp_path / "data" / "capitals" / "provenance.json").keys() == {"ia2", "datasets"}
    assert packages.version_of("pytest") == pytest.__version__
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert not stop.value.code
    assert capsys.readouterr().out.startswith("ia2 ")
