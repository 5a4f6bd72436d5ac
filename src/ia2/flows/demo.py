"""`ia2 demo`: the whole method on the embedded model, from nothing to a page, read from top to bottom."""

import logging
from collections.abc import Iterator
from pathlib import Path

from ia2 import store
from ia2.config import DemoConfig
from ia2.flows.comparison import Comparison, compare, show
from ia2.models.loading import ModelCache

log = logging.getLogger(__name__)


def demo(config: DemoConfig) -> Path:
    """Train, evaluate and show; returns the page's path."""
    usual = "ia2-demo" if config.protocol == "default" else f"ia2-demo-{config.protocol}"
    root = store.resolve_root(config, Path(usual))
    models = ModelCache()
    log.info("The demo teaches %s from its own in-context behaviour, in %s.", config.model_id, root.resolve())
    chapters = list(_chapters(config, root))
    for chapter in chapters:
        compare(chapter, models)
    return show(root, chapters[0].hp_selection).page


def _chapters(config: DemoConfig, root: Path) -> Iterator[Comparison]:
    """Each dataset to learn from, with what is asked afterwards."""
    asked: dict[str, tuple[str, ...]] = {"capitals": ("capitals",)}
    if config.full:
        asked = {"capitals": ("capitals", "capitals_rare"), "past_tense": ("past_tense", "past_tense_irregular")}
    for dataset, eval_datasets in asked.items():
        yield Comparison(
            root=root,
            dataset=dataset,
            eval_datasets=eval_datasets,
            model_id=config.model_id,
            num_train_examples=config.num_train_examples,
            lrs=config.lrs,
            num_runs=config.num_runs,
            num_train_epochs=config.num_train_epochs,
            num_eval_examples=config.num_eval_examples,
            protocol=config.protocol,
            where=config,
        )
