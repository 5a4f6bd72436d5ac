"""`ia2 report`: one page of everything below the root."""

from collections.abc import Callable
from pathlib import Path

from ia2 import store
from ia2.config import ReportConfig
from ia2.errors import UserError
from ia2.page.data import PageData
from ia2.page.page import MARK, render_page
from ia2.results.costs import examine_targets, stage_costs
from ia2.results.frame import summarise
from ia2.results.read import fail_for, read
from ia2.results.records import Record
from ia2.results.runs import TrainedRun
from ia2.results.select import select
from ia2.results.where import FILTERS, accepted, fields_of, passes, where
from ia2.store.measurements import tell


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
    print(f"{len(data.records)} records, {len(data.runs)} runs: {page.resolve()}")
    fail_for(data.problems)
    return page


def page_data(
    root: Path, config: ReportConfig, belongs: Callable[[Record | TrainedRun], bool] | None = None, kept: str = ""
) -> PageData:
    """What the page is made from: all below the root that passes the filters, and what cannot be read, which is named.

    `belongs` leaves the records and runs of one comparison, of which the adapter of method `kept` was kept.

    UserError where no record passes the filters, or hyper-parameters cannot be chosen fairly.
    """
    stored = read(root, ("similarity", "overlap"), may_be_none=True)
    filtered = any(accepted(config, name) for name in FILTERS)
    records = where(stored.records, config) if stored.records and filtered else list(stored.records)
    everything = stored.runs
    if belongs is not None:
        records = [record for record in records if belongs(record)]
        everything = tuple(run for run in everything if belongs(run))
    runs = tuple(run for run in everything if passes(fields_of(run.config), config))
    targets = examine_targets(root)
    tell(targets.problems)
    selection = select(records, everything, config.hp_selection)
    return PageData(
        root=root,
        records=tuple(records),
        runs=runs,
        similarities=tuple(one for one in stored.similarities if passes(fields_of(one), config)),
        overlaps=tuple(
            one
            for one in stored.overlaps
            if all(passes(fields_of(run), config) for run in (one.config_a, one.config_b))
        ),
        selection=selection,
        summary=summarise(selection),
        stages=stage_costs(root, records, runs, filtered or belongs is not None),
        problems=(*stored.problems, *targets.problems),
        command=config.command("report"),
        kept=kept,
    )


def write_page(data: PageData, path: Path) -> Path:
    """Write the page, whole or not at all; UserError where there is something at `path` that is no page of ours."""
    html = render_page(data)
    with store.replacing(path, MARK) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path
