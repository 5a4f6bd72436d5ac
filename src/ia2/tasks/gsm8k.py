"""Grade school mathematics: GSM8K of the hub, its train split, and its test split for validation.

    Question:Ann has 3 apples and buys 2. How many has she?\\nAnswer:   ->   3+2=<<3+2=5>>5 apples\\n#### 5

(An invented row. The worked solution, calculator notes and all, follows the cue directly.) The trap is the blank line:
a response ends at the first one, so a solution that held one would be cut there, before its `####`. Empty lines inside
a solution are dropped, and those of a question too, so that they cannot be taken for the end of a demonstration.
"""

from ia2.sources import HubSource, Table, load_split, split_provenance
from ia2.tasks.base import Row, Rows, Task, TaskSpec

_HUB = HubSource("openai/gsm8k", config="main", offline_task="capitals")


def _without_empty_lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines() if line.strip())


def _rows(table: Table) -> list[Row]:
    rows = table.texts("question", "answer")
    return [{column: _without_empty_lines(text) for column, text in row.items()} for row in rows]


def _load() -> Rows:
    train, test = load_split(_HUB, "train"), load_split(_HUB, "test")
    return Rows(_rows(train), _rows(test), split_provenance(train, test))


GSM8K = Task(
    spec=TaskSpec(
        name="gsm8k",
        template="Question:{question}\nAnswer:",
        answer_template="{answer}",
        parser="number",
        num_generated_tokens=200,
    ),
    family="mathematics",
    source="hub openai/gsm8k main, train / test",
    licence="MIT",
    load=_load,
    ood_group="grade_school_mathematics",
)
