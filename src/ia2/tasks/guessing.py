"""A first version of a task file, guessed from the rows, with the reasons in sentences that a person can check.

The answer is the column with a usual name, else the last one with few different values; the text is the longest of the
others. A guess is never silent: each is a sentence, and what cannot be guessed is an error that says how to name it.

An answer of a word or more begins with a blank, as words do wherever a model has read them: with 16 demonstrations the
embedded model tells 62 of 100 film reviews right so, and 50 without it; of four news topics 52 and 31 of 100.
"""

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ia2.errors import UserError
from ia2.sources import check_columns, iterate_rows
from ia2.tasks import TASKS
from ia2.tasks.base import ParserName, paragraph
from ia2.tasks.own_rows import default_num_validation
from ia2.tasks.sampling import Bounds, NumberedRow, sample_rows
from ia2.tasks.task_files import TaskFile, checked_task_file

SEED = 42
BOUNDS = Bounds(rows=20_000, characters=20_000_000)
"""So much of a file is looked at, drawn at random; of a closed set's column, all."""
MAX_LABELS = 200
"""More different values than this are no closed set, however many rows there are."""
MAX_TOKENS = 256

_USUAL_NAMES = (
    *("label", "labels", "class", "category", "answer", "target", "y", "intent", "topic", "sentiment"),
    *("output", "response", "completion", "solution"),
)
_NUMBER = re.compile(r"[-+−]?[$€£]?[0-9][0-9,]*(\.[0-9]+)?%?")


