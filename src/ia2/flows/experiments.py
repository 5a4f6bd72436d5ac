"""`ia2 run`: an experiment, which is a function that returns configs, done one after another.

An experiment is a short recipe in Python, `experiments/paper.py:table1`, and every config of it is a command that
could be typed; so it is resumed like any command.
"""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ia2.config import Config, RunConfig
from ia2.errors import UserError
from ia2.flows.commands import name_of, run

DATASET_FIELDS = ("dataset", "datasets", "trained_datasets")


def run_experiment(config: RunConfig) -> list[Config]:
    """Do the configs of an experiment in order, and return them; UserError where there is no such experiment."""
    chosen = [one for made in configs_of(config) if (one := narrowed(made, config.only)) is not None]
    if not chosen:
        raise UserError(f"--only {' '.join(config.only)}: {config.experiment} has nothing on these datasets")
    for number, one in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {one.command(name_of(one))}")
        if not config.dry_run:
            run(one)
    return chosen


def configs_of(config: RunConfig) -> list[Config]:
    """What the experiment's function returns, in the root that was given, if one was."""
    file, _, name = config.experiment.rpartition(":")
    if not file:
        raise UserError(f"{config.experiment!r}: give file and function, as in experiments/paper.py:table1")
    function = _function(_loaded(Path(file)), name, file)
    made = function()
    if not isinstance(made, Sequence) or not all(isinstance(one, Config) for one in made):
        raise UserError(f"{config.experiment} does not return a list of configs")
    at_root: dict[str, Any] = {"root": config.root} if config.root is not None else {}
    return [one.model_copy(update=at_root) for one in made]


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
        raise UserError(f"{file} has no experiment {name!r}; it has {', '.join(known) or 'none'}")
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
