"""Stores for the report's tests."""

from pathlib import Path

import pytest
from made_up import MadeUpStore, fill
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@pytest.fixture
def store(tmp_path: Path) -> MadeUpStore:
    """An empty store."""
    return MadeUpStore(tmp_path)


@pytest.fixture
def full_store(store: MadeUpStore) -> MadeUpStore:
    """The store of `fill`."""
    fill(store)
    return store


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and pages that say where a picture would be, for tests of names and words: letters take their time."""
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: path.write_text("a picture"))
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", lambda _, stream, **__: stream.write("<svg></svg>"))
