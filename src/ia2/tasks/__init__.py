"""Tasks by name; the built-in ones are in registry.py, which is read when a name is looked up.

A name ends in `_hard` or `_remap` for another form of a dataset, and in `_{subset}` for a part of one that has parts.
"""

from difflib import get_close_matches
from pathlib import Path

from ia2.errors import UserError
from ia2.tasks.task_spec import Task

TASK_FILE_TYPES = (".toml", ".json")


def task(name: str) -> Task:
    """The task called `name`, or described by the file of that name; UserError names near ones and all valid ones.

    >>> from ia2 import task
    >>> task("capitals").spec.question({"country": "France"})
    'Input: France\\nOutput:'
    """
    from ia2.tasks.registry import DATASETS, TASKS  # noqa: PLC0415 - a circle: tasks are described by task files, which are checked against the names of tasks

    if name in TASKS:
        return TASKS[name]
    if name.lower().endswith(TASK_FILE_TYPES):
        from ia2.tasks.own_rows import read_task  # noqa: PLC0415 - which reads the formats of files

        return read_task(Path(name))
    if name.removesuffix("_remap") in TASKS and name.endswith("_remap"):
        normal = TASKS[name.removesuffix("_remap")]
        if not normal.spec.labels:
            raise UserError(f"{normal.name} answers in free text: it has no labels to remap")
        raise UserError(
            f"{normal.name} has {len(normal.spec.labels)} labels, more than there are words to remap them to"
        )
    near = get_close_matches(name, TASKS, n=3)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    plain = ", ".join(DATASETS)
    raise UserError(f"unknown dataset {name!r}{meant}; valid: {plain}, most of them with _hard or _remap too")
