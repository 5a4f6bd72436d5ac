"""README.md of a run's folder, brought up to date with the measurements of its adapter.

Nothing reads it and no digest is of it: a run is the same run with any card.
"""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult

from ia2 import store
from ia2.evaluation.calibration import CONDITIONS
from ia2.page.card import CARD, NOT_MEASURED, model_card, part_of, with_part, without_place
from ia2.results.compare import interval_of
from ia2.results.quantities import shown_as
from ia2.results.records import Record, read_record
from ia2.store.measurements import finished
from ia2.training.trained_run import read_trained_run


def is_behind(folder: Path, record: Path) -> bool:
    """True where the card of the run in `folder` is missing, or older than this record of it."""
    card = folder / CARD
    if not card.exists() or card.stat().st_mtime_ns < record.stat().st_mtime_ns:
        return True
    return part_of(card.read_text(encoding="utf-8")) == NOT_MEASURED


def refresh_card(root: Path, folder: Path) -> None:
    """Write the numbers of the records of its present adapter into the card of the run in `folder`."""
    with store.file_lock(folder):
        trained, path = read_trained_run(folder), folder / CARD
        method, dataset = trained.config.training_method, trained.config.dataset
        folders = [store.evaluations_folder(root, method, dataset, uncertainty) for uncertainty in (False, True)]
        # Names only narrow down which records are read; those count that are of this very adapter
        named = [path for one in folders for path in one.glob("*.json") if path.name.startswith(f"{folder.name}__")]
        digest = store.file_digest(folder / "adapter_model.safetensors")
        records = [record for record in map(read_record, finished(named)) if isinstance(record, Record)]
        own = [record for record in records if record.adapter_sha256 == digest]
        if path.exists():
            card = path.read_text(encoding="utf-8")
        else:  # the run is older than cards are
            card = model_card(trained.description, store.read_object(folder / "final_loss_statistics.json"))
        with store.atomic_write(path) as temporary:
            temporary.write_text(
                with_part(card, measured_part(own), eval_results(own), f"{method} on {dataset}"), encoding="utf-8"
            )


def eval_results(records: Sequence[Record]) -> list[EvalResult]:
    """Each metric of the part, without demonstrations, as the hub shows it; of two equal records the first."""
    found: dict[tuple[str, str], EvalResult] = {}
    for record in records:
        metrics, dataset = record.measured(), record.settings.eval_dataset + _unusual(record)
        for metric, kind in {"accuracy": "accuracy", "ece_equal_count": "ece", "nll": "nll"}.items():
            name = f"{CONDITIONS[False]}_{shown_as(metric, metrics)}"
            if name in metrics:
                result = EvalResult(
                    task_type="text-generation",
                    dataset_type=record.settings.eval_dataset,
                    dataset_name=f"{dataset}, {record.num_examples} examples",
                    metric_type=kind,
                    metric_name=name,
                    metric_value=metrics[name],
                )
                found.setdefault((result.dataset_name, name), result)
    return list(found.values())


def measured_part(records: Sequence[Record]) -> str:
    """Accuracy, calibration and likelihood of each evaluation, with the intervals that one run allows.

    A line that two records have alike, as those with and without uncertainty do, is written once.
    """
    lines = list(dict.fromkeys(line for record in records for line in _lines(record)))
    if not lines:
        return NOT_MEASURED
    heading = "| evaluation set | demonstrations | T | examples | accuracy % [95%] | ECE (floor) | NLL [95%] |"
    commands = dict.fromkeys(without_place(record.command, record.settings.model_id) for record in records)
    return "\n".join(
        [
            heading,
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "Accuracy: exact match of the answer that is read from the response. ECE: of the label among all labels",
            "(of the first token of free text), 15 bins of equal count; the floor is what a calibrated model shows",
            "on as many examples. NLL: of the gold label (of the gold first token of free text), in nats. Intervals:",
            "95%, over examples (bootstrap, and with fewer than 5 right or wrong answers Clopper and Pearson's where",
            "that is wider), of this one run. Made by",
            "",
            "```",
            *commands,
            "```",
        ]
    )


def _lines(record: Record) -> list[str]:
    """A line for each pass."""
    passes = [(with_icl, name) for with_icl, name in CONDITIONS.items() if f"{name}_accuracy" in record.metrics]
    return [_line(record, with_icl, name) for with_icl, name in passes]


def _line(record: Record, with_icl: bool, name: str) -> str:
    asked, metrics = record.settings, record.measured()
    ece, floor, nll = (f"{name}_{shown_as(metric, metrics)}" for metric in ("ece_equal_count", "ece_floor", "nll"))
    cells = [
        asked.eval_dataset + _unusual(record),
        f"{asked.num_shown} from {asked.icl_source_dataset}" if with_icl else "none",
        asked.num_generated_tokens_eval,
        record.num_examples,
        _with_interval(record, with_icl, f"{name}_accuracy", ".1f"),
        f"{metrics[ece]:.3f}" + (f" ({metrics[floor]:.3f})" if floor in metrics else ""),
        _with_interval(record, with_icl, nll, ".3f"),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _with_interval(record: Record, with_icl: bool, key: str, form: str) -> str:
    if key not in record.metrics:
        return "–"  # a record that is older than the metric
    value = record.metrics[key]
    metric = key.removeprefix(f"{CONDITIONS[with_icl]}_")
    interval = interval_of(metric, [str(record.path)], with_icl, [value])
    low, high = (format(end, form) for end in (interval.low, interval.high))
    return f"{value:{form}} [{low}, {high}]"


USUAL = {"icl_pool": "train", "stop": "separator", "control": "none", "reader": ""}


def _unusual(record: Record) -> str:
    """The settings of an evaluation that are not the usual ones, in brackets."""
    asked = record.settings.model_dump(mode="json")
    told = [f"{key} {asked[key]}" for key, usual in USUAL.items() if asked.get(key, usual) != usual]
    return f" ({', '.join(told)})" if told else ""
