"""The built-in tasks by name. A new dataset is one small module and one entry here."""

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
from ia2.tasks.past_tense import PAST_TENSE, PAST_TENSE_IRREGULAR
from ia2.tasks.poems import POEMS
from ia2.tasks.qasc import QASC
from ia2.tasks.sciq import SCIQ, SCIQA
from ia2.tasks.sst2 import SST2
from ia2.tasks.strategy import STRATEGYREASON, STRATEGYTF
from ia2.tasks.vader import AMAZON, MOVIES, NYT, TWEETS

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
