"""Stores for the report's tests."""

from pathlib import Path

import pytest
from made_up import MadeUpStore, fill
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
    """Files that say where a picture would be, for tests of names: letters take their time."""
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: path.write_text("a picture"))
