"""A sweep as a person watches it: a line for every job that ended, and, on a terminal, a view redrawn below them.

The view reads the schedule and the history that a run's worker writes anyway, so that it costs the work nothing.
"""

import io
import logging
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from statistics import mean

from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ia2.commands.progress import duration, most_steps, progress_of
from ia2.commands.sweep.schedule import Job, Outcome, Schedule


@contextmanager
def watching(schedule: Schedule) -> Iterator[None]:
    """Print a line for each job that ends meanwhile, above a view where stdout is a terminal."""
    console = Console(file=sys.stdout)
    is_plain = not sys.stdout.isatty() or console.is_dumb_terminal

    def print_line(outcome: Outcome) -> None:
        line = f"[{len(schedule.jobs) - len(schedule.left)}/{len(schedule.jobs)}] {outcome}"
        if is_plain:
            print(line, flush=True)
        else:
            console.print(Text(line), soft_wrap=True)

    schedule.watch = print_line
    if is_plain:
        yield
        return
    # Others print and log above the view, to what is no terminal, so that the bars of what runs here stay away.
    above = FileProxy(console, io.StringIO())
    with ExitStack() as restored:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
                restored.callback(handler.setStream, handler.setStream(above))
        with redirect_stdout(above), redirect_stderr(above):
            live = partial(Live, redirect_stdout=False, redirect_stderr=False, transient=True, refresh_per_second=2)
            restored.enter_context(
                live(get_renderable=partial(view, schedule, short_names(schedule.jobs)), console=console)
            )
            console.show_cursor(True)  # it would stay hidden if we were killed
            yield


def view(schedule: Schedule, shown: Mapping[str, str]) -> Group:
    """Progress of a sweep at this time, and a line for each worker, or for each run of it by the name that is shown."""
    running = schedule.running.copy()
    runs = [job.key for job in schedule.jobs if not job.kinds]
    ends = Counter(schedule.outcomes[key].status for key in runs if key in schedule.outcomes)
    left, seconds = len(runs) - ends.total(), seconds_left(schedule, time.time())
    words = [f"{ends['done'] + ends['there']} of {len(runs)} runs done"]
    words += [f"{ends[end]} {end}" for end in ("failed", "skipped") if ends[end]] + [f"{left} left"] * bool(left)
    words += [f"about {duration(seconds)} to go"] if seconds is not None and left else []
    head, lines = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2), expand=True)
    head.add_row(ProgressBar(total=max(1, len(runs)), completed=len(runs) - left, width=20), ", ".join(words))
    lines.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for slot in range(schedule.num_workers):
        jobs = [job for job in schedule.jobs if job.key in running and running[job.key].worker.startswith(f"{slot}.")]
        for job in jobs:
            progress = None if job.kinds else progress_of(schedule.root / "outputs" / job.key)
            step, losses = "collecting" if job.kinds else "starting", ""
            if progress is not None:
                known = {"train": progress.train_loss, "dev": progress.dev_loss}
                losses = "  ".join(f"{name} {loss:.4g}" for name, loss in known.items() if loss is not None)
                step = f"{progress.phase} {progress.step}/{most_steps(schedule.root, job.config, progress.phase)}"
            taken = duration(time.time() - running[job.key].since)
            lines.add_row(
                Text(shown.get(job.key, job.key)), *(Text(cell, no_wrap=True) for cell in (step, losses, taken))
            )
        if not jobs:
            lines.add_row(Text("waiting"))
    return Group(head, lines)


def seconds_left(schedule: Schedule, now: float) -> float | None:
    """Seconds that are left of a sweep at a time, its workers sharing the work; None where nothing is known.

    A job should take what such jobs took in this sweep on average, else its estimate, else the mean of all others.
    """
    measured, kind = defaultdict[str, list[float]](list), dict[str, str]()
    for job in schedule.jobs:
        kind[job.key] = "targets" if job.kinds else job.config.training_method
        if job.key in schedule.outcomes and schedule.outcomes[job.key].status == "done":
            measured[kind[job.key]].append(schedule.outcomes[job.key].seconds)
    means = {kind: mean(seconds) for kind, seconds in measured.items()}
    expected = {job.key: means.get(kind[job.key], job.seconds) for job in schedule.jobs}
    known = [seconds for seconds in expected.values() if seconds is not None]
    running, left = schedule.running.copy(), [0.0]
    for job in schedule.left if known else ():
        seconds, been = expected[job.key], now - running[job.key].since if job.key in running else 0.0
        left.append(max(0.0, (mean(known) if seconds is None else seconds) - been))
    return max([sum(left) / schedule.num_workers, *left]) if known else None


def short_names(jobs: Sequence[Job]) -> dict[str, str]:
    """Each run by its method, its dataset and what differs between these runs, in one short line."""
    given = {job.key: job.config.relevant_fields() for job in jobs if not job.kinds}
    values = defaultdict[str, set[str]](set)
    for name, value in (item for fields in given.values() for item in fields.items()):
        values[name].add(repr(value))
    first = ["training_method", "dataset"]
    differ = [name for name, found in values.items() if len(found) > 1 and name not in first]
    return {
        key: " ".join([*(fields[name] for name in first), *(f"{one}={fields[one]}" for one in differ if one in fields)])
        for key, fields in given.items()
    }
