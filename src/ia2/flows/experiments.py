"""`ia2 run`: an experiment, which is a function that returns configs, done one after another.

An experiment is a short recipe in Python, `experiments/paper.py:table1`, and every config of it is a command that
could be typed; so it is resumed like any command.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ia2.commands.sweep.grid import left_out
from ia2.config import Config, RunConfig, SweepConfig
from ia2.errors import MachineError, UserError, did_you_mean
from ia2.flows.commands import SUBCOMMANDS, name_of, run

DATASET_FIELDS = ("dataset", "datasets", "trained_datasets")
PLACES = ("root", "max_parallel", "gpus", "ray_address")
"""What may be said of a whole experiment, and holds for each config that has such a field."""


def run_experiment(config: RunConfig) -> list[Config]:
    """Do the configs of an experiment in order, and return them; UserError where there is no such experiment.

    Where some runs of one fail, the next ones are done all the same: MachineError at the end.
    """
    made = configs_of(config)
    narrow = [one for each in made if (one := narrowed(each, config.only)) is not None]
    chosen = list(_once(narrow))
    if missing := [name for name in config.only if all(narrowed(one, [name]) is None for one in made)]:
        raise UserError(f"--only {' '.join(missing)}: {config.experiment} has nothing on {' and '.join(missing)}")
    if len(chosen) < len(made):
        others = f"{len(made) - len(narrow)} on other datasets, {len(narrow) - len(chosen)} the same as another"
        print(f"{len(chosen)} of {len(made)} commands; left out: {others}", file=sys.stderr)
    failed = 0
    for number, one in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {one.command(name_of(one), in_full=True)}", flush=True)
        try:
            if not config.dry_run:
                run(one)
            elif isinstance(one, SweepConfig):
                print("".join(f"  {line}\n" for line in left_out(one)), end="", file=sys.stderr)
        except MachineError as error:
            failed += 1
            print(f"[{number}/{len(chosen)}] failed: {error}", flush=True)
    if failed:
        raise MachineError(f"{failed} of {len(chosen)} commands failed; the same command goes on with what is left")
    return chosen


def configs_of(config: RunConfig) -> list[Config]:
    """What the experiment's function returns, with what the command says of all of it."""
    file, _, name = config.experiment.rpartition(":")
    if not file:
        raise UserError(f"{config.experiment!r}: give file and function, as in experiments/paper.py:table1")
    function = _function(_loaded(Path(file)), name, file)
    made = function()
    if not isinstance(made, Sequence) or not all(type(one) in SUBCOMMANDS.values() for one in made):
        raise UserError(f"{config.experiment} does not return a list of configs of commands")
    given = {field: getattr(config, field) for field in PLACES if getattr(config, field) not in (None, ())}
    return [_placed(one, given) for one in made]


def _placed(config: Config, given: dict[str, Any]) -> Config:
    own = {field: value for field, value in given.items() if field in type(config).model_fields}
    return type(config).model_validate({**dict(config), **own})


def _once(configs: Iterable[Config]) -> Iterator[Config]:
    """Each that differs from those before: what was narrowed may say the same as another."""
    seen: list[Config] = []
    for config in configs:
        if config not in seen:
            seen.append(config)
            yield config


def _loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UserError(f"{file}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _function(module: ModuleType, name: str, file: str) -> Callable[[], object]:
    function = getattr(module, name, None)
    if function is None or not callable(function):
        known = [key for key, one in vars(module).items() if _is_experiment(module, key, one)]
        raise UserError(
            f"{file} has no experiment {name!r}; it has {', '.join(known) or 'none'}{did_you_mean(name, known)}"
        )
    return function  # type: ignore[no-any-return]  # whatever a file defines


def _is_experiment(module: ModuleType, name: str, one: object) -> bool:
    return callable(one) and getattr(one, "__module__", "") == module.__name__ and not name.startswith("_")


def narrowed(config: Config, only: Iterable[str]) -> Config | None:
    """The config with these datasets alone; None where none of them is its own. All of it where none are named."""
    wanted = set(only)
    if not wanted:
        return config
    for field in DATASET_FIELDS:
        value = getattr(config, field, ())
        given = (value,) if isinstance(value, str) else value
        if given:
            kept = tuple(name for name in given if name in wanted)
            if not kept:
                return None
            return config if isinstance(value, str) else config.model_copy(update={field: kept})
    return config
