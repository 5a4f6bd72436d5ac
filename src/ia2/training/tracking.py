"""The history of a run sent to a tracker as well, through accelerate; no tracker is imported before it is asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ia2.errors import UserError
from ia2.training.trainer import History

Tracker = Literal["tensorboard", "wandb"]


@contextmanager
def tracking(tracker: Tracker, name: str, folder: Path, config: dict[str, Any]) -> Iterator[Callable[[History], None]]:
    """Yield a function that sends one entry of a run's history; TensorBoard's files go to `folder`.

    The tracker, which `check_tracker` has found installed, is closed however the block ends.
    """
    from accelerate import PartialState  # noqa: PLC0415
    from accelerate.tracking import TensorBoardTracker, WandBTracker  # noqa: PLC0415 - only where asked for

    PartialState()  # without it the trackers' own log messages raise
    made: Any = WandBTracker("ia2", name=name) if tracker == "wandb" else TensorBoardTracker(name, logging_dir=folder)
    made.start()

    def send(entry: History) -> None:
        values = {key: value for key, value in entry.items() if key not in ("step", "phase", "epoch")}
        made.log({f"{entry['phase']}/{key}": value for key, value in values.items()}, step=int(entry["step"]))

    try:
        made.store_init_configuration({key: value for key, value in config.items() if value is not None})
        yield send
    finally:
        made.finish()


def check_tracker(tracker: Tracker) -> None:
    """UserError where the tracker is not installed: before the work, not at its end."""
    from accelerate.utils import is_tensorboard_available, is_wandb_available  # noqa: PLC0415 - only where asked for

    available = is_wandb_available() if tracker == "wandb" else is_tensorboard_available()
    if not available:
        raise UserError(f"--track {tracker}: {tracker} is not installed; pip install 'ia2[{tracker}]'")
