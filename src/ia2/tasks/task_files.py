"""A task that a person describes in a file, `tickets.toml` or `tickets.json`, to ask their own rows.

    name = "tickets"
    template = "Text:{text}\\nLabel:"        # the prompt; {text} is a column, and the cue is last
    answer = "{label}"                       # what follows the prompt directly
    parser = "choice"                        # how a response is read
    num_generated_tokens = 8                 # tokens that an answer needs (T)
    [labels]                                 # answer -> meaning; leave it out for free text
    billing = "a question on an invoice"
    technical = "something does not work"
    [source]
    file = "tickets.csv"                     # beside this file; or hub = "owner/name"
    num_validation = 20                      # rows held out, each label in proportion; or validation_file = "..."

Everything is checked when the file is read, and one line says what is wrong: a template that shows the answer, a label
that the parser cannot read back, a field that does not exist. The rows are read only when the task is prepared.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from ia2.errors import MachineError, UserError, did_you_mean
from ia2.tasks import TASK_FILE_TYPES
from ia2.tasks.own_rows import FileSource, HubRows, RowSource, load_rows, needed_columns
from ia2.tasks.parsers import parse
from ia2.tasks.task_spec import ParserName, Rows, Task, TaskSpec, columns_in

_EXAMPLES = {
    "name": 'name = "tickets"',
    "template": 'template = "Text:{text}\\nLabel:"',
    "answer": 'answer = "{label}"',
    "parser": 'parser = "choice"',
    "num_generated_tokens": "num_generated_tokens = 8",
    "source": '[source] file = "tickets.csv"',
    "source.file": 'file = "tickets.csv", or hub = "owner/name"',
}
"""A line for each field that a file must have."""

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_LOW_DATA = "-ldr"
"""Ending of the name of the folder of a dataset's low-data training sets."""


def _kind_of_source(value: object) -> str:
    named = value if isinstance(value, dict) else {}
    return "hub" if isinstance(value, HubRows) or "hub" in named else "file"


class TaskFile(BaseModel):
    """Content of a task file. Its fields, but for `answer` and `source`, are those of `TaskSpec`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    """Name of the dataset from then on: a folder's name."""
    template: str
    answer: str
    """The answer as it follows the prompt, with its column in braces."""
    parser: ParserName
    num_generated_tokens: int = Field(ge=1, le=1_000_000)
    labels: dict[str, str] = {}
    marker: str | None = None
    pattern: str | None = None
    instruction: str = ""
    instruct: Literal["teacher", "both"] = "teacher"
    source: Annotated[
        Annotated[FileSource, Tag("file")] | Annotated[HubRows, Tag("hub")], Discriminator(_kind_of_source)
    ]

    @property
    def spec(self) -> TaskSpec:
        """The part that prompting, parsing and predicting need."""
        given = self.model_dump(exclude={"answer", "source"}, exclude_none=True)
        return TaskSpec(**given, answer_template=self.answer)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        for check in (_check_name, _check_templates, _check_parser, _check_labels, _check_source):
            check(self)
        return self


# Checks that concern more than a type. pydantic wants ValueError; `read_task_file` makes it one line with the file.


def _check_name(given: TaskFile) -> None:
    if not _FOLDER_NAME.fullmatch(given.name) or given.name.endswith(_LOW_DATA):
        raise ValueError(
            f"name = {given.name!r} has to be a folder's name: up to 60 letters, digits, '-', '_' and '.', a letter or "
            f"digit first, not ending in {_LOW_DATA}"
        )
    from ia2.tasks.registry import TASKS  # noqa: PLC0415 - more than a hundred tasks, read for this question alone

    if given.name.casefold() in {name.casefold() for name in TASKS}:
        raise ValueError(f"name = {given.name!r} is a built-in dataset's; choose another, such as my_{given.name}")


def _check_templates(given: TaskFile) -> None:
    asked, answered = _columns("template", given.template), _columns("answer", given.answer)
    if shown := set(asked) & set(answered):
        raise ValueError(f"template shows the answer's column {shown.pop()!r}: nothing would be left to ask")
    if given.template != given.template.rstrip():
        raise ValueError(
            "template ends in a blank, after which a tokenizer starts words anew; put it before the answer"
        )
    if "\n\n" in given.answer:
        raise ValueError("answer holds an empty line, and a response ends at the first one; take it out")


