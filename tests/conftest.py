"""What tests of several folders share."""

import gc
from pathlib import Path

import pytest
from tiny import save_tiny_model


def pytest_collection() -> None:
    """No garbage is looked for among thousands of tests and what they import, none of which ever is."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor is it afterwards."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with its tokenizer, saved so that load_model(ModelConfig(model_id=str(folder))) takes it."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")
