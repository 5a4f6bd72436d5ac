"""`ia2 evaluate --advise`: which method is reasonable, from the records below the root, or by measuring the teacher.

What is measured is the base model with and without demonstrations, and only on an evaluation set where no record has
them: adapters are judged where they were evaluated, never trained or evaluated for the advice. The flags that select
runs and datasets select records; how an evaluation was made selects none, and tells the cases of the advice apart.
"""

import logging
from pathlib import Path

from ia2 import store
from ia2.commands.data_files import name_of
from ia2.commands.evaluate import evaluate
from ia2.commands.selection import select_runs
from ia2.config import EvaluateConfig, HpSelection
from ia2.errors import UserError
from ia2.models.loading import ModelCache
from ia2.results.advice import Advice, advice, advice_text
from ia2.results.frame import summarise
from ia2.results.read import read
from ia2.results.records import Record
from ia2.results.runs import config_key, read_runs
from ia2.results.select import select
from ia2.results.where import fields_of, passes

log = logging.getLogger(__name__)

DATASETS = ("eval_datasets", "trained_datasets", "icl_source_datasets")
FILTERS = (*DATASETS, "model_id", "num_examples", "run_indices", "num_eval_examples")
"""Filters of records; those of runs have others besides."""
USUAL_NUM_EXAMPLES = 8
"""Labels that demonstrate (N) where neither a flag nor a split says how many."""


def advise_from(config: EvaluateConfig) -> None:
    """Print the advice."""
    print(advice_text(advise(config)))


def advise(config: EvaluateConfig, models: ModelCache | None = None) -> list[Advice]:
    """Advice on every evaluation set that `config` selects; the teacher is measured where no record has it.

    UserError where neither `config` nor a record or run says which evaluation set.
    """
    root, models = store.resolve_root(config), models or ModelCache()
    records = _selected(root, config)
    measured = {record.settings.eval_dataset for record in records if _is_of_teacher(record)}
    for dataset in _wanted(root, config, records):
        if name_of(dataset) not in measured:
            log.info("No record has the teacher on %s: it is measured.", dataset)
            evaluate(_of_teacher(root, config, dataset), models)
    records = _selected(root, config)
    hp_selection: HpSelection = "performance" if config.protocol == "published" else "dev_loss"
    selection = select(records, read_runs(root, records), hp_selection)
    return advice(summarise(selection), selection.records)


def _wanted(root: Path, config: EvaluateConfig, records: list[Record]) -> tuple[str, ...]:
    found = [record.settings.eval_dataset for record in records]
    found += [run.config.dataset for run in select_runs(root, config)]
    wanted = config.eval_datasets or config.trained_datasets or tuple(dict.fromkeys(found))
    if not wanted:
        raise UserError(
            f"advice on which evaluation set? Give --eval_datasets; nothing below {root / 'outputs'} is of "
            f"model_id={config.model_id!r}"
        )
    return wanted


def _selected(root: Path, config: EvaluateConfig) -> list[Record]:
    runs = {config_key(trained.config) for trained in select_runs(root, config)}
    if config.model_types and not set(config.model_types) - {"base"}:
        runs.clear()
    named = {name: tuple(map(name_of, getattr(config, name))) for name in DATASETS}
    return [
        record
        for record in read(root, may_be_none=True).records
        if passes(fields_of(record), config.model_copy(update=named), FILTERS)
        and (record.run is None or config_key(record.run) in runs)
    ]


def _is_of_teacher(record: Record) -> bool:
    whole = {"with_icl_accuracy", "without_icl_accuracy"} <= record.metrics.keys()
    return record.kind == "base" and whole and not record.control


def _of_teacher(root: Path, config: EvaluateConfig, dataset: str) -> EvaluateConfig:
    """The evaluation of the base model; where no split says how many labels demonstrate, a usual number does."""
    changes = {"model_types": ("base",), "eval_datasets": (dataset,), "advise": False}
    sources = config.icl_source_datasets or config.trained_datasets or (dataset,)
    if not all(store.splits_on_disk(root, name_of(source)) for source in sources):
        changes |= {
            "num_examples": config.num_examples or (USUAL_NUM_EXAMPLES,),
            "run_indices": config.run_indices or (0,),
        }
    return config.model_copy(update=changes)
