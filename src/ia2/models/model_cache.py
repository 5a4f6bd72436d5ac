"""Base models in memory: each is loaded when first needed, and one is kept for all that follows."""

import gc

from ia2.config import ModelConfig
from ia2.models.loading import LanguageModel, load_model, parts_on_disk
from ia2.models.model_files import changed_parts


class ModelCache:
    """Loads on demand and keeps the last model, so that a command over many runs loads once."""

    def __init__(self) -> None:
        self._kept: tuple[ModelConfig, LanguageModel] | None = None
        self.num_loaded = 0

    def load(self, config: ModelConfig) -> LanguageModel:
        wanted, model = config.base_model(), config.model_id
        if self._kept is None or self._kept[0] != wanted or changed_parts(self._kept[1].parts, parts_on_disk(model)):
            self._kept = None
            gc.collect()  # layers whose forward was replaced hold on to themselves, and to their weights
            self._kept = (wanted, load_model(wanted))
            self.num_loaded += 1
        return self._kept[1]
