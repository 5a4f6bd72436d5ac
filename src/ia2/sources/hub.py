"""Datasets of the hub, through `datasets`, or from a folder in its place where there is no network.

`datasets` runs no scripts of a dataset any more, and neither do we. What is published as a script is read from the
parquet files that the hub converts it to, on the branch refs/convert/parquet: {configuration}/{split}/0000.parquet.
They are fetched with the hub's client, whose cache serves them without a network; `datasets` finds a branch's files
only by asking the hub again.

All the ways in which the hub can fail become one error with the remedies. Heavy imports happen in the functions that
need them: `ia2 --help` must be instant.
"""

import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from ia2.errors import MachineError
from ia2.sources.provenance import Table
from ia2.sources.row_files import FILE_TYPES, iterate_objects

_CONVERSION = "refs/convert/parquet"


class HubError(MachineError):
    """The hub, or the folder in its place, did not give the dataset."""


@dataclass(frozen=True)
class HubSource:
    """A dataset of the hub: `config` is its configuration, `offline_task` the nearest task that needs no network."""

    path: str
    config: str | None = None
    offline_task: str = ""
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.path} ({self.config})" if self.config else self.path

    @property
    def folder_name(self) -> str:
        return self.path.replace("/", "__") + (f"__{self.config}" if self.config else "")


def load_hub_split(source: HubSource, split: str) -> Table:
    """One split of a hub dataset: from `$IA2_OFFLINE_DATASETS` where that is set, else through `datasets`.

    As `datasets` has it, a folder of that path below the current one goes before the hub; the table's source says so,
    as it does where the hub's conversion to parquet was read. HubError where the dataset, its configuration, revision
    or split cannot be had, with the remedies and, of configurations and splits, those that there are.
    """
    if folder := os.environ.get("IA2_OFFLINE_DATASETS"):
        return _offline_split(source, split, Path(folder).expanduser())
    local = Path(source.path).is_dir()
    print(f"loading {source}, split {split}, {'from a folder' if local else 'from the hub'} ...", file=sys.stderr)  # noqa: T201
    try:
        if not local:
            return _load_from_hub(source, split)
        import datasets  # noqa: PLC0415  # a second to import

        with _quiet(datasets):
            rows = datasets.load_dataset(source.path, source.config, split=split).to_list()
        return Table(rows, source=f"folder {source} {split}")
    except Exception as error:
        raise HubError(_hub_message(source, split, error)) from error


def _offline_split(source: HubSource, split: str, root: Path) -> Table:
    folder = root / source.folder_name
    for extension in FILE_TYPES:
        path = folder / f"{split}.{extension}"
        if path.is_file():
            return Table(list(iterate_objects(path)), source=f"file {source.folder_name}/{path.name}")
    there = ", ".join(sorted({path.stem for path in folder.glob("*.*") if path.suffix[1:] in FILE_TYPES}))
    raise HubError(
        f"IA2_OFFLINE_DATASETS is set, and {folder} has no {split}.parquet (nor .jsonl, .json, .csv, .tsv) for "
        f"{source}{f' (splits there: {there})' if there else ''}: put the file there, or unset "
        f"IA2_OFFLINE_DATASETS to ask the hub{_instead(source)}"
    )


def _load_from_hub(source: HubSource, split: str) -> Table:
    """One split from the hub or its cache; its conversion where the dataset is a script, or only that is cached."""
    import datasets  # noqa: PLC0415

    with _quiet(datasets), _offline_if_unreachable(datasets):
        if source.revision == _CONVERSION:
            return _load_conversion(source, split, datasets)
        try:
            dataset = datasets.load_dataset(source.path, source.config, split=split, revision=source.revision)
        except Exception as error:
            is_script = isinstance(error, RuntimeError) and "scripts are no longer supported" in str(error)
            if is_script and source.revision:
                raise ValueError(
                    f"its revision {source.revision} is a script, and the hub converts the newest one only: give no "
                    "revision"
                ) from None
            if is_script:
                taken = f"{source} is published as a script: taking the hub's conversion of it to parquet"
                print(taken, file=sys.stderr)  # noqa: T201
                return _load_conversion(source, split, datasets)
            if source.revision or not datasets.config.HF_HUB_OFFLINE:
                raise
            try:
                return _load_conversion(source, split, datasets)
            except FileNotFoundError:  # the hub's client has no conversion in its cache either
                raise error from None
        # `datasets` names the cache's folder by the commit; a revision that its cache has not is for us to notice
        folders = [Path(file["filename"]).parent.name for file in dataset.cache_files]
        commit = next((name for name in folders if re.fullmatch("[0-9a-f]{40}", name)), "")
        if source.revision and source.revision != commit and datasets.config.HF_HUB_OFFLINE:
            raise ValueError(
                f"the cache has revision {commit or 'unknown'}, not {source.revision}, which needs the hub"
            )
    return Table(dataset.to_list(), source=f"hub {source} {split}", revision=commit or source.revision or "")


