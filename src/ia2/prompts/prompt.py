"""Prompts: demonstrations and a query as one text.

Demonstrations live in the data: a `Prompt` with none is the student's input, with k the teacher's. Nothing below
this folder knows the difference. A prompt is kept in pieces (question, answer, separator, ..., query), because the
pieces are tokenised separately: otherwise `:` and the answer's first letters could merge in a demonstration
and not at the query, and the model would be asked for a token it was never shown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from ia2.errors import UserError
from ia2.tasks.base import Example, TaskSpec

SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Prompt:
    """One question put to a model, after the demonstrations it may look at."""

    demonstrations: tuple[Example, ...]
    query: Example
    instruction: str = ""

    def instructed(self, spec: TaskSpec) -> "Prompt":
        """With the task's instruction, if it has one for prompts like this one (all, or those with demonstrations)."""
        wanted = bool(self.demonstrations) or spec.instruct == "both"
        return replace(self, instruction=spec.instruction if wanted else "")


def prompt_pieces(prompt: Prompt) -> list[str]:
    """The prompt in the pieces that are tokenised one by one, the instruction before all else."""
    opening = [prompt.instruction, SEPARATOR] if prompt.instruction else []
    pieces = [piece for demo in prompt.demonstrations for piece in (demo.question, demo.answer, SEPARATOR)]
    return [*opening, *pieces, prompt.query.question]


def prompt_text(prompt: Prompt) -> str:
    """Demonstrations joined by, and followed by, a blank line, then the query.

    >>> france, spain = Example(0, "Input: France\\nOutput:", " Paris"), Example(1, "Input: Spain\\nOutput:", " Madrid")
    >>> prompt_text(Prompt((france,), spain))
    'Input: France\\nOutput: Paris\\n\\nInput: Spain\\nOutput:'
    """
    return "".join(prompt_pieces(prompt))


def prompt_after(demonstrations: Iterable[Example], query: Example) -> Prompt:
    """`query` after those demonstrations that do not ask the same, since it would be shown its own answer."""
    return Prompt(tuple(demo for demo in demonstrations if demo.question != query.question), query)


def seeded(*names: object) -> Random:
    """A random generator that belongs to a purpose, the same on every machine."""
    return Random("/".join(map(str, names)))


def prompts_after_shared(
    queries: Sequence[Example], demonstrations: Sequence[Example], num_demonstrations: int, run_idx: int
) -> list[Prompt]:
    """Every query after one seeded list of `num_demonstrations` examples, the same for all queries.

    That is `icl_pool = train`: `demonstrations` are the run's own training examples, so that the prompted model has
    the same labels to look at as the trained one had to learn from.
    """
    chosen = tuple(demonstrations)
    order = seeded("evaluation", run_idx).sample(range(len(chosen)), min(num_demonstrations, len(chosen)))
    return [prompt_after((chosen[i] for i in order), query) for query in queries]


def prompts_after_fresh_draws(
    queries: Sequence[Example], pool: Sequence[Example], num_demonstrations: int, run_idx: int, purpose: str = "fresh"
) -> list[Prompt]:
    """Every query after its own draw of `num_demonstrations` examples of `pool` (`icl_pool = remaining`).

    Another `purpose` makes other draws.
    """
    draw = seeded(purpose, run_idx)
    size = min(num_demonstrations, len(pool))
    return [prompt_after(draw.sample(pool, size), query) for query in queries]


def with_wrong_answers(demos: Sequence[Example], labels: Sequence[str], run_idx: int) -> tuple[Example, ...]:
    """The demonstrations, in their order, each with a wrong answer, seeded by the run, as a control.

    A model that answers as well after them as after right ones took their format and their topic from demonstrations,
    not what they teach. Only answers change: questions, their order and number stay.

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
