"""What a sweep has to do, as jobs that wait for one another: targets, then first phases, then second ones.

Runs that share a split and a model share its targets: those are collected once, all kinds in one pass, so that the
result of a run does not depend on which others were asked for before it. A first phase that nobody listed is planned
too, since a second one starts from it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ia2 import store
from ia2.commands.train import first_phase, is_trained, kinds_of, stack_key, start_of
from ia2.config import TrainConfig
from ia2.errors import UserError
from ia2.methods import Kind

TARGET_FIELDS = ("model_id", "torch_dtype", "num_generated_tokens", "stop", "chat_template")
"""What targets depend on beside the split; see `material`."""


@dataclass(frozen=True)
class Job:
    """One piece of work: a run, or, where `kinds` are named, the targets of the split that `config` has."""

    key: str
    config: TrainConfig
    kinds: frozenset[Kind] = frozenset()
    needs: tuple[str, ...] = ()
    seconds: float = 0.0
    """Estimate, from what was measured; 0 where nothing was."""
    mates: tuple["Job", ...] = ()
    """Runs that are trained in the same passes as this one."""

    @property
    def stack(self) -> str | None:
        """What jobs share that can be done in the same passes; None for one that is done alone."""
        return None if self.kinds else stack_key(self.config)

    @property
    def num_phases(self) -> int:
        """How many phases lie behind it when it is done: what is to be done first has fewer. 0 for targets."""
        return 0 if self.kinds else len(self.config.method.phases)


@dataclass(frozen=True)
class Plan:
    """The jobs that are left, each after those it needs, and the runs that stand already."""

    jobs: tuple[Job, ...]
    done: tuple[str, ...]

    @property
    def runs(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if not job.kinds)


def plan_of(root: Path, configs: Sequence[TrainConfig]) -> Plan:
    """The plan of these runs (datasets prepared, T resolved), each once."""
    wanted = {run_key(root, config): config for config in _with_first_phases(configs)}
    done = tuple(key for key, config in wanted.items() if stands(root, config))
    left = {key: config for key, config in wanted.items() if key not in done}
    targets = _target_jobs(root, left.values())
    runs = [_run_job(root, key, config, targets, left) for key, config in left.items()]
    return Plan((*targets.values(), *sorted(runs, key=lambda job: job.num_phases)), done)


def run_key(root: Path, config: TrainConfig) -> str:
    """A run's folder below the root's outputs."""
    return str(store.run_folder(root, config).relative_to(root / "outputs"))


def _with_first_phases(configs: Iterable[TrainConfig]) -> Iterable[TrainConfig]:
    for config in configs:
        first = first_phase(config)
        if first is not None:
            yield first
        yield config


def stands(root: Path, config: TrainConfig) -> bool:
    """Whether the run is there; where something else is in its place, the run is tried, and fails with the reason."""
    if config.retrain:
        return False
    try:
        return is_trained(root, config, start_of(root, config))
    except (UserError, OSError):
        return False


def _target_jobs(root: Path, configs: Iterable[TrainConfig]) -> dict[tuple[object, ...], Job]:
    """One job for each set of targets, of the union of what its runs need."""
    jobs: dict[tuple[object, ...], Job] = {}
    for config in configs:
        kinds = kinds_of(config)
        if not kinds:
            continue
        place = _targets_place(root, config)
        known = jobs.get(place)
        if known is None:
            split = store.split_file(root, config).relative_to(root)
            jobs[place] = Job(f"targets of {split}, T={config.num_generated_tokens} #{len(jobs)}", config, kinds)
        else:
            jobs[place] = replace(known, kinds=known.kinds | kinds)
    return jobs


def _targets_place(root: Path, config: TrainConfig) -> tuple[object, ...]:
    return (store.split_file(root, config), *(getattr(config, field) for field in TARGET_FIELDS))


def _run_job(
    root: Path,
    key: str,
    config: TrainConfig,
    targets: dict[tuple[object, ...], Job],
    left: dict[str, TrainConfig],
) -> Job:
    needs = [targets[_targets_place(root, config)].key] if kinds_of(config) else []
    first = first_phase(config)
    if first is not None and run_key(root, first) in left:
        needs.append(run_key(root, first))
    return Job(key, config, needs=tuple(needs))
