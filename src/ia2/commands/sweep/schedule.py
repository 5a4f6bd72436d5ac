"""The plan of a sweep: its jobs, which wait for one another, their outcomes, who is at which, and which is next.

Runs that share a split and T share its targets: those are collected once, all kinds in one pass, so that the result of
a run does not depend on which others were requested before it. A first phase that nobody listed is planned too, since
a second one starts from it. A failure takes along only what needs it.

Where several processes share the work of a sweep, each reports what it begins and ends in its journal, a file of JSON
lines, and reads those of the others in the same folder. A process that works alone has no journal.
"""

import json
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from ia2 import store
from ia2.commands.train import first_phase, is_trained, kinds_of, stack_key, start_of
from ia2.config import SweepConfig, TrainConfig
from ia2.errors import UserError
from ia2.methods import Kind

log = logging.getLogger(__name__)

End = Literal["done", "there", "failed", "skipped"]
"""done; there already, since another process did it meanwhile; failed; skipped, since something it needs failed."""


@dataclass(frozen=True)
class Job:
    """A run, whose key is its folder below outputs; with `kinds` the targets of the split that `config` has."""

    key: str
    config: TrainConfig
    kinds: frozenset[Kind] = frozenset()
    needs: tuple[str, ...] = ()
    seconds: float | None = None
    """Estimate, as `num_bytes` is: the mean of finished work of its kind below the root; None where there is none."""
    num_bytes: int = 0


@dataclass(frozen=True)
class Outcome:
    """The end of a job; `num_loaded` counts the base models that its worker had loaded by then."""

    key: str
    status: End
    seconds: float = 0.0
    reason: str = ""
    num_loaded: int = 0

    def __str__(self) -> str:
        took = f" in {self.seconds:.1f} s" if self.status in ("done", "failed") and self.seconds else ""
        return f"{self.status}{took}: {self.key}{self.reason and ': '}{self.reason}"


@dataclass(frozen=True)
class Claim:
    """A worker at a job since a time, of `together` that it began at once, and the bytes that it had printed before."""

    worker: str
    since: float
    together: int = 1
    printed: int = 0


@dataclass
class Schedule:
    """Jobs below a root, their outcomes, and those under way; `watch` is called for each outcome."""

    root: Path
    jobs: Sequence[Job]
    config: SweepConfig
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    journal: Path | None = None
    watch: Callable[[Outcome], object] = lambda _outcome: None
    running: dict[str, Claim] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    workers: Counter[str] = field(default_factory=Counter)
    """Number of jobs that each worker has ended, of those that are up."""
    postponed: dict[str, float] = field(default_factory=dict)
    """Times before which jobs that other processes have locked are not tried again."""
    interrupted: bool = False

    def __post_init__(self) -> None:
        self._offsets: dict[Path, int] = {}
        self.num_workers = max(1, min(max(self.config.max_parallel, len(self.config.gpus)), len(self.jobs)))

    @property
    def left(self) -> list[Job]:
        """The jobs that have not ended."""
        return [job for job in self.jobs if job.key not in self.outcomes]

    @property
    def is_over(self) -> bool:
        """True when no job is begun any more: all have ended, a person said so, or there are --max_failures."""
        most, failures = self.config.max_failures, sum(one.status == "failed" for one in self.outcomes.values())
        return self.interrupted or not self.left or (most is not None and failures >= most)

    def next(self) -> list[Job]:
        """Jobs to claim together now, more than one where runs are stacked; none where none is ready.

        Targets come first, since runs wait for them; then the phases in order, or with --sequential_first second phases
        as soon as they can; then the longest, so that no worker is left with a long one at the end. The workers share
        evenly what can be trained in the same passes. A run whose worker was lost is tried alone.
        """
        self.read()
        good = {key for key, outcome in self.outcomes.items() if outcome.status in ("done", "there")}
        missing, sign = {job.key for job in self.jobs} - good, -1 if self.config.sequential_first else 1
        free = [job for job in self.left if job.key not in self.running and missing.isdisjoint(job.needs)]
        ready = [job for job in free if time.time() >= self.postponed.get(job.key, 0.0)]
        ready.sort(key=lambda job: -math.inf if job.seconds is None else -job.seconds)
        ready.sort(
            key=lambda job: (job.key in self.postponed, 0 if job.kinds else sign * len(job.config.method.phases))
        )
        if self.is_over or not ready or self.config.stack == 1 or ready[0].kinds or self.tries[ready[0].key]:
            return [] if self.is_over else ready[:1]
        stack, untried = stack_key(ready[0].config), [job for job in ready if not job.kinds and not self.tries[job.key]]
        alike = ready[:1] if stack is None else [job for job in untried if stack_key(job.config) == stack]
        return alike[: min(self.config.stack, math.ceil(len(alike) / self.num_workers))]

    def report(self, event: Outcome | Mapping[str, Any]) -> None:
        """Note an outcome, or another event of this process, and write it into the journal."""
        event = {"end": asdict(event)} if isinstance(event, Outcome) else event
        if self.journal is not None:
            with self.journal.open("a", encoding="utf-8") as stream:
                stream.write(f"{json.dumps(event)}\n")
        self._note("0.0" if self.journal is None else self.journal.stem, event)

    def read(self) -> None:
        """Note what the other processes have reported since."""
        for file in [] if self.journal is None else sorted(self.journal.parent.glob("*.jsonl")):
            for line in new_lines(file, self._offsets) if file != self.journal else ():
                self._note(file.stem, json.loads(line))

    def _note(self, worker: str, event: Mapping[str, Any]) -> None:
        match event:
            case {"up": True}:
                self.workers[worker] = 0
            case {"begin": keys, "at": since, "printed": printed}:
                self.tries.update(keys)
                self.running |= dict.fromkeys(keys, Claim(worker, since, len(keys), printed))
            case {"end": outcome}:
                self.workers[worker] += 1
                self._end(Outcome(**outcome))
            case {"lost": lost}:
                self.running = {key: claim for key, claim in self.running.items() if claim.worker != lost}
                del self.workers[lost]
            case {"stop": True}:
                self.interrupted = True

    def _end(self, outcome: Outcome) -> None:
        self.running.pop(outcome.key, None)
        if outcome.key in self.outcomes:
            return
        self.outcomes[outcome.key] = outcome
        self.watch(outcome)
        for job in self.jobs if outcome.status in ("failed", "skipped") else ():
            if outcome.key in job.needs:
                why = "failed" if outcome.status == "failed" else "was skipped"
                self._end(Outcome(job.key, "skipped", reason=f"it needs {outcome.key}, which {why}"))


