"""`ia2 demo`: the whole method on the embedded model, from nothing to a page, read from top to bottom.

Every step is one that exists in the store or is made, so a demo that was stopped goes on where it was.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ia2 import store
from ia2.config import DemoConfig, EvaluateConfig, HpSelection, LabelType, TrainConfig
from ia2.flows.evaluation import evaluate
from ia2.flows.training import train
from ia2.lm.shelf import Models
from ia2.report.captions import accuracy_caption
from ia2.report.costs import stage_costs
from ia2.report.page import render_page
from ia2.report.plots import accuracy_bars
from ia2.report.results import read_results
from ia2.report.runs import read_runs
from ia2.report.selection import choose, select
from ia2.report.summary import groups, summarise
from ia2.report.tables import text_table

log = logging.getLogger(__name__)

METHODS: tuple[tuple[str, LabelType], ...] = (
    ("act", "icl_outputs"),
    ("tok", "ground_truth"),
    ("a2t", "ground_truth"),
)


@dataclass(frozen=True)
class _Chapter:
    """A dataset to learn from, and what is asked afterwards."""

    dataset: str
    eval_datasets: tuple[str, ...]


def demo(config: DemoConfig) -> Path:
    """Train, evaluate and show; returns the page's path."""
    usual = "ia2-demo" if config.protocol == "default" else f"ia2-demo-{config.protocol}"
    root = config.root or Path(os.environ.get("IA2_ROOT", usual))
    models = Models()
    chapters = [_Chapter("capitals", ("capitals",))]
    if config.full:
        chapters[0] = _Chapter("capitals", ("capitals", "capitals_rare"))
        chapters.append(_Chapter("past_tense", ("past_tense", "past_tense_irregular")))
    log.info("The demo teaches %s from its own in-context behaviour, in %s.", config.model_id, root.resolve())
    for chapter in chapters:
        runs = list(training_runs(config, root, chapter.dataset))
        for number, run in enumerate(runs, 1):
            log.info("[%d/%d] %s, lr %g, run %d", number, len(runs), run.training_method, run.lr, run.run_idx)
            train(run, models)
        for evaluation in evaluations(config, root, chapter):
            evaluate(evaluation, models)
    return show(root, "dev_loss" if config.protocol == "default" else "performance")


def training_runs(config: DemoConfig, root: Path, dataset: str) -> Iterator[TrainConfig]:
    """Every method, learning rate and run; `act` comes first, since `a2t` starts from it."""
    for method, label_type in METHODS:
        for lr in config.lrs:
            for run_idx in range(config.num_runs):
                yield TrainConfig(
                    root=root,
                    training_method=method,
                    label_type=label_type,
                    dataset=dataset,
                    model_id=config.model_id,
                    device=config.device,
                    num_train_examples=config.num_train_examples,
                    num_train_epochs=config.num_train_epochs,
                    lr=lr,
                    run_idx=run_idx,
                    protocol=config.protocol,
                )


def evaluations(config: DemoConfig, root: Path, chapter: _Chapter) -> Iterator[EvaluateConfig]:
    """The base model with and without demonstrations, then each method at the learning rate that dev loss chose.

    The published protocol chooses by these very evaluations, so there every learning rate is evaluated.
    """
    shared = EvaluateConfig(
        root=root,
        model_id=config.model_id,
        device=config.device,
        trained_datasets=(chapter.dataset,),
        eval_datasets=chapter.eval_datasets,
        icl_source_datasets=(chapter.dataset,),
        icl_max_demos=config.num_train_examples,
        num_examples=(config.num_train_examples,),
        run_indices=tuple(range(config.num_runs)),
        num_eval_examples=config.num_eval_examples,
        protocol=config.protocol,
    )
    yield shared.model_copy(update={"model_types": ("base",)})
    runs = [run for run in read_runs(root) if run.config.dataset == chapter.dataset]
    for choice in choose(runs):
        method = next(run.config.training_method for run in runs if choice.accepts(run.config))
        if config.protocol == "published":
            yield shared.model_copy(update={"model_types": (method,)})
            continue
        yield shared.model_copy(update={"model_types": (method,), "lrs": (choice.chosen.lr,)})


def show(root: Path, hp_selection: HpSelection = "dev_loss") -> Path:
    """Print the table, write the picture and the page, and say where they are."""
    results = read_results(root)
    summary = summarise(select(results.records, read_runs(root, results.records), hp_selection))
    folder = root / "reports"
    for group in groups(summary):
        figure = accuracy_bars(group.rows, accuracy_caption(group.rows))
        with store.writing(folder / f"accuracy_{group.eval_dataset}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    page = folder / "report.html"
    with store.writing(page) as temporary:
        html = render_page(results, stage_costs(root, results.records), hp_selection)
        temporary.write_text(html, encoding="utf-8")
    print(text_table(summary))
    print(f"\nThe page: {page.resolve()}")
    return page