def _columns(field: str, template: str) -> list[str]:
    """The columns that a template names; ValueError where it names none, UserError where it is no template."""
    columns = list(columns_in(template))
    if not columns:
        raise ValueError(f"{field} = {template!r} names no column; write one in braces, such as {{text}}")
    return columns


def _check_parser(given: TaskFile) -> None:
    for field, value, parser in (("marker", given.marker, "after_marker"), ("pattern", given.pattern, "regex")):
        if value is not None and given.parser != parser:
            raise ValueError(f'{field} is for parser = "{parser}" only; the parser is "{given.parser}"')
    if given.parser == "regex" and not given.pattern:
        raise ValueError("parser = \"regex\" needs a pattern, such as pattern = 'answer is (\\w+)'")
    _ = given.spec  # which refuses a marker or a pattern that cannot be looked for


def _check_labels(given: TaskFile) -> None:
    if given.parser == "choice" and not given.labels:
        raise ValueError('parser = "choice" needs [labels]; for free text take parser = "line" or "exact"')
    if len(given.labels) == 1:
        raise ValueError("[labels] has one label only; at least two are needed")
    if not all(label.strip() for label in given.labels):
        raise ValueError('[labels] has an empty label; give it a word, such as "none", in the rows too')
    columns = _columns("answer", given.answer)
    if given.labels and len(columns) > 1:
        raise ValueError(f"answer = {given.answer!r}: with [labels] it has one column")
    spec = given.spec
    for label in given.labels:
        if (read := parse(spec.answer({columns[0]: label}), spec)) != label:
            raise ValueError(
                f"the parser {given.parser!r} reads the label {label!r} as {read!r}: choice reads words with one blank "
                "between them, line small letters only; take another parser, or other labels"
            )


def _check_source(given: TaskFile) -> None:
    source = given.source
    train, validation = (
        (source.train, source.validation) if isinstance(source, HubRows) else (source.file, source.validation_file)
    )
    if train == validation:
        raise ValueError(f"source has {train!r} for training and validation both; name another, or num_validation only")
    if validation and source.num_validation is not None:
        raise ValueError(f"source has num_validation and {validation!r} both; take out one")


# Reading


def read_task(path: Path) -> Task:
    """The task that a file describes; UserError in one line names the file, the field and the remedy."""
    described = read_task_file(path)
    spec, source = described.spec, described.source

    def load() -> Rows:
        try:
            return load_rows(spec, source, path.parent)
        except UserError as error:
            raise UserError(f"{error} (task file {path})") from error

    return Task(
        spec=spec,
        family="own data",
        source=_name_of(source),
        licence="not stated: a person's own data",
        load=load,
        example={column: f"<{column}>" for column in needed_columns(spec)},
        size="as the task file says",
    )


def _name_of(source: RowSource) -> str:
    if isinstance(source, HubRows):
        return f"hub {source.hub}"
    return f"file {Path(source.file).name}"


def read_task_file(path: Path) -> TaskFile:
    """Content of a task file, checked; errors as in `read_task`."""
    content = _parsed(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: a task file holds one object, and this one {type(content).__name__}")
    return checked_task_file(str(path), content)


def checked_task_file(where: str, content: dict[str, Any]) -> TaskFile:
    """A task file of these values; UserError says in one line what is wrong, and `where`."""
    try:
        return TaskFile.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_in_one_line(error)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _parsed(path: Path) -> object:
    if path.suffix.lower() not in TASK_FILE_TYPES:
        raise UserError(f"{path}: a task file ends in {' or '.join(TASK_FILE_TYPES)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such task file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not {path.suffix[1:].upper()}: {error}; texts stand in quotation marks") from error
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}") from error


def _in_one_line(error: ValidationError) -> str:
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a misspelt field is missing too
    place = list(map(str, first["loc"]))
    fields = _fields_beside(place)
    if place[0:1] == ["source"]:
        del place[1:2]  # the kind of source, which the file does not name
    field = ".".join(place)
    if first["type"] == "extra_forbidden":
        return f"unknown field {field}{did_you_mean(place[-1], fields)}; valid: {', '.join(fields)}"
    if first["type"] == "missing":
        return f"the field {field} is missing; write it, as in: {_EXAMPLES[field]}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{field} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _fields_beside(place: list[str]) -> list[str]:
    if place[:1] != ["source"]:
        return list(TaskFile.model_fields)
    return list((HubRows if place[1:2] == ["hub"] else FileSource).model_fields)
