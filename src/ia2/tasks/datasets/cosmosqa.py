"""Reading between the lines of a personal story: Cosmos QA of the hub, its own train and validation splits.

There is no empty line before the cue here. The trap: `None of the above choices .` is anywhere among the hub's four
answers, also first, where it makes no sense. It is moved last, and the label moves with it. (The example is row 0 of
train, https://huggingface.co/datasets/allenai/cosmos_qa, where the answer is 1.)
"""

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import Item, choice_item, from_hub, label_of, numbered
from ia2.tasks.task_files import About, TaskFormat

_HUB = HubSource("allenai/cosmos_qa", offline_task="capitals")
_NUM_CHOICES = 4
_NONE = "None of the above choices ."


def _item(row: SourceRow) -> Item:
    answers = [text_of(row, f"answer{index}") for index in range(_NUM_CHOICES)]
    label = text_of(row, "label")
    label_of(label, numbered(_NUM_CHOICES))
    order = sorted(range(_NUM_CHOICES), key=lambda index: answers[index].strip() == _NONE)
    fields = {column: text_of(row, column) for column in ("context", "question")}
    return choice_item(fields, [answers[index] for index in order], str(order.index(int(label))), _NUM_CHOICES)


COSMOSQA = Dataset(
    TaskFormat(
        name="cosmosqa",
        template="Context:{context}\nQuestion:{question}\nChoices:\n{choices}\nAnswer:",
        answer="{answer}",
        parser="choice",
        num_generated_tokens=1,
        labels=numbered(_NUM_CHOICES),
        about=About(
            family="commonsense",
            source="hub allenai/cosmos_qa, train / validation",
            licence="CC BY 4.0",
            size="25,262 / 2,985",
        ),
    ),
    load=from_hub(_HUB, _item, "train", "validation"),
    example=Item(
        {
            "context": "Good Old War and person L : I saw both of these bands Wednesday night , and they both blew me "
            "away . seriously . Good Old War is acoustic and makes me smile . I really can not help but be happy when "
            "I listen to them ; I think it 's the fact that they seemed so happy themselves when they played .",
            "question": "In the future , will this person go to see other bands play ?",
        },
        "0",
        (
            "This person likes music and likes to see the show , they will see other bands play .",
            "This person only likes Good Old War and Person L , no other bands .",
            "Other Bands is not on tour and this person can not see them .",
            _NONE,
        ),
    ),
)
DATASETS = (COSMOSQA,)
