"""Tasks: the rendering of a row as a question and an answer, and the source of the rows.

The part that prompting, parsing and predicting need is a `TaskSpec`, plain data that travels inside every trained
adapter's run.json. The part that fetches rows is a function beside it, and is needed only to prepare.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from ia2.config import PathPart
from ia2.errors import UserError

Row = Mapping[str, str]
ParserName = Literal["choice", "line", "number", "boxed", "after_marker", "regex", "exact"]
Form = Literal["normal", "hard", "remap"]


@dataclass(frozen=True)
class Example:
    """One labelled question: `question` ends in its cue, and `answer` is appended to it directly."""

    idx: int
    question: str
    answer: str


class TaskSpec(BaseModel):
    """All that is needed to ask a question and to read its answer; stored with every adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PathPart
    template: str
    """The prompt with its cue, its columns in braces; no trailing space."""
    answer_template: str
    """The answer as appended to the prompt, with its leading space if it has one."""
    labels: dict[str, str] = {}
    """Answer text -> meaning, for a closed label set; empty for free text."""
    remap: dict[str, str] = {}
    """The dataset's own label -> the unrelated word in its place; empty in other forms than remap."""
    parser: ParserName
    """Parser of `answers.py` that turns a response into an answer."""
    marker: str = "####"
    """Text that announces the answer, for the parser `after_marker`."""
    pattern: str = ""
    """The regular expression whose first group (or whole match) is the answer, for the parser `regex`."""
    num_generated_tokens: int = 1
    """Tokens (T) that an answer needs."""
    instruction: str = ""
    """Beginning of a prompt, for models that follow instructions; none by default."""
    instruct: Literal["teacher", "both"] = "teacher"
    """Prompts that begin with the instruction: the teacher's, or the student's too."""

    @model_validator(mode="after")
    def _templates_name_columns(self) -> Self:
        for template in (self.template, self.answer_template):
            columns_in(template)
        return self

    @model_validator(mode="after")
    def _parser_has_what_it_looks_for(self) -> Self:
        """Refused here, and not at the first response, which comes after the training."""
        if self.parser == "after_marker" and not self.marker.strip():
            raise UserError(f"task {self.name}: the parser after_marker needs a marker that is not blank, such as ####")
        if self.parser == "regex":
            _check_pattern(self.pattern, f"task {self.name}: pattern {self.pattern!r}")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns a query needs."""
        return columns_in(self.template)

    @property
    def answer_fields(self) -> tuple[str, ...]:
        """The columns an answer needs."""
        return columns_in(self.answer_template)

    def question(self, row: Row) -> str:
        """The prompt for one row, its texts as paragraphs; UserError names a missing column."""
        missing = [field for field in self.fields if field not in row]
        if missing:
            raise UserError(
                f"task {self.name} needs the column {missing[0]!r}; the row has {', '.join(map(repr, row)) or 'none'}"
            )
        return _filled(self.template, row, paragraph)

    def answer(self, row: Row) -> str:
        """The answer of one row as it follows the prompt."""
        return _filled(self.answer_template, row, paragraph if self.labels else answer_text)


def _check_pattern(pattern: str, called: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{called} is not a regular expression: {error}") from None
    if not pattern.strip():
        raise UserError(f"{called}: the parser regex needs one whose first group, or whole match, is the answer")


_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
"""A brace that is text, written twice; a column's name between braces; a brace without its pair."""


@lru_cache  # it is looked up for every row
def columns_in(template: str) -> tuple[str, ...]:
    """The columns that a template names, in their order; a name may hold dots.

    UserError where a brace has no pair, or holds a format, conversion or index of `str.format`: templates take names
    only, since such a format can ask for any number of blanks.

    >>> columns_in("{question}\\n{reviews.text}:")
    ('question', 'reviews.text')
    """
    fields = [field for field in _BRACES.finditer(template) if field[0] not in ("{{", "}}")]
    for field in fields:
        if not field[1] or re.search(r"[:!\[\]]", field[1]):
            raise UserError(
                f"template {template[:200]!r}: {field[0][:100]!r} is no column's name in braces, without : ! [ and ]; "
                "name a column, and write a brace that is text twice"
            )
    return tuple(field[1] for field in fields)


def _filled(template: str, row: Row, shown: Callable[[str], str]) -> str:
    """The template with the texts of `row`, as `shown` renders them, in place of its columns."""
    return _BRACES.sub(lambda found: shown(row[found[1]]) if found[1] else found[0][0], template)


def paragraph(text: str) -> str:
    """The text without empty lines and outer blanks: a blank line would end a demonstration, or a response, too soon.

    >>> paragraph(" A pit.\\n\\nHow deep? ")
    'A pit.\\nHow deep?'
    """
    return "\n".join(line.rstrip() for line in text.strip().splitlines() if line.strip())


def answer_text(text: str) -> str:
    """The text without empty lines and outer blanks, but for the indentation of its first line, which code needs.

    >>> answer_text("\\n    y = x\\n\\n    return y\\n"), answer_text(" Paris ")
    ('    y = x\\n    return y', 'Paris')
    """
    lines = "\n".join(line.rstrip() for line in text.splitlines() if line.strip())
    return lines if lines.startswith(("  ", "\t")) else lines.strip()


@dataclass(frozen=True)
class Rows:
    """Rows that a source gave: of both splits, and where they came from (JSON values, for provenance)."""

    train: Sequence[Row]
    validation: Sequence[Row]
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """A dataset in one form: how to ask (`spec`), how to fetch (`load`), and what a person should know of it."""

    spec: TaskSpec
    family: str
    source: str
    licence: str
    load: Callable[[], Rows]
    example: Row
    """One row, to be shown; quoted from the source or invented."""
    size: str
    """Rows of the source's training and validation parts, as its publisher counts them."""
    ood_group: str = ""
    """Tasks of one group have the same labels, or one some of the other's (sciq has four of the eight of qasc), so that
    one can be evaluated with what another was trained on."""
    form: Form = "normal"

    @property
    def name(self) -> str:
        return self.spec.name
