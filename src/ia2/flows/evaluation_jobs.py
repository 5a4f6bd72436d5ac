"""Every record that an evaluation is requested to make: its run or base model, evaluation set and demonstrations.

Without --model_id each run is evaluated on its own base model, and the base models are those of the runs; the default
model only where there are no runs.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from ia2 import store
from ia2.commands.evaluate import EvaluationJob, record_path
from ia2.config import DEFAULT_MODEL_ID, EvaluateConfig
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSpec
from ia2.tasks import task
from ia2.tasks.pool import load_pool
from ia2.training.trained_run import TrainedRun


class Jobs:
    """Jobs over runs, datasets and draws. `given` holds the datasets as they were given, by their names."""

    def __init__(
        self, root: Path, config: EvaluateConfig, runs: Sequence[TrainedRun], given: Mapping[str, str]
    ) -> None:
        self.root = root
        self.config = config
        self.runs = runs
        self.given = given
        self._num_tokens: dict[str, int] = {}

    def all(self, wants_runs: bool) -> Iterator[EvaluationJob]:
        """Adapters first. Where the base model alone is requested, datasets and models still follow from the runs."""
        if wants_runs:
            for trained in self.runs:
                yield from self._of_run(trained)
        if "base" in self.config.model_types or not self.config.model_types:
            models = (self.config.model_id,) if self.config.model_id else self._models_of_runs()
            for model_id in models:
                yield from self._of_base(model_id, wants_runs)

    def _models_of_runs(self) -> list[str]:
        return list(dict.fromkeys(run.config.model_id for run in self.runs)) or [DEFAULT_MODEL_ID]

    def _of_run(self, trained: TrainedRun) -> Iterator[EvaluationJob]:
        run, conditions = trained.config, (False, True) if self.config.eval_with_icl else (False,)
        if self.config.control != "none" and True not in conditions:
            return  # nothing is shown that could be wrong: it would be the ordinary record under another name
        for eval_dataset, source in self._pairs(run.dataset):
            spec = self._spec(eval_dataset, source, (run.num_labels, run.run_idx), run.model_id)
            spec = dataclasses.replace(spec, chat_template=run.chat_template)
            yield EvaluationJob(spec, trained, record_path(self.root, spec, trained), conditions)

    def _of_base(self, model_id: str, wants_runs: bool) -> Iterator[EvaluationJob]:
        runs = [run for run in self.runs if run.config.model_id == model_id]
        for eval_dataset, source in self._pairs_of_base(runs if wants_runs or not self.config.eval_datasets else []):
            for draw in self._draws(source, runs if wants_runs else []):
                spec = self._spec(eval_dataset, source, draw, model_id)
                yield EvaluationJob(spec, None, record_path(self.root, spec, None))

    def _pairs(self, trained_dataset: str) -> Iterator[tuple[str, str]]:
        """Evaluation set and source of demonstrations, both by default what was trained on."""
        evaluated = self.config.eval_datasets or (trained_dataset,)
        yield from product(evaluated, self.config.icl_source_datasets or (trained_dataset,))

    def _pairs_of_base(self, runs: Sequence[TrainedRun]) -> list[tuple[str, str]]:
        """The same as of the runs beside it, so that they can be compared; without runs, each set shows its own."""
        config, of_runs = self.config, tuple(run.config.dataset for run in runs)
        pairs = [pair for dataset in config.trained_datasets or of_runs for pair in self._pairs(dataset)]
        if not config.trained_datasets and not of_runs:
            pairs = [(one, source) for one in config.eval_datasets for source in config.icl_source_datasets or (one,)]
        if not pairs:
            raise UserError("which evaluation set? Give --eval_datasets; no trained run says it")
        return list(dict.fromkeys(pairs))

    def _draws(self, source: str, runs: Sequence[TrainedRun]) -> list[tuple[int, int]]:
        """(N, run) of the demonstrations: as given, else those of the runs evaluated, else every split on disk."""
        config = self.config
        if config.num_examples and config.run_indices:
            return list(product(config.num_examples, config.run_indices))
        shown = [run.config for run in runs if source in (config.icl_source_datasets or (run.config.dataset,))]
        draws = {(run.num_labels, run.run_idx) for run in shown} or set(store.splits_on_disk(self.root, source))
        chosen = [
            (num, run)
            for num, run in sorted(draws)
            if num in (config.num_examples or (num,)) and run in (config.run_indices or (run,))
        ]
        if not chosen:
            raise UserError(
                f"no split of {source!r} to take demonstrations from; give --num_examples and --run_indices, "
                "or create one"
            )
        return chosen

    def _spec(self, eval_dataset: str, source: str, draw: tuple[int, int], model_id: str) -> EvaluationSpec:
        config = self.config
        return EvaluationSpec(
            eval_dataset=eval_dataset,
            icl_source_dataset=source,
            icl_max_demos=config.icl_max_demos,
            num_train_examples=draw[0],
            run_idx=draw[1],
            num_generated_tokens_eval=config.num_generated_tokens_eval or self._declared_tokens(eval_dataset),
            model_id=model_id,
            torch_dtype=config.torch_dtype,
            icl_pool="remaining" if config.protocol == "published" else config.icl_pool,
            stop=config.stop,
            num_eval_examples=config.num_eval_examples,
            uncertainty_analysis=config.uncertainty_analysis,
            chat_template=config.chat_template,
            control=config.control,
        )

    def _declared_tokens(self, dataset: str) -> int:
        """T as the prepared dataset declares it, or as its task will."""
        if dataset not in self._num_tokens:
            prepared = store.pool_path(self.root, dataset).exists()
            spec = load_pool(self.root, dataset).spec if prepared else task(self.given.get(dataset, dataset)).spec
            self._num_tokens[dataset] = spec.num_generated_tokens
        return self._num_tokens[dataset]
