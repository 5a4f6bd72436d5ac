"""Science exam questions: SciQ of the hub, its own train and validation splits, asked in two ways.

sciq: the right answer and three distractors, to be chosen from. `sciq_remap` is the paper's SciQr.
sciqa: the same question without choices, answered with the paragraph that supports the answer, and the answer last.
The example is the row that the card shows, https://huggingface.co/datasets/allenai/sciq.

The traps: the hub lists the right answer by itself, so that the order of the choices is ours. It is drawn with the
question's text as the seed: as good as random over questions, and the same for a question on every machine, in every
form and whichever rows are loaded. And one row in ten has no support: its answer is the line after `####` alone.
"""

from random import Random

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import QUESTION_TEMPLATE, Item, choice_item, from_hub, numbered
from ia2.tasks.task_files import About, HardForm, TaskFormat

_HUB = HubSource("allenai/sciq", offline_task="capitals")
_ANSWERS = ("correct_answer", "distractor1", "distractor2", "distractor3")

_CARD_ROW = {
    "question": "What phenomenon makes global winds blow northeast to southwest or the reverse in the northern "
    "hemisphere and northwest to southeast or the reverse in the southern hemisphere?",
    "correct_answer": "coriolis effect",
    "distractor1": "muon effect",
    "distractor2": "centrifugal effect",
    "distractor3": "tropical effect",
    "support": "Without Coriolis Effect the global winds would blow north to south or south to north. But Coriolis "
    "makes them blow northeast to southwest or the reverse in the Northern Hemisphere. The winds blow northwest to "
    "southeast or the reverse in the southern hemisphere.",
}


def _choice_item(row: SourceRow) -> Item:
    question = text_of(row, "question")
    order = Random(f"sciq/{question}").sample(range(len(_ANSWERS)), len(_ANSWERS))
    choices = [text_of(row, _ANSWERS[index]) for index in order]
    return choice_item({"question": question}, choices, str(order.index(0)), len(_ANSWERS))


def _reasoned_item(row: SourceRow) -> Item:
    answer, support = text_of(row, "correct_answer"), text_of(row, "support")
    return Item({"question": text_of(row, "question")}, answer, solution=f"{support}\n#### {answer}")


_SOURCE = {"source": "hub allenai/sciq, train / validation", "licence": "CC BY-NC 3.0", "size": "11,679 / 1,000"}

SCIQ = Dataset(
    TaskFormat(
        name="sciq",
        template=QUESTION_TEMPLATE,
        answer="{answer}",
        parser="choice",
        num_generated_tokens=1,
        labels=numbered(len(_ANSWERS)),
        about=About(family="science questions", ood_group="science_questions", **_SOURCE),
    ),
    load=from_hub(_HUB, _choice_item, "train", "validation"),
    example=_choice_item(_CARD_ROW),
)
SCIQA = Dataset(
    TaskFormat(
        name="sciqa",
        template="Question:{question}\nAnswer:",
        answer="{answer}",
        parser="after_marker",
        num_generated_tokens=200,
        hard=HardForm(parser="line", num_generated_tokens=8),
        about=About(family="reasoning", **_SOURCE),
    ),
    load=from_hub(_HUB, _reasoned_item, "train", "validation"),
    example=_reasoned_item(_CARD_ROW),
)
DATASETS = (SCIQ, SCIQA)
