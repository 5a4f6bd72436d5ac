"""The tasks by name. A new dataset is one small module and one entry here.

A name ends in `_hard` or `_remap` for another form of a dataset, and in `_{subset}` for a part of one that has parts.
"""

from difflib import get_close_matches
from pathlib import Path

from ia2.errors import UserError
from ia2.tasks.agnews import AGNEWS
from ia2.tasks.arc import ARC
from ia2.tasks.base import Task
from ia2.tasks.bbcnews import BBCNEWS
from ia2.tasks.capitals import CAPITALS, CAPITALS_RARE
from ia2.tasks.cosmosqa import COSMOSQA
from ia2.tasks.finsen import FINSEN
from ia2.tasks.forms import Dataset, forms
from ia2.tasks.gsm8k import GSM8K
from ia2.tasks.gsm8ks import GSM8KS
from ia2.tasks.hellaswag import HELLASWAG
from ia2.tasks.hmath import HMATH
from ia2.tasks.mathqa import MATHQA
from ia2.tasks.mmlupro import MMLUPRO, MMLUPRO_CATEGORIES
from ia2.tasks.names import dataset_name
from ia2.tasks.past_tense import PAST_TENSE, PAST_TENSE_IRREGULAR
from ia2.tasks.poems import POEMS
from ia2.tasks.qasc import QASC
from ia2.tasks.sciq import SCIQ, SCIQA
from ia2.tasks.sst2 import SST2
from ia2.tasks.strategy import STRATEGYREASON, STRATEGYTF
from ia2.tasks.vader import AMAZON, MOVIES, NYT, TWEETS

__all__ = ["DATASETS", "EMBEDDED", "TASKS", "dataset_name", "task"]

EMBEDDED: tuple[Task, ...] = (CAPITALS, CAPITALS_RARE, PAST_TENSE, PAST_TENSE_IRREGULAR)
DATASETS: tuple[Dataset, ...] = (
    SST2,
    BBCNEWS,
    GSM8K,
    GSM8KS,
    FINSEN,
    POEMS,
    AGNEWS,
    STRATEGYTF,
    STRATEGYREASON,
    MOVIES,
    TWEETS,
    AMAZON,
    NYT,
    SCIQ,
    SCIQA,
    QASC,
    ARC,
    HELLASWAG,
    COSMOSQA,
    MATHQA,
    MMLUPRO,
    *MMLUPRO_CATEGORIES,
    *HMATH,
)

TASKS: dict[str, Task] = {
    task.name: task for task in (*EMBEDDED, *(form for dataset in DATASETS for form in forms(dataset)))
}


def task(name: str) -> Task:
    """The task called `name`, or described by the file of that name; UserError names near ones and all valid ones.

    >>> from ia2 import task
    >>> task("capitals").spec.question({"country": "France"})
    'Input: France\\nOutput:'
    """
    if name in TASKS:
        return TASKS[name]
    if name.lower().endswith((".toml", ".json")):
        from ia2.tasks.task_files import read_task  # noqa: PLC0415  # which refuses the names above

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
    plain = ", ".join(one.name for one in TASKS.values() if one.form == "normal")
    raise UserError(f"unknown dataset {name!r}{meant}; valid: {plain}, most of them with _hard or _remap too")
