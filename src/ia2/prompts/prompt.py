"""Prompts: demonstrations and a query as one text.

Demonstrations live in the data: a `Prompt` with none is the student's input, with k the teacher's. Nothing below
this folder knows the difference. A prompt is kept in pieces (question, answer, separator, ..., query), because the
pieces are tokenised separately: otherwise `:` and the answer's first letters could merge in a demonstration
and not at the query, and the model would be asked for a token it was never shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

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
