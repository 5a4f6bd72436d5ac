"""What is asked: the tasks by name. A new dataset is one small module and one entry here."""

from difflib import get_close_matches

from ia2.errors import UserError
from ia2.tasks.base import Task
from ia2.tasks.bbcnews import BBCNEWS
from ia2.tasks.capitals import CAPITALS, CAPITALS_RARE
from ia2.tasks.gsm8k import GSM8K
from ia2.tasks.past_tense import PAST_TENSE, PAST_TENSE_IRREGULAR
from ia2.tasks.sst2 import SST2

TASKS: dict[str, Task] = {
    "bbcnews": BBCNEWS,
    "capitals": CAPITALS,
    "capitals_rare": CAPITALS_RARE,
    "gsm8k": GSM8K,
    "past_tense": PAST_TENSE,
    "past_tense_irregular": PAST_TENSE_IRREGULAR,
    "sst2": SST2,
}


def task(name: str) -> Task:
    """The task called `name`; UserError names near ones and all valid ones."""
    if name in TASKS:
        return TASKS[name]
    near = get_close_matches(name, TASKS, n=3)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise UserError(f"unknown dataset {name!r}{meant}; valid: {', '.join(TASKS)}")
