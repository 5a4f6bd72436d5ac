"""Stores for the report's tests."""

from pathlib import Path

import pytest
from made_up import MadeUpStore, fill


@pytest.fixture
def store(tmp_path: Path) -> MadeUpStore:
    """An empty store."""
    return MadeUpStore(tmp_path)


@pytest.fixture
def full_store(store: MadeUpStore) -> MadeUpStore:
    """The store of `fill`."""
    fill(store)
    return store
