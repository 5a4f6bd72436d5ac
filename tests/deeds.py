"""What processes of a command finish and load, a line each, counted in a file that the environment names."""

import os
import sys
from pathlib import Path

from ia2.config import ModelConfig
from ia2.models import loading
from ia2.models.loading import LanguageModel

DEEDS = "IA2_TEST_DEEDS"
"""Where each process that a request starts writes, a line each, what it renames, and so finishes, and loads."""


def count_deeds() -> None:
    """Count those of this process from now on."""

    def note(deed: object) -> None:
        with Path(os.environ[DEEDS]).open("a", encoding="utf-8") as stream:
            stream.write(f"{deed}\n")

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename":
            note(arguments[1])

    def load_model(config: ModelConfig) -> LanguageModel:
        note(f"model loaded by {os.getpid()}")
        return load(config)

    load = loading.load_model
    sys.addaudithook(hook)
    loading.load_model = load_model  # type: ignore[attr-defined]
