"""The name of a task from what a command line says: dataset, part, form.

There is one name for each task, and every other way to say it is translated here, once, at the border: `--dataset sciq
--label_template remap` is `sciq_remap`, `--dataset cmath --subset algebra` is `hmath_algebra` (`cmath` is what the
readme calls it; there is no task of that name, so that no folder is called so). Names are compared whole: the trap is
`sciqa`, which begins like `sciq`, and `mmlupro_math`, a part of `mmlupro`, which has no form `math`.
"""

import re
from typing import Literal

from ia2.errors import UserError
from ia2.tasks.registry import PARTS

_OTHER_NAMES = {"cmath": "hmath"}
_WITHOUT_WHOLE = ("hmath",)


def dataset_name(
    dataset: str,
    subset: str | None,
    prompt_template: Literal["normal", "hard"],
    label_template: Literal["normal", "remap"],
) -> str:
    """The name of the task that these flags mean; UserError where they contradict each other, or a part is missing.

    A form that the name already ends in is not added again. Whether there is such a task is for `task` to say.
    """
    name = _with_part(dataset, subset)
    hard = prompt_template == "hard" or name.endswith("_hard")
    remap = label_template == "remap" or name.endswith("_remap")
    if hard and remap:
        raise UserError(
            f"dataset {dataset} with prompt_template={prompt_template} and label_template={label_template}: there is "
            "a hard form and a remap form, and none that is both; leave one of them out"
        )
    form = "_hard" if hard else "_remap" if remap else ""
    if form and name.lower().endswith((".toml", ".json")):
        raise UserError(f"{dataset} is a task file, which has its own prompt and labels: leave out the template flags")
    return name.removesuffix(form) + form


def _with_part(dataset: str, subset: str | None) -> str:
    whole = _OTHER_NAMES.get(dataset, dataset)
    parts = PARTS.get(whole, ())
    if subset is None:
        if whole in _WITHOUT_WHOLE:
            raise UserError(f"dataset {dataset} needs --subset: {', '.join(parts)}")
        return whole
    if not parts:
        raise UserError(f"dataset {dataset} has no subsets (asked for: {subset!r}); these have: {', '.join(PARTS)}")
    part = re.sub(r"[\s_-]+", "_", subset.strip().lower())
    if part not in parts:
        raise UserError(f"dataset {dataset} has no subset {subset!r}; it has: {', '.join(parts)}")
    return f"{whole}_{part}"
