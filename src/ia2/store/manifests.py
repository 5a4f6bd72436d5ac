"""Files by their size and digest, as a run and a set of targets list theirs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ia2.errors import UserError
from ia2.store.digests import file_digest
from ia2.store.files import read_object
from ia2.store.places import DESCRIPTION, description_path

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
RUN_FILES = (*ADAPTER_FILES, "final_loss_statistics.json", "history.jsonl")
"""Files of a run that decide an answer or a number."""

Files = Mapping[str, Mapping[str, Any]]


def list_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """{name: {size, sha256}} of files in a folder."""
    paths = {name: folder / name for name in names}
    return {name: {"size": path.stat().st_size, "sha256": file_digest(path)} for name, path in paths.items()}


def check_files(folder: Path, files: Files, tensors: bool = True) -> None:
    """UserError that names the first file which is not as listed; without `tensors`, large ones by their size alone."""
    for name, listed in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing; delete the folder to have it made again")
        whole = path.stat().st_size == listed["size"]
        if whole and (tensors or path.suffix != ".safetensors"):
            whole = file_digest(path) == listed["sha256"]
        if not whole:
            raise UserError(f"{path} is damaged: it is not as it was written; delete the folder to have it made again")


def read_description(folder: Path, tensors: bool = True) -> dict[str, Any]:
    """What describes the run in `folder`, once it and the files it lists are found whole (`tensors` as in check_files).

    UserError names what is damaged or missing. The first edition listed no files: they have to exist.
    """
    path = description_path(folder)
    description = read_object(path, has_digest=path.name == DESCRIPTION)
    check_files(folder, description.get("files", {}), tensors)
    if missing := [name for name in (*ADAPTER_FILES, "final_loss_statistics.json") if not (folder / name).is_file()]:
        raise UserError(f"{folder / missing[0]} is missing; delete the folder to have the run trained again")
    return description
