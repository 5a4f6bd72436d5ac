"""The format of tasks: files such as `tickets.toml` or `tickets.json` ask a person's own rows, or a built-in dataset.

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

The files in `datasets/` show the rest: columns of other names, a map from the rows' labels, choices, another form.
Everything is checked when the file is read, and one line says what is wrong: a template that shows the answer, a label
that the parser cannot read back, a field that does not exist. The rows are read only when the task is prepared.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from ia2.errors import MachineError, UserError, did_you_mean
from ia2.tasks import TASK_FILE_TYPES
from ia2.tasks.parsers import parse
from ia2.tasks.registry import TASKS
from ia2.tasks.task_spec import Form, ParserName, TaskSpec, columns_in

REMAP_WORDS = ("apple", "Friday", "banana", "Saturday", "Thursday", "Sunday", "Wednesday", "Monday")
"""Words that have nothing to do with any task, one for each label: its meaning can only be learnt in context."""
REMAPPED_NUM_TOKENS = 4
"""A remap word is one to three tokens, by the tokenizer, and the blank line that ends the response is one more."""

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


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Source(_Table):
    num_validation: int | None = Field(default=None, ge=1)
    """Rows that are held out where the source has no validation part (default: 30% of them, at most 500)."""
    seed: int = 42
    """Decides which rows are held out, and which are kept of a large file."""
    hold_out: Literal["label", "last", "shuffled", "all"] = "label"
    """Rows for validation: each label in proportion, the last, the last after a shuffle, or all (none to train on)."""
    keep: dict[str, str] = {}
    """Column -> value: other rows are left out."""


class FileSource(_Source):
    """Rows of a local file, and of a second one for validation."""

    file: str = Field(min_length=1)
    validation_file: str = ""


class HubRows(_Source):
    """Rows of a dataset of the hub."""

    hub: str = Field(min_length=1)
    config: str | None = None
    revision: str | None = None
    train: str = "train"
    validation: str = ""
    """The split for validation; none: rows of the training split are held out."""
    offline_task: str = ""
    """The nearest task that needs no network, named where the hub fails."""


RowSource = FileSource | HubRows


class Choices(_Table):
    """Choices of each question, `{choices}` in the template; the answer is the index of the right one, from 0."""

    texts: str
    """The column that holds a list of them."""
    keys: str = ""
    """The column that lists what the rows call them, where an answer is one of these and no index."""
    most: int | None = None
    """Most choices of a question (default: one for each label)."""
    only: int | None = None
    """Questions with another number of choices are left out."""


class HardForm(_Table):
    """Reading of the answer alone, in the hard form of free text."""

    parser: ParserName
    num_generated_tokens: int = Field(ge=1, le=1_000_000)
    answer_after: str = ""
    """The answer alone is the rest of the text behind the last of these markers."""


class About(_Table):
    """Facts for people, shown by `ia2 tasks`."""

    family: str = "own data"
    source: str = ""
    licence: str = "not stated: a person's own data"
    size: str = "as the task file says"
    """Rows of the training and validation parts, as their publisher counts them."""
    ood_group: str = ""
    """Tasks of one group can be evaluated with what another of it was trained on."""


class TaskFormat(_Table):
    """A task but for its source. Its fields from name to instruct, but for `answer`, are those of `TaskSpec`."""

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
    form: Form = "normal"
    """normal, hard (bare texts, the answer alone) or remap (unrelated words for labels); see forms.py."""
    hard: HardForm | None = None
    """Parser and T of the hard form where the answer alone needs others."""
    about: About = About()

    @property
    def remap_words(self) -> dict[str, str]:
        """The dataset's own label -> the unrelated word in its place."""
        return dict(zip(self.labels, REMAP_WORDS, strict=False))

    @property
    def spec(self) -> TaskSpec:
        """The part that prompting, parsing and predicting need, in this form."""
        given = self.model_dump(include=set(TaskSpec.model_fields), exclude_none=True)
        if self.form == "hard":
            names = columns_in(self.template)
            texts = "\n".join(f"{{{name}}}" for name in names if name != "choices")
            given["template"] = f"{texts}:::" + ("{choices}" if "choices" in names else "")
            if self.hard is not None:
                given |= self.hard.model_dump(exclude={"answer_after"})
        if self.form == "remap":
            words = self.remap_words
            labels = {words[label]: meaning for label, meaning in self.labels.items()}
            given |= {"labels": labels, "remap": words, "num_generated_tokens": REMAPPED_NUM_TOKENS}
        return TaskSpec(**given, answer_template=self.answer)


def _kind_of_source(value: object) -> str:
    named = value if isinstance(value, dict) else {}
    return "hub" if isinstance(value, HubRows) or "hub" in named else "file"


