"""Simple past of English verbs, from tables written for this project: regular ones to learn from, irregular ones apart.

    Input: walk\\nOutput:   ->    walked        (the answer is ` walked`, with its space)

An adapter trained on `past_tense` is evaluated on `past_tense_irregular`, which has no training rows: whether it learnt
to add -ed or to say what the verb's past is. The trap is to draw demonstrations from the irregular verbs, which would
answer the question that they are there to ask.
"""

from collections.abc import Callable

from ia2.sources import bundled_table, hold_out
from ia2.tasks.task_spec import Row, Rows, Task, TaskSpec


def _load_regular() -> Rows:
    table = bundled_table("past_tense.tsv")
    train, validation = hold_out(table.texts("verb", "past"), num_validation=200)
    return Rows(train, validation, table.provenance)


def _load_irregular() -> Rows:
    table = bundled_table("past_tense_irregular.tsv")
    return Rows([], table.texts("verb", "past"), table.provenance)


def _verbs(name: str, load: Callable[[], Rows], size: str, example: Row) -> Task:
    return Task(
        spec=TaskSpec(
            name=name,
            template="Input: {verb}\nOutput:",
            answer_template=" {past}",
            parser="line",
            num_generated_tokens=8,
        ),
        family="language",
        source=f"table written for this project, src/ia2/tasks/data/{name}.tsv",
        licence="Apache-2.0",
        load=load,
        example=example,
        size=size,
        ood_group="past_tense",
    )


PAST_TENSE = _verbs("past_tense", _load_regular, "576 / 200", {"verb": "walk", "past": "walked"})
PAST_TENSE_IRREGULAR = _verbs("past_tense_irregular", _load_irregular, "0 / 160", {"verb": "go", "past": "went"})
