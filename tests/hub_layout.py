"""Rows written where a hub dataset is looked for: a file that stands for the hub, or a repository laid out as on it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

Objects = Sequence[Mapping[str, object]]


def write_file(root: Path, source: str, split: str, rows: Objects, config: str = "") -> None:
    """Below IA2_OFFLINE_DATASETS."""
    folder = root / (source.replace("/", "__") + (f"__{config}" if config else ""))
    folder.mkdir(exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_repository(root: Path, source: str, split: str, rows: Objects, config: str = "") -> None:
    """Below the current folder; the splits of one configuration, one by one."""
    folder = root / source
    path = folder / (config or "data") / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    if config:
        splits = sorted(file.name.partition("-")[0] for file in path.parent.iterdir())
        files = "".join(f"  - split: {one}\n    path: {config}/{one}-*\n" for one in splits)
        (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n")
