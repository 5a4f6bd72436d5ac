"""What is said in sentences: the advice, what was gained, what was done, and what could not be read."""

from collections.abc import Sequence
from dataclasses import dataclass

from ia2.config import EMBEDDED_MODEL
from ia2.report.advice import RULES, RULES_NOTE, advice
from ia2.report.captions import between
from ia2.report.cases import cases
from ia2.report.findings import findings
from ia2.report.results import Record
from ia2.report.sections.base import PageData, Section
from ia2.report.styles import style_of
from ia2.report.teacher import THRESHOLDS
from ia2.report.templates import render
from ia2.report.trials import trials


def what_was_done(data: PageData) -> Section | None:
    """The experiment in sentences, from the records' own fields."""
    trained = render("trials", trials=trials(data.runs, data.selection, data.results.records)) if data.runs else ""
    records = data.selection.records
    if not records:
        return Section("done", "What was done", render("nothing_evaluated", root=data.root) + trained)
    base, adapted = (_Passes([one for one in records if one.kind == kind]) for kind in ("base", "adapter"))
    models = sorted({record.settings.model_id for record in records})
    facts = {
        "models": models,
        "base": base,
        "adapted": adapted,
        "evaluated": sorted({(record.settings.eval_dataset, record.num_examples) for record in records}),
        "numbers": sorted({record.settings.num_train_examples for record in adapted.records}),
        "tokens": sorted({record.settings.num_generated_tokens_eval for record in records}),
        "runs": _num_runs(adapted.records),
        "methods": _methods(records),
        "quantised": EMBEDDED_MODEL in models,
    }
    return Section("done", "What was done", render("what_was_done", **facts) + trained)


@dataclass(frozen=True)
class _Passes:
    """Records of the base model, or of adapters, and what they say of demonstrations."""

    records: Sequence[Record]

    @property
    def without(self) -> bool:
        return any("without_icl_accuracy" in record.metrics for record in self.records)

    @property
    def sources(self) -> list[str]:
        """Where demonstrations came from, empty if none were shown, or wrong ones only."""
        return sorted({record.settings.icl_source_dataset for record in self._shown if not record.control})

    @property
    def controls(self) -> list[str]:
        """The controls that were shown wrong demonstrations."""
        return sorted({record.control for record in self._shown if record.control})

    @property
    def _shown(self) -> list[Record]:
        return [record for record in self.records if "with_icl_accuracy" in record.metrics]


def _num_runs(records: Sequence[Record]) -> str:
    """`3 runs`, or the least and the greatest number of them that a method has."""
    runs: dict[str, set[int]] = {}
    for record in records:
        runs.setdefault(record.method, set()).add(record.settings.run_idx)
    counts = [len(indices) for indices in runs.values()]
    return f"{between(counts)} run{'s' if max(counts) > 1 else ''}" if counts else ""


def what_to_do(data: PageData) -> Section | None:
    """The method to take on each evaluation set, what that rests on, and the rules it follows from."""
    if not data.groups:
        return None
    given = advice(data.groups, data.selection.records, data.kept)
    return Section("advice", "In short", render("advice", given=given, rules=RULES, notes=(RULES_NOTE, THRESHOLDS)))


def what_came_out(data: PageData) -> Section | None:
    """What each trained model gained on each evaluation set, and how much of it is format."""
    found = [
        (case.title, told)
        for group in data.groups
        for case in cases(group, data.selection.records)
        if (told := findings(case))
    ]
    return Section("findings", "What was gained", render("findings", groups=found)) if found else None


def problems(data: PageData) -> Section | None:
    """Files that exist and could not be counted."""
    if not data.results.problems:
        return None
    found = [(problem.path.relative_to(data.root), problem.reason) for problem in data.results.problems]
    return Section("problems", "Files that could not be read", render("problems", problems=found))


def _methods(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Each training method, and what it does in words, in the order of the methods' table."""
    runs = {(record.run.training_method, record.run.method_in_words) for record in records if record.run}
    return sorted(runs, key=lambda pair: (style_of(pair[0]).order, pair[1]))
