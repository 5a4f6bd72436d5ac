"""README.md of a run's folder, brought up to date with the measurements of its adapter.

Nothing reads it and no digest is of it: a run is the same run with any card.
"""

from pathlib import Path

from ia2 import store
from ia2.report.cards import CARD, NOT_MEASURED, measured_part, model_card, part_of, read_subject, with_part
from ia2.report.results import Record, read_record
from ia2.store.measurements import finished
from ia2.training.trained_run import TrainedRun, read_trained_run


def is_behind(folder: Path, record: Path) -> bool:
    """True where the card of the run in `folder` is missing, or older than this record of it."""
    card = folder / CARD
    if not card.exists() or card.stat().st_mtime_ns < record.stat().st_mtime_ns:
        return True
    return part_of(card.read_text(encoding="utf-8")) == NOT_MEASURED


def refresh_card(root: Path, folder: Path) -> None:
    """Write the numbers of the records of its present adapter into the card of the run in `folder`."""
    with store.file_lock(folder):
        trained, path = read_trained_run(folder), folder / CARD
        part = measured_part(_records_of(root, trained))
        if path.exists():
            card = path.read_text(encoding="utf-8")
        else:  # the run is older than cards are
            card = model_card(read_subject(folder, trained.labels_used))
        with store.atomic_write(path) as temporary:
            temporary.write_text(with_part(card, part), encoding="utf-8")


def _records_of(root: Path, trained: TrainedRun) -> list[Record]:
    """The whole records of this very adapter; their names only narrow down which are read."""
    method, dataset = trained.config.training_method, trained.config.dataset
    folders = [store.evaluations_folder(root, method, dataset, uncertainty) for uncertainty in (False, True)]
    paths = finished(path for folder in folders for path in folder.glob("*.json"))
    read = [read_record(path) for path in paths if path.name.startswith(f"{trained.folder.name}__")]
    digest = store.file_digest(trained.folder / "adapter_model.safetensors")
    return [record for record in read if isinstance(record, Record) and record.adapter_sha256 == digest]
