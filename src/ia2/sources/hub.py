"""Datasets of the hub, through `datasets`, or from the folder that stands for the hub where there is no network.

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
from ia2.sources.files import FILE_TYPES, read_objects
from ia2.sources.tables import Table


class HubError(MachineError):
    """The hub, or the folder that stands for it, did not give the dataset."""


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


def load_split(source: HubSource, split: str) -> Table:
    """One split of a hub dataset: from `$IA2_OFFLINE_DATASETS` where that is set, else through `datasets`.

    As `datasets` has it, a folder of that path below the current one goes before the hub; the table's source says so.
    HubError where the dataset, its configuration or the split cannot be had, with the remedies.
    """
    if folder := os.environ.get("IA2_OFFLINE_DATASETS"):
        return _offline_split(source, split, Path(folder).expanduser())
    local = Path(source.path).is_dir()
    where = f"folder {source}" if local else f"hub {source}"
    print(f"loading {source}, split {split}, {'from a folder' if local else 'from the hub'} ...", file=sys.stderr)  # noqa: T201
    try:
        dataset = _load_dataset(source, split)
    except Exception as error:
        raise HubError(_hub_message(source, split, error)) from error
    revisions = (re.search(r"@([0-9a-f]{40})/", url) for url in dataset.info.download_checksums or {})
    revision = next((found[1] for found in revisions if found and not local), source.revision or "")
    return Table(dataset.to_list(), source=f"{where} {split}", revision=revision)


def _offline_split(source: HubSource, split: str, root: Path) -> Table:
    folder = root / source.folder_name
    for extension in FILE_TYPES:
        path = folder / f"{split}.{extension}"
        if path.is_file():
            return Table(read_objects(path), source=f"file {source.folder_name}/{path.name}")
    raise HubError(
        f"IA2_OFFLINE_DATASETS is set, and {folder} has no {split}.parquet (nor .jsonl, .json, .csv, .tsv) for "
        f"{source}: put the file there, or unset IA2_OFFLINE_DATASETS to ask the hub{_instead(source)}"
    )


def _load_dataset(source: HubSource, split: str) -> Any:  # noqa: ANN401  # datasets ships no types
    import datasets  # noqa: PLC0415  # a second to import

    with _quiet(datasets), _offline_if_unreachable(datasets):
        return datasets.load_dataset(source.path, source.config, split=split, revision=source.revision)


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
    if not before and not _resolves(datasets.config.HF_ENDPOINT):
        print(f"{datasets.config.HF_ENDPOINT} does not resolve: looking in the cache only", file=sys.stderr)  # noqa: T201
        datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def hub_resolves() -> bool:
    """Whether the hub's host name resolves. Where it does not only caches can answer, and its client would retry."""
    return _resolves(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


def _resolves(address: str) -> bool:
    if getproxies():
        return True  # the proxy resolves names, not we
    try:
        socket.getaddrinfo(urlsplit(address).hostname, 443)
    except OSError:
        return False
    return True


def _hub_message(source: HubSource, split: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return f"cannot keep {source}: {error.strerror} ({error.filename}); HF_HOME names another place for its cache"
    reason = " ".join(str(error).split()) or type(error).__name__
    return (
        f"cannot load {source}, split {split}, from the hub: {reason}. Set HF_ENDPOINT to a mirror, or "
        f"HF_HUB_OFFLINE=1 where the cache has it, or IA2_OFFLINE_DATASETS=DIR with a file "
        f"DIR/{source.folder_name}/{split}.parquet (.jsonl, .json, .csv){_instead(source)}"
    )


def _instead(source: HubSource) -> str:
    return f"; without a network, the nearest task is {source.offline_task}" if source.offline_task else ""
