"""What is left in the folder of a run that failed, whoever noticed it: the worker itself, or who waited for it."""

from pathlib import Path

from ia2 import store

FAILURE = "failure.log"
"""In the folder of a run that failed: what was logged, and the traceback."""


def leave_failure(folder: Path, text: str) -> None:
    """Write it; training the run replaces it."""
    with store.atomic_write(folder / FAILURE) as temporary:
        temporary.write_text(text, encoding="utf-8")