def _load_conversion(source: HubSource, split: str, datasets: Any) -> Table:  # noqa: ANN401
    """One split of the converted files, which the hub's client caches below {commit}/{configuration}.

    The configuration is the one requested, else the only one, else `default`; ValueError lists the valid ones.
    """
    import huggingface_hub  # noqa: PLC0415

    offline = datasets.config.HF_HUB_OFFLINE
    hub = huggingface_hub.HfApi(endpoint=datasets.config.HF_ENDPOINT)
    at: dict[str, Any] = {"repo_type": "dataset", "revision": _CONVERSION}
    if offline:
        there = Path(hub.snapshot_download(source.path, **at, allow_patterns=[], local_files_only=True))
        names = {path.name for path in there.iterdir() if path.is_dir()}
    else:
        files = hub.list_repo_files(source.path, **at)
        names = {name.partition("/")[0] for name in files if "/" in name}
    name = source.config or (next(iter(names)) if len(names) == 1 else "default")
    if name not in names:
        raise ValueError(f"there is no configuration {name!r}; valid: {', '.join(sorted(names)) or 'none'}")
    patterns = f"{name}/*.parquet"
    folder = Path(hub.snapshot_download(source.path, **at, allow_patterns=patterns, local_files_only=offline))
    rows = datasets.load_dataset(str(folder / name), split=split).to_list()
    return Table(rows, source=f"hub {source} {split}, converted to parquet", revision=folder.name)


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:  # noqa: ANN401
    """No log lines and no progress bars of `datasets` and the hub's client; a user's own setting of them stays."""
    import huggingface_hub.utils  # noqa: PLC0415

    libraries = (datasets, huggingface_hub.utils)
    levels = [library.logging.get_verbosity() for library in libraries]
    set_by_user = {"HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_PROGRESS_BARS"} & os.environ.keys()
    silenced = [] if set_by_user else [library for library in libraries if not library.are_progress_bars_disabled()]
    for library in libraries:
        library.logging.set_verbosity(library.logging.CRITICAL)
    for library in silenced:
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.logging.set_verbosity(level)
        for library in silenced:
            library.enable_progress_bars()


@contextmanager
def _offline_if_unreachable(datasets: Any) -> Iterator[None]:  # noqa: ANN401
    """Go straight to the cache where the hub's name does not resolve: the hub's client would retry for 23 seconds."""
    before = datasets.config.HF_HUB_OFFLINE
    if not before and not hub_resolves(datasets.config.HF_ENDPOINT):
        print(f"{datasets.config.HF_ENDPOINT} does not resolve: looking in the cache only", file=sys.stderr)  # noqa: T201
        datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def hub_resolves(address: str | None = None) -> bool:
    """True if the hub's host name resolves; else only caches can answer, and the hub's client would retry."""
    if getproxies():
        return True  # the proxy resolves names, not we
    try:
        socket.getaddrinfo(urlsplit(address or os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname, 443)
    except OSError:
        return False
    return True


def _hub_message(source: HubSource, split: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return f"cannot keep {source}: {error.strerror} ({error.filename}); HF_HOME names another place for its cache"
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if Path(source.path).is_dir():
        return (
            f"cannot load {source}, split {split}, from the folder {source.path}, which goes before the hub: {reason}. "
            "Mend it, or move it out of the current folder to ask the hub"
        )
    return (
        f"cannot load {source}, split {split}, from the hub: {reason}. Set HF_ENDPOINT to a mirror, or "
        f"HF_HUB_OFFLINE=1 where the cache has it, or IA2_OFFLINE_DATASETS=DIR with a file "
        f"DIR/{source.folder_name}/{split}.parquet (.jsonl, .json, .csv){_instead(source)}"
    )


def _instead(source: HubSource) -> str:
    return f"; without a network, the nearest task is {source.offline_task}" if source.offline_task else ""