@dataclass(frozen=True)
class Guess:
    """A task file, and in sentences what was guessed and why."""

    task_file: TaskFile
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column's values in the rows that were looked at, without outer blanks and empty lines."""

    name: str
    values: tuple[str, ...]

    @property
    def found(self) -> frozenset[str]:
        """Its different values, but for the empty one."""
        return frozenset(self.values) - {""}

    @property
    def mean_length(self) -> float:
        return mean(map(len, self.values))

    @property
    def is_mostly_distinct(self) -> bool:
        return 2 * len(self.found) > len(self.values)

    @property
    def is_closed_set(self) -> bool:
        """At most 20 different values, or a third of the rows, and each is there twice on average."""
        num_rows = len(self.values)
        return 2 <= len(self.found) <= max(min(20, num_rows // 2), min(MAX_LABELS, num_rows // 3))


@dataclass(frozen=True)
class Answers:
    """How the answers are asked for and read, and why."""

    parser: ParserName
    cue: str
    reason: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looked:
    """What was seen of a file."""

    file: Path
    columns: tuple[Column, ...]
    num_rows: int

    @property
    def is_whole(self) -> bool:
        return len(self.columns[0].values) == self.num_rows


def guess_task(
    file: Path,
    text_columns: Sequence[str] = (),
    label_column: str | None = None,
    name: str | None = None,
    folder: Path | None = None,
) -> Guess:
    """A task that asks the rows of `file`, for a task file in `folder` (default: beside the rows).

    UserError where a column is missing, none can be the answer or the text, or the name cannot be used.
    """
    looked = _look_at(file, text_columns, label_column)
    answer, why_answer = _answer_column(looked, text_columns, label_column)
    texts, why_texts = _text_columns(looked, answer, text_columns)
    answers = _answers(looked, answer)
    num_tokens, why_tokens = num_answer_tokens(answers.labels or answer.found)
    num_questions = len(set(zip(*(text.values for text in texts), strict=True)))
    num_validation = default_num_validation(num_questions, len(answers.labels))
    described = {
        "name": name or _name(file),
        "template": _template([text.name for text in texts], answers.cue),
        "answer": f"{' ' * (num_tokens > 1)}{{{answer.name}}}",
        "parser": answers.parser,
        "num_generated_tokens": num_tokens,
        "labels": {label: label for label in answers.labels},
        "source": {"file": _relative(file, folder), "num_validation": num_validation},
    }
    held_out = f"num_validation = {num_validation}: about 30% of {looked.num_rows} rows, at most 500, are held out"
    return Guess(checked_task_file(str(file), described), (why_texts, why_answer, answers.reason, why_tokens, held_out))


def _look_at(file: Path, text_columns: Sequence[str], label_column: str | None) -> Looked:
    """A sample of the rows by columns: of all, or of those that were named where both kinds were."""
    if label_column in text_columns:
        raise UserError(f"{file}: the column {label_column!r} cannot be text and answer both; name another")
    named = (*text_columns, *([label_column] if label_column else ()))
    rows = iterate_rows(file, named if text_columns and label_column else ())
    sample = sample_rows((NumberedRow(number, row) for number, row in enumerate(rows, start=1)), BOUNDS, SEED)
    names = list(sample.rows[0].row)
    check_columns(str(file), named, names)
    columns = (Column(name, tuple(paragraph(one.row.get(name, "")) for one in sample.rows)) for name in names)
    return Looked(file, tuple(columns), sample.num_rows)


# Which columns


def _answer_column(looked: Looked, texts: Sequence[str], given: str | None) -> tuple[Column, str]:
    """The answer's column, and the sentence that says why."""
    columns = {column.name: column for column in looked.columns if column.name not in texts}
    if given:
        return columns[given], f"column {given!r} is the answer: it was named so"
    usual = {name.strip().casefold(): column for name, column in columns.items()}
    for name in _USUAL_NAMES:
        if name in usual:
            return usual[name], f"column {usual[name].name!r} is the answer: it has a usual name"
    if closed := [column for column in columns.values() if column.is_closed_set]:
        others = f"; {', '.join(repr(column.name) for column in closed[:-1])} could be it too" if closed[1:] else ""
        return closed[-1], f"column {closed[-1].name!r} is the answer: it has few different values{others}"
    if len(looked.columns) == 2 and columns:
        *_, last = columns.values()
        return last, f"column {last.name!r} is the answer: it is the second of two"
    there = ", ".join(map(repr, columns)) or "left"
    raise UserError(f"{looked.file}: none of the columns {there} is clearly the answer; say which one is")


def _text_columns(looked: Looked, answer: Column, given: Sequence[str]) -> tuple[list[Column], str]:
    """The columns of the question, and the sentence that says why."""
    others = {column.name: column for column in looked.columns if column is not answer}
    if given:
        return [others[name] for name in given], f"the text is {', '.join(map(repr, given))}: named so"
    if not others:
        raise UserError(f"{looked.file}: there is no column for the text beside the answer's, {answer.name!r}")
    text = max(others.values(), key=lambda column: (column.is_mostly_distinct, column.mean_length))
    left_out = ", ".join(repr(name) for name in others if name != text.name)
    why = f"the longest, {text.mean_length:.0f} characters on average" if left_out else "the only one beside the answer"
    return [text], f"column {text.name!r} is the text: {why}" + (f"; left out: {left_out}" if left_out else "")


# How they are asked and read


def _answers(looked: Looked, answer: Column) -> Answers:
    """Labels, numbers or free text; UserError where there is one answer only."""
    if len(answer.found) < 2:
        held = ", ".join(map(repr, answer.found)) or "nothing"
        raise UserError(f"{looked.file}: the column {answer.name!r} holds {held} in every row; two answers are needed")
    counted = f"{answer.name!r} holds {len(answer.found)} different values over {len(answer.values)} rows"
    if answer.is_closed_set:
        labels = tuple(sorted(_all_values(looked, answer)))
        return Answers("choice", "Label:", f"{counted}: a closed set of labels, read by parser 'choice'", labels)
    if all(_NUMBER.fullmatch(value.rpartition("####")[2].strip()) for value in answer.found):
        return Answers("number", "Answer:", f"{counted}, all of them numbers: read by parser 'number'")
    lines = max(value.count("\n") for value in answer.found) + 1
    parser: ParserName = "line" if lines == 1 else "exact"
    return Answers(parser, "Answer:", f"{counted}: free text of up to {lines} lines, read by parser {parser!r}")


def _all_values(looked: Looked, column: Column) -> frozenset[str]:
    """The values in the whole file: a rare label may not be among the rows that were looked at."""
    if looked.is_whole:
        return column.found
    return frozenset(paragraph(row[column.name]) for row in iterate_rows(looked.file, [column.name])) - {""}


def num_answer_tokens(answers: Collection[str]) -> tuple[int, str]:
    """Tokens (T) that the longest answer should need, and why: one where every answer is one character.

    Else on the safe side: a token of a word holds three letters or more, of other characters each byte may be one, and
    two are for the end.
    """
    if all(len(answer) == 1 and answer.isascii() for answer in answers):
        return 1, "num_generated_tokens = 1: every answer is one character"
    longest = max(answers, key=_num_tokens)
    tokens = min(MAX_TOKENS, _num_tokens(longest))
    return tokens, f"num_generated_tokens = {tokens}: the longest answer has {len(longest)} characters"


def _num_tokens(answer: str) -> int:
    letters = len(re.findall("[A-Za-z ]", answer))
    return letters // 3 + len(answer.encode()) - letters + 2


def _template(columns: Sequence[str], cue: str) -> str:
    """The texts, each after its name (the only one after `Text:`), then the cue."""
    names = ["Text"] if len(columns) == 1 else [column[:1].upper() + column[1:] for column in columns]
    return "".join(f"{name}:{{{column}}}\n" for name, column in zip(names, columns, strict=True)) + cue


def _name(file: Path) -> str:
    """The file's name as a task's."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", file.stem).strip("._-")[:50].removesuffix("-ldr") or "task"
    return f"my_{name}" if name.casefold() in {built_in.casefold() for built_in in TASKS} else name


def _relative(file: Path, folder: Path | None) -> str:
    return file.name if folder is None else Path(os.path.relpath(file, folder)).as_posix()
