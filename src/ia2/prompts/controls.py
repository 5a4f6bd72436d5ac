"""Demonstrations that teach something false, as a control.

A model that answers as well after wrong demonstrations as after right ones took their format and their topic from
them, not what they teach. Only answers change: questions, their order and number stay.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ia2.errors import UserError
from ia2.prompts.prompt import seeded
from ia2.tasks.base import Example


def with_wrong_answers(demos: Sequence[Example], labels: Sequence[str], run_idx: int) -> tuple[Example, ...]:
    """The demonstrations, in their order, each with a wrong answer, seeded by the run.

    With `labels`, the answers of a closed set: each answer becomes another label, chosen by the example and the run.
    Without: the answers change places so that as few as possible keep theirs, which is none unless more than half of
    them are the same. UserError where no answer can be wrong.
    """
    if not labels and demos:
        answers = _exchanged([demo.answer for demo in demos], run_idx)
        return tuple(replace(demo, answer=answer) for demo, answer in zip(demos, answers, strict=True))
    wrong = []
    for demo in demos:
        others = [label for label in labels if label != demo.answer]
        if not others:
            raise UserError(f"control=wrong_labels: {demo.answer!r} is the only label, so that no other could be shown")
        wrong.append(replace(demo, answer=seeded("wrong labels", run_idx, demo.idx).choice(others)))
    return tuple(wrong)


def _exchanged(answers: list[str], run_idx: int) -> list[str]:
    """The answers, each moved on by as many places as the most frequent answer has, equal ones grouped together."""
    most = max(Counter(answers).values())
    if most == len(answers):
        raise UserError(
            f"control=wrong_labels: all {most} demonstrations have the answer {answers[0]!r}, so that none can take "
            "another's; show more with --icl_max_demos"
        )
    # places in random order, those of equal answers beside each other
    order = seeded("wrong labels", run_idx, len(answers)).sample(range(len(answers)), len(answers))
    first = {answer: rank for rank, answer in reversed(list(enumerate(answers[place] for place in order)))}
    order.sort(key=lambda place: first[answers[place]])
    moved = order[most:] + order[:most]
    return [answers[source] for _, source in sorted(zip(order, moved, strict=True))]
