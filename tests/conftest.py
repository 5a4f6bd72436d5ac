"""What tests of several folders share."""

import gc
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from commands import Commands
from made_up import MadeUpStore, fill
from rounding import another_rounding
from tiny import save_tiny_model
from undrawn import draw_nothing


def pytest_collection() -> None:
    """No garbage is looked for among thousands of tests and what they import, none of which ever is."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor is it afterwards."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def processor() -> Iterator[None]:
    """This machine's, or with IA2_ROUNDING=number one that rounds otherwise."""
    seed = int(os.environ.get("IA2_ROUNDING", "0"))
    with another_rounding(seed) if seed else nullcontext():
        yield


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with its tokenizer, saved so that load_model(ModelConfig(model_id=str(folder))) takes it."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """A command server, for the tests that end processes."""
    with Commands() as server:
        yield server


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
