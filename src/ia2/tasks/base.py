"""What a task is: how a row becomes a question and an answer, and where the rows come from.

The part that prompting, parsing and predicting need is a `TaskSpec`, plain data that travels inside every trained
adapter's config.json. The part that fetches rows is a function beside it, and is needed only to prepare.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ia2.errors import UserError

Row = Mapping[str, str]
ParserName = Literal["choice", "line", "number", "exact"]


@dataclass(frozen=True)
class Example:
    """One labelled question: `question` ends in its cue, and `answer` is appended to it directly."""

    idx: int
    question: str
    answer: str


class TaskSpec(BaseModel):
    """All that is needed to ask a question and to read its answer; stored with every adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    template: str
    """The prompt with its cue, in `str.format` fields; no trailing space."""
    answer_template: str
    """The answer as it is appended to the prompt, with its leading space if it has one."""
    labels: dict[str, str] = {}
    """Answer text -> meaning, for a closed label set; empty for free text."""
    parser: ParserName
    """Which reader of `answers.py` turns a response into an answer."""
    num_generated_tokens: int = 1
    """Tokens (T) that an answer needs."""
    instruction: str = ""
    """What a prompt begins with, for models that follow instructions; none by default."""
    instruct: Literal["teacher", "both"] = "teacher"
    """Whose prompts the instruction stands in: the teacher's, or the student's too."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns a query needs."""
        return tuple(field for _, field, _, _ in Formatter().parse(self.template) if field)

    def question(self, row: Row) -> str:
        """The prompt for one row; UserError names a missing column."""
        missing = [field for field in self.fields if field not in row]
        if missing:
            raise UserError(
                f"task {self.name} needs the column {missing[0]!r}; the row has {', '.join(map(repr, row)) or 'none'}"
            )
        return self.template.format_map(row)

    def answer(self, row: Row) -> str:
        return self.answer_template.format_map(row)


@dataclass(frozen=True)
class Rows:
    """What a source gave: rows of both splits, and where they came from (JSON values, for provenance)."""

    train: Sequence[Row]
    validation: Sequence[Row]
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """A dataset: how to ask (`spec`), how to fetch (`load`), and what a person should know of it."""

    spec: TaskSpec
    family: str
    source: str
    licence: str
    load: Callable[[], Rows]
    ood_group: str = ""
    """Tasks of one group have the same labels, so that one can be evaluated with what another was trained on."""

    @property
    def name(self) -> str:
        return self.spec.name
