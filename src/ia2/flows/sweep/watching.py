"""A sweep as a person watches it: a line for every job that ended, and, on a terminal, a view redrawn below them.

The view asks nobody: which jobs run is in the schedule, and how far a run is stands in the history that its worker
writes anyway, so that it is the same for every executor and costs the work nothing.
"""

import io
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ia2.flows.progress import most_steps, progress_of
from ia2.flows.sweep.estimate import seconds_left
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import Outcome, Schedule

REDRAWN = 2.0
"""Times a second."""


@contextmanager
def watching(root: Path, schedule: Schedule) -> Iterator[Callable[[Outcome], None]]:
    """Yields what is to be called when a job has ended; meanwhile there is a view where stdout is a terminal."""
    told: list[str] = []

    def tell(_outcome: Outcome) -> None:
        for outcome in list(schedule.outcomes.values())[len(told) :]:  # with those that it took along
            told.append(outcome.key)
            print(f"[{len(told)}/{len(schedule.jobs)}] {in_words(outcome)}", flush=True)

    console = Console(file=sys.stdout)
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        yield tell
        return
    view = View(root, schedule)
    live = Live(
        get_renderable=view,
        console=console,
        refresh_per_second=REDRAWN,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with _printing_above(console), live:
        console.show_cursor(True)  # it would stay hidden if we were killed
        yield tell


def in_words(outcome: Outcome) -> str:
    """`done in 1.2 s: act/capitals/...`, or what else became of it, and why."""
    took = f" in {outcome.seconds:.1f} s" if outcome.status in ("done", "failed") and outcome.seconds else ""
    why = f": {outcome.reason}" if outcome.reason else ""
    return f"{outcome.status}{took}: {outcome.key}{why}"


class View:
    """What stands on the terminal: how far the sweep is, and a line for all that a worker can be at, which keeps its
    place."""

    def __init__(self, root: Path, schedule: Schedule) -> None:
        self._root, self._schedule = root, schedule
        self._jobs = {job.key: job for job in schedule.jobs}
        self._names = names(schedule.jobs)
        self._places: list[str | None] = [None] * min(schedule.num_workers * schedule.stack, len(schedule.jobs))
        self._most_steps: dict[tuple[str, str], int] = {}

    def __call__(self) -> Group:
        """The view as it is now."""
        self._seat(self._schedule.running)
        lines = Table.grid(padding=(0, 2), expand=True)
        lines.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for _ in range(3):
            lines.add_column(no_wrap=True, justify="right")
        for key in self._places:
            cells = self._line(self._jobs[key]) if key is not None else ("waiting", "", "", "")
            lines.add_row(*map(Text, cells))
        return Group(self._head(), lines)

    def _seat(self, running: list[str]) -> None:
        """Whoever runs keeps the place it has; who has begun gets a free one."""
        self._places = [key if key in running else None for key in self._places]
        new = iter(key for key in running if key not in self._places)
        self._places = [key if key is not None else next(new, None) for key in self._places]

    def _head(self) -> Table:
        runs = [job.key for job in self._schedule.jobs if not job.kinds]
        ends = Counter(self._schedule.status[key] for key in runs)
        done = ends["done"] + ends["there"]
        left = len(runs) - done - ends["failed"] - ends["skipped"]
        counted = {"failed": ends["failed"], "skipped": ends["skipped"], "left": left}
        words = [
            f"{done} of {len(runs)} runs done",
            *(f"{number} {what}" for what, number in counted.items() if number),
        ]
        seconds = seconds_left(self._schedule, time.monotonic())
        words += [f"about {duration(seconds)} to go"] if seconds is not None and left else []
        head = Table.grid(padding=(0, 2))
        head.add_row(ProgressBar(total=max(1, len(runs)), completed=len(runs) - left, width=20), ", ".join(words))
        return head

    def _line(self, job: Job) -> tuple[str, str, str, str]:
        seconds = duration(time.monotonic() - self._schedule.begun[job.key])
        if job.kinds:
            return job.key, "collecting", "", seconds
        progress = progress_of(self._root / "outputs" / job.key)
        if progress is None:
            return self._names[job.key], "starting", "", seconds
        known = {"train": progress.train_loss, "dev": progress.dev_loss}
        losses = "  ".join(f"{name} {loss:.4g}" for name, loss in known.items() if loss is not None)
        step = f"{progress.phase} {progress.step}/{self._steps(job, progress.phase)}"
        return self._names[job.key], step, losses, seconds

    def _steps(self, job: Job, phase: str) -> int:
        if (job.key, phase) not in self._most_steps:
            self._most_steps[job.key, phase] = most_steps(self._root, job.config, phase)
        return self._most_steps[job.key, phase]


def names(jobs: Sequence[Job]) -> dict[str, str]:
    """Each run by its method, its dataset and what differs between these runs, in one short line."""
    given = {job.key: job.config.relevant_fields() for job in jobs if not job.kinds}
    values: dict[str, set[str]] = {}
    for fields in given.values():
        for field, value in fields.items():
            values.setdefault(field, set()).add(repr(value))
    differ = [
        field for field, found in values.items() if len(found) > 1 and field not in ("training_method", "dataset")
    ]
    return {
        key: " ".join(
            [fields["training_method"], fields["dataset"], *(f"{one}={fields[one]}" for one in differ if one in fields)]
        )
        for key, fields in given.items()
    }


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _Above(io.TextIOBase):
    """Prints whole lines above the view. It is no terminal, so that the bars of what runs here stay away."""

    def __init__(self, console: Console) -> None:
        self._console, self._partial = console, ""

    def write(self, text: str) -> int:
        *whole, self._partial = (self._partial + text).split("\n")
        for line in whole:
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)


@contextmanager
def _printing_above(console: Console) -> Iterator[None]:
    """Print what others print, and log, above the view."""
    above = _Above(console)
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
    streams = {one: one.stream for one in handlers if one.stream in (sys.stdout, sys.stderr)}
    for handler in streams:
        handler.setStream(above)
    try:
        with redirect_stdout(above), redirect_stderr(above):
            yield
    finally:
        for handler, stream in streams.items():
            handler.setStream(stream)
