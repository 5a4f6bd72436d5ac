"""What each stage took, added up from what the store says of itself, so that a resumed run shows the same."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import parse_method
from ia2.results.records import Record
from ia2.results.runs import TrainedRun, config_key
from ia2.store import check_files, description_path, read_object
from ia2.store.measurements import Examined, Problem, finished


@dataclass(frozen=True)
class StageCost:
    """What a stage took; `num_bytes` is what it wrote, None where it was not counted."""

    name: str
    seconds: float
    num_bytes: int | None = None
    note: str = ""


def stage_costs(
    root: Path, records: Sequence[Record], runs: Sequence[TrainedRun], filtered: bool = False
) -> tuple[StageCost, ...]:
    """Seconds and bytes of collecting, training by method, and evaluating, of these records and runs.

    Of collecting all that stands below `root`, or where `filtered` what was collected on the splits of these runs.
    """
    folders = [run.folder for run in runs if run.folder is not None]
    targets = examine_targets(root).found
    if filtered:
        splits = {read_object(description_path(folder)).get("split_sha256") for folder in folders}
        targets = tuple(one for one in targets if one.manifest.get("split_sha256") in splits)
    return (*_collecting(targets), *_training(folders), *_evaluating(records))


@dataclass(frozen=True)
class TargetSet:
    """Targets in the store, and what their manifest says."""

    folder: Path
    manifest: Mapping[str, Any]


def examine_targets(root: Path) -> Examined[TargetSet]:
    """Every set of targets below `root`, and those of which a file is cut or missing, or the manifest damaged."""
    found, problems = [], []
    for path in finished((root / "outputs" / "targets").glob("[!.]*/manifest.json")):
        try:
            manifest = read_object(path)
            check_files(path.parent, manifest.get("files", {}), tensors=False)
            found.append(TargetSet(path.parent, manifest))
        except UserError as error:
            problems.append(Problem(path.parent, str(error)))
    return Examined(tuple(found), tuple(problems))


def _collecting(targets: Sequence[TargetSet]) -> Iterator[StageCost]:
    if targets:
        seconds = sum(one.manifest["seconds"] for one in targets)
        note = f"{len(targets)} sets, shared by all methods and learning rates"
        yield StageCost("collect targets", seconds, _bytes(one.folder for one in targets), note)


def _training(folders: Sequence[Path]) -> Iterator[StageCost]:
    by_method: dict[str, list[Path]] = {}
    for folder in folders:
        by_method.setdefault(read_object(description_path(folder))["config"]["training_method"], []).append(folder)
    for method, runs in by_method.items():
        seconds = sum(read_object(folder / "final_loss_statistics.json")["seconds"] for folder in runs)
        last = ", their last phase" if parse_method(method).first else ""
        yield StageCost(f"train {method}", seconds, _bytes(runs), f"{len(runs)} runs{last}")


def _evaluating(records: Sequence[Record]) -> Iterator[StageCost]:
    if records:
        seconds = sum(sum(record.timings.values()) for record in records)
        size = sum(file.stat().st_size for record in records for file in (record.path, record.rows))
        yield StageCost("evaluate", seconds, size, f"{len(records)} records")


def _bytes(folders: Iterable[Path]) -> int:
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file())


def training_seconds(records: Iterable[Record], runs: Iterable[TrainedRun]) -> dict[str, float]:
    """`seconds_to_train` of the run of each adapter's record, by the record's path."""
    from_key = {run.key: run for run in runs}
    return {str(record.path): seconds_to_train(record.run, from_key) for record in records if record.run}


def seconds_to_train(config: TrainConfig, runs: Mapping[str, TrainedRun]) -> float:
    """Seconds of fitting, summed over phases, that of the run it starts from included; `runs` by their key.

    NaN where a run is not among them, or does not say: half a cost would look like a low one.
    """
    run = runs.get(config_key(config))
    own = math.nan if run is None or run.seconds is None else run.seconds
    first = config.method.first
    if first is None or config.continue_training is not None:
        return own
    return own + seconds_to_train(config.model_copy(update={"training_method": str(first)}), runs)
