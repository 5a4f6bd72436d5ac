"""One store of runs for each shape."""

from collections.abc import Callable
from functools import cache

import pytest
from school import School

SchoolOf = Callable[[str], School]


@pytest.fixture(scope="session")
def school_of(tmp_path_factory: pytest.TempPathFactory) -> SchoolOf:
    """The school of a shape, made when it is first asked for."""
    return cache(lambda shape: School.of(tmp_path_factory.mktemp(f"school-{shape}"), shape))
