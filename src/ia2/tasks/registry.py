"""The built-in tasks by name. A new dataset is one small module and one entry here."""

from ia2.tasks.datasets.agnews import AGNEWS
from ia2.tasks.datasets.arc import ARC
from ia2.tasks.datasets.bbcnews import BBCNEWS
from ia2.tasks.datasets.capitals import CAPITALS, CAPITALS_RARE
from ia2.tasks.datasets.cosmosqa import COSMOSQA
from ia2.tasks.datasets.finsen import FINSEN
from ia2.tasks.datasets.gsm8k import GSM8K
from ia2.tasks.datasets.gsm8ks import GSM8KS
from ia2.tasks.datasets.hellaswag import HELLASWAG
from ia2.tasks.datasets.hmath import HMATH
from ia2.tasks.datasets.mathqa import MATHQA
from ia2.tasks.datasets.mmlupro import MMLUPRO, MMLUPRO_CATEGORIES
from ia2.tasks.datasets.past_tense import PAST_TENSE, PAST_TENSE_IRREGULAR
from ia2.tasks.datasets.poems import POEMS
from ia2.tasks.datasets.qasc import QASC
from ia2.tasks.datasets.sciq import SCIQ, SCIQA
from ia2.tasks.datasets.sst2 import SST2
from ia2.tasks.datasets.strategy import STRATEGYREASON, STRATEGYTF
from ia2.tasks.datasets.vader import AMAZON, MOVIES, NYT, TWEETS
from ia2.tasks.forms import Dataset, forms
from ia2.tasks.task_spec import Task

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
