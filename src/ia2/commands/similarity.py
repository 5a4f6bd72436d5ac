"""`ia2 similarity`: activations of trained runs beside their teacher's, and beside each other's.

Every run is compared with its teacher, with a teacher that is shown other demonstrations, and with the runs that differ
from it in their method alone. The controls are compared in the same way: the base model without demonstrations is where
students start, the two teachers beside each other show the effect of another draw of demonstrations. All that rests on
one teacher is made together; a stopped command goes on with the next teacher.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from ia2 import store
from ia2.analysis.pairing import together
from ia2.analysis.similarity import MISSING, SCHEMA, Similarity, compare, comparisons_with
from ia2.commands.data_files import ensure_data
from ia2.commands.selection import by_name, select_some
from ia2.config import ModelConfig, SimilarityConfig
from ia2.errors import Failure, MachineError, UserError, memory_errors, raise_failures
from ia2.evaluation.evaluation_set import EvaluationSpec
from ia2.models.adapters import saved_adapter
from ia2.models.loading import ModelCache
from ia2.store.measurements import read_whole
from ia2.tables import similarity_table
from ia2.training.trained_run import TrainedRun

log = logging.getLogger(__name__)


def similarity(config: SimilarityConfig, models: ModelCache | None = None) -> list[Path]:
    """Make every comparison that `config` asks for and that is missing, and show all; returns their paths.

    UserError where no run matches; MachineError, after all others are made, where some could not be.
    """
    root, models = store.resolve_root(config), models or ModelCache()
    config, given = by_name(root, config)
    selection = select_some(root, config)
    teachers = _teachers(config, selection.runs)
    splits = {(asked.icl_source_dataset, asked.num_train_examples, asked.run_idx) for asked in teachers}
    ensure_data(root, [*given.values(), *(asked.eval_dataset for asked in teachers)], splits, config.no_prepare)
    paths: list[Path] = []
    failures = [Failure(folder, error) for folder, error in selection.unreadable.items()]
    for number, (asked, runs) in enumerate(teachers.items(), 1):
        title = f"{asked.name}, N {asked.num_train_examples}, run {asked.run_idx}"
        log.info("[%d/%d] %s: %d trained runs", number, len(teachers), title, len(runs))
        try:
            made, failing = _compare_with(root, config, models, asked, runs)
        except (UserError, MachineError) as error:
            made, failing = [], {asked.name: error}
        paths += made
        failures += [Failure(Path(what), error) for what, error in failing.items()]
    found = [one for path in paths if isinstance(one := read_whole(path, Similarity, SCHEMA), Similarity)]
    if found:
        print(f"{similarity_table(found)}\n\n{len(found)} comparisons below {root / 'outputs' / 'similarity'}")
    told = f"{len(failures)} teachers or runs could not be compared"
    raise_failures(failures, len(failures) + len(paths), told)
    return paths


def _teachers(config: SimilarityConfig, runs: Sequence[TrainedRun]) -> dict[EvaluationSpec, list[TrainedRun]]:
    """Every teacher that is requested, with the runs that are compared with it; one base model after the other.

    A teacher shows demonstrations of a run's own N and index, and responds with its T and stop rule.
    """
    models = list(dict.fromkeys(run.config.model_id for run in runs))
    teachers: dict[EvaluationSpec, list[TrainedRun]] = {}
    for run in sorted(runs, key=lambda run: (models.index(run.config.model_id), run.config.run_idx, together(run))):
        own = (run.config.dataset,)
        for eval_dataset, source in product(config.eval_datasets or own, config.icl_source_datasets or own):
            asked = EvaluationSpec(
                eval_dataset=eval_dataset,
                icl_source_dataset=source,
                icl_max_demos=config.icl_max_demos,
                num_train_examples=run.config.num_labels,
                run_idx=run.config.run_idx,
                num_generated_tokens_eval=config.num_generated_tokens_eval or run.num_generated_tokens,
                model_id=run.config.model_id,
                torch_dtype=config.torch_dtype,
                icl_pool=config.icl_pool,
                stop=run.stop,
                num_eval_examples=config.num_eval_examples,
                chat_template=run.config.chat_template,
            )
            teachers.setdefault(asked, []).append(run)
    return teachers


def _compare_with(
    root: Path, config: SimilarityConfig, models: ModelCache, asked: EvaluationSpec, runs: Sequence[TrainedRun]
) -> tuple[list[Path], dict[str, UserError | MachineError]]:
    """Make what is missing beside one teacher; returns the paths of all, and the errors of runs that have none.

    A run has none whose adapter belongs to another base model or cannot be loaded; errors are by the keys of models.
    """
    wanted = comparisons_with(root, asked, runs)
    revision = str(runs[0].description["base"]["revision"])
    reasons = [one.reason_to_make(root, revision) for one in wanted]
    for reason, number in Counter(reasons).items():
        if reason not in (None, MISSING):
            log.warning("%d comparison%s made again: %s", number, "s are" if number > 1 else " is", reason)
    missing = [one for one, reason in zip(wanted, reasons, strict=True) if reason]
    if not missing:
        return [one.path(root) for one in wanted], {}
    with memory_errors(config.device):
        lm = models.load(ModelConfig(model_id=asked.model_id, torch_dtype=config.torch_dtype, **config.placement()))
        failing: dict[str, UserError | MachineError] = {}
        for key, run in {model.key: model.trained for one in missing for model in one.models if model.trained}.items():
            try:
                run.check_base(lm)
                with saved_adapter(lm.model, run.folder):
                    pass
            except UserError as error:
                failing[key] = error
        usable = [one for one in wanted if not failing.keys() & {model.key for model in one.models}]
        if left := [one for one in missing if one in usable]:
            compare(root, left, lm, config.token_budget, config.command("similarity"))
    return [one.path(root) for one in usable], failing