def new_lines(file: Path, offsets: dict[Path, int]) -> Iterator[str]:
    """Whole lines of a file that grows, from its offset on, which moves behind them."""
    with file.open("rb") as stream:
        stream.seek(offsets.get(file, 0))
        for line in stream:
            if line.endswith(b"\n"):
                offsets[file] = offsets.get(file, 0) + len(line)
                yield line.decode(errors="replace")


# The jobs


def jobs_of(root: Path, configs: Sequence[TrainConfig]) -> tuple[list[Job], list[str]]:
    """The jobs of these runs (data prepared, T resolved), each after those it needs, and the keys of finished runs."""
    wanted: dict[str, TrainConfig] = {}
    for config in configs:
        for one in (first_phase(config), config):
            if one is not None:
                wanted[str(store.run_folder(root, one).relative_to(root / "outputs"))] = one
    finished = [key for key, config in wanted.items() if is_finished(root, config)]
    costs, targets, runs = measured_costs(root), dict[str, Job](), list[Job]()
    for key, config in wanted.items():
        if key in finished:
            continue
        needs = []
        if kinds := kinds_of(config):
            split = store.split_file(root, config).relative_to(root)
            needs.append(name := f"targets of {split}, T={config.num_generated_tokens}")
            known = targets[name].kinds if name in targets else frozenset()
            targets[name] = Job(name, config, kinds | known, (), *costs.get("targets", ()))
        if (first := first_phase(config)) is not None:
            needs.append(str(store.run_folder(root, first).relative_to(root / "outputs")))
        runs.append(Job(key, config, frozenset(), tuple(needs), *costs.get(config.training_method, ())))
    return [*targets.values(), *sorted(runs, key=lambda job: len(job.config.method.phases))], finished


def is_finished(root: Path, config: TrainConfig) -> bool:
    """True for a run in the store; where something else is in its place, the run is tried, and fails for that."""
    try:
        return not config.retrain and is_trained(root, config, start_of(root, config))
    except (UserError, OSError):
        return False


def measured_costs(root: Path) -> dict[str, tuple[float, int]]:
    """Mean seconds and bytes of finished work below a root, by its kind; damaged files are reported and left out."""
    files = [(path, "targets") for path in (root / "outputs" / "targets").glob("*/manifest.json")]
    folders = store.run_folders(root)
    files += [(path / "final_loss_statistics.json", path.relative_to(root / "outputs").parts[0]) for path in folders]
    costs = defaultdict[str, list[tuple[float, int]]](list)
    for file, kind in files:
        try:
            size = sum(one.stat().st_size for one in file.parent.rglob("*") if one.is_file())
            costs[kind].append((float(store.read_object(file)["seconds"]), size))
        except (UserError, KeyError, TypeError, ValueError) as error:
            log.warning("%s has no seconds (%s), and is left out of the estimate", file, error)
    means = {kind: [mean(values) for values in zip(*each, strict=True)] for kind, each in costs.items() if each}
    return {kind: (seconds, round(num_bytes)) for kind, (seconds, num_bytes) in means.items()}