class TaskFile(TaskFormat):
    """Content of a task file."""

    columns: dict[str, str] = {}
    """Name in the templates -> column of the source, where they differ."""
    label_map: dict[str, str] = {}
    """The rows' own value -> the label in its place; "" leaves the row out."""
    choices: Choices | None = None
    example: dict[str, Any] = {}
    """One row as the source has it, to be shown."""
    source: Annotated[
        Annotated[FileSource, Tag("file")] | Annotated[HubRows, Tag("hub")], Discriminator(_kind_of_source)
    ]

    @model_validator(mode="after")
    def _checked(self) -> Self:
        for check in (_check_name, _check_templates, _check_parser, _check_labels, _check_forms, _check_source):
            check(self)
        return self


# Checks that concern more than a type. pydantic wants ValueError; `read_task_file` makes it one line with the file.


def _check_name(given: TaskFile) -> None:
    if not _FOLDER_NAME.fullmatch(given.name) or given.name.endswith(_LOW_DATA):
        raise ValueError(
            f"name = {given.name!r} has to be a folder's name: up to 60 letters, digits, '-', '_' and '.', a letter or "
            f"digit first, not ending in {_LOW_DATA}"
        )


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
    spec = given.model_copy(update={"form": "normal"}).spec
    for label in given.labels:
        if (read := parse(spec.answer({columns[0]: label}), spec)) != label:
            raise ValueError(
                f"the parser {given.parser!r} reads the label {label!r} as {read!r}: choice reads words with one blank "
                "between them, line small letters only; take another parser, or other labels"
            )


def can_remap(labels: Mapping[str, str]) -> bool:
    """True where there are labels, and not more than unrelated words for them."""
    return 0 < len(labels) <= len(REMAP_WORDS)


def _check_forms(given: TaskFile) -> None:
    if given.form != "normal" and len(columns_in(given.answer)) > 1:
        raise ValueError(f"answer = {given.answer!r}: the form {given.form} has one column")
    if given.form == "remap" and not can_remap(given.labels):
        raise ValueError(f"the form remap needs 1 to {len(REMAP_WORDS)} labels, and [labels] has {len(given.labels)}")
    if wrong := [label for label in given.label_map.values() if label and label not in given.labels]:
        raise ValueError(f'[label_map] maps to {wrong[0]!r}, which is none of [labels]; "" leaves a row out')
    if given.choices is not None and ("choices" not in columns_in(given.template) or not given.labels):
        raise ValueError("[choices] are shown where the template has {choices}, and their indices are the [labels]")


def _check_source(given: TaskFile) -> None:
    source = given.source
    train, validation = (
        (source.train, source.validation) if isinstance(source, HubRows) else (source.file, source.validation_file)
    )
    if train == validation:
        raise ValueError(f"source has {train!r} for training and validation both; name another, or num_validation only")
    if validation and source.num_validation is not None:
        raise ValueError(f"source has num_validation and {validation!r} both; take out one")
    if source.hold_out != "label" and (validation or (source.hold_out == "all" and source.num_validation is not None)):
        other = repr(validation) if validation else "num_validation"
        raise ValueError(f'source has hold_out = "{source.hold_out}" and {other} both; take out one')


# Reading


def read_task_file(path: Path) -> TaskFile:
    """Content of a person's task file, checked; UserError in one line names the file, the field and the remedy."""
    if path.suffix.lower() not in TASK_FILE_TYPES:
        raise UserError(f"{path}: a task file ends in {' or '.join(TASK_FILE_TYPES)}")
    try:
        content = parsed(path.read_text(encoding="utf-8-sig"), path.suffix)
    except FileNotFoundError:
        raise UserError(f"{path}: no such task file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not {path.suffix[1:].upper()}: {error}; texts stand in quotation marks") from error
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a task file holds one object, and this one {type(content).__name__}")
    return checked_task_file(str(path), content)


def parsed(text: str, suffix: str) -> Any:  # noqa: ANN401 - JSON holds any value
    """The value of a TOML or JSON text; ValueError where it is neither."""
    return tomllib.loads(text) if suffix.lower() == ".toml" else json.loads(text)


def checked_task_file(where: str, content: dict[str, Any]) -> TaskFile:
    """A person's task file of these values; UserError says in one line what is wrong, and `where`."""
    described = task_file_of(where, content)
    if described.name.casefold() in {name.casefold() for name in TASKS}:
        taken = f"name = {described.name!r} is a built-in dataset's; choose another, such as my_{described.name}"
        raise UserError(f"{where}: {taken}")
    return described


def task_file_of(where: str, content: dict[str, Any]) -> TaskFile:
    """A task file of these values, whatever its name; errors as in `checked_task_file`."""
    try:
        return TaskFile.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_in_one_line(error)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


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
        example = f"; write it, as in: {_EXAMPLES[field]}" if field in _EXAMPLES else ""
        return f"the field {field} is missing{example}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{field} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _fields_beside(place: list[str]) -> list[str]:
    source = HubRows if place[1:2] == ["hub"] else FileSource
    tables = {"source": source, "choices": Choices, "hard": HardForm, "about": About}
    return list(tables.get(place[0], TaskFile).model_fields if len(place) > 1 else TaskFile.model_fields)
