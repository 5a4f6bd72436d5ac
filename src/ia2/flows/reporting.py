"""`ia2 report`: one page of everything below the root."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ia2 import store
from ia2.analysis.similarity import Similarity, examine_similarities
from ia2.analysis.subspace import examine_overlaps
from ia2.commands.records import FILTERS, accepted, fail_for, fields_of_run, passes, passing, readable_records
from ia2.config import ReportConfig, TrainConfig
from ia2.errors import UserError
from ia2.flows.places import fields_of_similarity
from ia2.report.costs import examine_targets, stage_costs
from ia2.report.page import MARK, render_page
from ia2.report.results import Record, Results
from ia2.report.runs import TrainedRun, examine_runs
from ia2.report.sections.base import Analyses, PageData
from ia2.report.selection import select
from ia2.report.summary import summarise
from ia2.store.measurements import Problem, tell


def write_report(config: ReportConfig) -> Path:
    """Write the page and return its path.

    UserError where the root is no folder or no record passes the filters; MachineError, once the page is written, where
    a record is damaged.
    """
    root = store.resolve_root(config)
    if not root.is_dir():
        raise UserError(f"root={str(root)!r} is no folder; give the --root that the other commands were given")
    data = page_data(root, config)
    page = write_page(data, config.out or root / "reports" / "report.html")
    print(f"{len(data.results.records)} records, {len(data.runs)} runs: {page.resolve()}")
    fail_for(data.results.problems)
    return page


def page_data(
    root: Path, config: ReportConfig, belongs: Callable[[Record | TrainedRun], bool] | None = None, kept: str = ""
) -> PageData:
    """What the page is made from: all below the root that passes the filters, and what cannot be read, which is named.

    `belongs` leaves the records and runs of one comparison, of which the adapter of method `kept` was kept.

    UserError where no record passes the filters, or hyper-parameters cannot be chosen fairly.
    """
    records, problems = readable_records(root, may_be_none=True)
    filtered = any(accepted(config, name) for name in FILTERS)
    if records and filtered:
        records = passing(records, config)
    if belongs is not None:
        records = [record for record in records if belongs(record)]
    trained, targets = examine_runs(root, records), examine_targets(root)
    tell((*trained.problems, *targets.problems))
    everything = tuple(run for run in trained.found if belongs is None or belongs(run))
    runs = tuple(run for run in everything if passes(_fields_of_run(run.config), config))
    costs = stage_costs(root, records, runs, filtered or belongs is not None)
    selection = select(records, everything, config.hp_selection)
    analyses, more_problems = _analyses(root, config)
    results = Results(root, tuple(records), (*problems, *trained.problems, *targets.problems, *more_problems))
    return PageData(results, runs, analyses, selection, summarise(selection), costs, config.command("report"), kept)


def _analyses(root: Path, config: ReportConfig) -> tuple[Analyses, tuple[Problem, ...]]:
    """The comparisons that pass the filters, and what cannot be read."""
    similarities, overlaps = examine_similarities(root), examine_overlaps(root)
    problems = (*similarities.problems, *overlaps.problems)
    tell(problems)
    alike = (one for one in similarities.found if passes(_fields_of_similarity(one), config))
    shared = (
        one
        for one in overlaps.found
        if all(passes(_fields_of_run(run), config) for run in (one.config_a, one.config_b))
    )
    return Analyses(tuple(alike), tuple(shared)), problems


def _fields_of_run(run: TrainConfig) -> dict[str, Any]:
    fields = {"model_types": run.training_method, "trained_datasets": run.dataset, "model_id": run.model_id}
    return fields | {"num_examples": run.num_labels, **fields_of_run(run)}


def _fields_of_similarity(one: Similarity) -> dict[str, Any]:
    return fields_of_similarity(one) | {"trained_datasets": one.trained_dataset}


def write_page(data: PageData, path: Path) -> Path:
    """Write the page, whole or not at all; UserError where there is something at `path` that is no page of ours."""
    html = render_page(data)
    with store.replacing(path, MARK) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path
