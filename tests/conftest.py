"""What tests of several folders share."""

from pathlib import Path

import pytest
from tiny import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with its tokenizer, saved so that load_model(ModelConfig(model_id=str(folder))) takes it."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")
