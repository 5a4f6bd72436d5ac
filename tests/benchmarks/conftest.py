"""The benchmarks are scripts beside each other: their folder is where they find each other."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="package", autouse=True)
def quick_collection() -> Iterator[None]:
    """Garbage is collected before every measurement, which takes long where all that pytest holds is looked through."""
    gc.freeze()
    yield
    gc.unfreeze()
