"""`ia2 report`: one page of everything below the root."""

from pathlib import Path

from ia2 import store
from ia2.config import ReportConfig
from ia2.errors import UserError
from ia2.flows.records import fail_for, passes, passing, readable_records
from ia2.report.costs import stage_costs
from ia2.report.page import render_sections
from ia2.report.results import Results
from ia2.report.runs import TrainedRun, read_runs
from ia2.report.sections.base import PageData

FILTERS = ("model_types", "trained_datasets", "eval_datasets")


def write_report(config: ReportConfig) -> Path:
    """Write the page and return its path.

    UserError where the root is no folder or no record passes the filters; MachineError, once the page is written, where
    a record is damaged.
    """
    root = store.root_of(config)
    if not root.is_dir():
        raise UserError(f"root={str(root)!r} is no folder; give the --root that the other commands were given")
    data = page_data(root, config)
    page = write_page(data, config.out or root / "reports" / "report.html")
    print(f"{len(data.results.records)} records, {len(data.runs)} runs: {page.resolve()}")
    fail_for(data.results.problems)
    return page


def page_data(root: Path, config: ReportConfig) -> PageData:
    """What the page of the records that pass the filters is made from; records that cannot be read are named."""
    records, problems = readable_records(root, may_be_none=True)
    costs = stage_costs(root, records)
    if records:
        records = passing(records, config, FILTERS)
    runs = [run for run in read_runs(root, records) if _passes(run, config)]
    return PageData.of(Results(root, tuple(records), problems), runs, costs, config)


def write_page(data: PageData, path: Path) -> Path:
    """Write the page, whole or not at all."""
    html = render_sections(data)
    with store.writing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def _passes(run: TrainedRun, config: ReportConfig) -> bool:
    """Whether a run, evaluated or not, passes the filters that runs have."""
    fields = {"model_types": run.config.training_method, "trained_datasets": run.config.dataset}
    return passes(fields, config, FILTERS)
