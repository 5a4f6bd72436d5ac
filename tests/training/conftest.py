"""A tiny random Llama, alone and as a teacher."""

import pytest
from tiny import tiny_model, tiny_tokenizer

from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel


@pytest.fixture
def lm() -> LanguageModel:
    return LanguageModel(tiny_model("llama"), tiny_tokenizer(), "tiny", "revision")


@pytest.fixture
def teacher(lm: LanguageModel) -> HookedModel:
    return HookedModel(lm.model)
