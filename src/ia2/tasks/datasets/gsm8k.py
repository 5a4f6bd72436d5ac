"""Grade school mathematics: GSM8K of the hub, its train split, and its test split for validation.

    Question:Ann has 3 apples and buys 2. How many has she?\\nAnswer:   ->   3+2=<<3+2=5>>5 apples\\n#### 5

(An invented row. The worked solution, calculator notes and all, follows the cue directly.) The trap is the blank line:
a response ends at the first one, so a solution that held one would be cut there, before its `####`. Empty lines inside
a solution are dropped, and those of a question too, so that they cannot be taken for the end of a demonstration.
"""

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset, Item, from_hub

_HUB = HubSource("openai/gsm8k", config="main", offline_task="gsm8ks")


def item(row: SourceRow) -> Item:
    """A question, its worked solution, and the text after the last `####` of that."""
    solution = text_of(row, "answer")
    return Item({"question": text_of(row, "question")}, solution.rpartition("####")[2].strip(), solution=solution)


GSM8K = Dataset(
    name="gsm8k",
    template="Question:{question}\nAnswer:",
    load=from_hub(_HUB, item, "train", "test"),
    example=Item(
        {"question": "Ann has 3 apples and buys 2. How many has she?"}, "5", solution="3+2=<<3+2=5>>5 apples\n#### 5"
    ),
    family="mathematics",
    source="hub openai/gsm8k main, train / test",
    licence="MIT",
    size="7,473 / 1,319",
    parser="number",
    num_generated_tokens=200,
    hard_parser="number",
    hard_num_generated_tokens=8,
    ood_group="grade_school_mathematics",
)
