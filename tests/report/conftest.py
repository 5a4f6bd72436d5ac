"""Stores for the report's tests."""

from pathlib import Path

import pytest
from made_up import MadeUpStore, fill
from undrawn import draw_nothing


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
    draw_nothing(monkeypatch.setattr)
