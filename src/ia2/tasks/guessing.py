"""A first version of a task file, guessed from the rows, with the reasons in sentences that a person can check.

The answer is the column with a usual name, else the last one with few different values; the text is the longest of the
others. A guess is never silent: each is a sentence, and what cannot be guessed is an error that says how to name it.

An answer of a word or more begins with a blank, as words do wherever a model has read them: with 16 demonstrations the
embedded model judges 62 of 100 film reviews right so, and 50 without it; of four news topics 52 and 31 of 100.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ia2.errors import UserError
from ia2.sources import check_columns, iterate_objects, iterate_rows, stem_and_type, text_of_cell
from ia2.tasks.own_rows import default_num_validation
from ia2.tasks.parsers.number import unit_of
from ia2.tasks.registry import TASKS
from ia2.tasks.sampling import Bounds, NumberedRow, sample_rows
from ia2.tasks.task_files import TaskFile, checked_task_file
from ia2.tasks.task_spec import ParserName, answer_text, paragraph

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
_LIKE_A_NUMBER = re.compile(r"\W*[0-9]+(\W[0-9]+)*\W*")
_THREE_DIGITS = re.compile(r"\D*[1-9][0-9]{0,2}[.,][0-9]{3}\D*")
"""`1,250` and `1.250`: a thousand and more in one language, one and a quarter in another."""


@dataclass(frozen=True)
class Guess:
    """A task file, and in sentences what was guessed and why."""

    task_file: TaskFile
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class SampledColumn:
    """A column's values in the rows that were looked at, without outer blanks and empty lines."""

    name: str
    values: tuple[str, ...]
    is_indented: bool = False
    """True where a value begins with more than one blank, as code does."""

    @property
    def found(self) -> frozenset[str]:
        """Its different values, but for the empty one."""
        return frozenset(self.values) - {""}

    @property
    def mean_length(self) -> float:
        return mean(map(len, self.values))

    @property
    def is_closed_set(self) -> bool:
        """At most 20 different values, or a third of the rows, and each is there twice on average."""
        num_rows = len(self.values)
        return 2 <= len(self.found) <= max(min(20, num_rows // 2), min(MAX_LABELS, num_rows // 3))


@dataclass(frozen=True)
class AnswerFormat:
    """Form of the answers: the cue before them, their parser, and the reason."""

    parser: ParserName
    cue: str
    reason: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampledFile:
    """Columns of a file, in a sample of its rows."""

    file: Path
    columns: tuple[SampledColumn, ...]
    num_rows: int
    nested: tuple[str, ...]
    """Columns that hold more than texts and numbers: none of the question or the answer."""


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
    if refused := [one.name for one in (*texts, answer) if not re.fullmatch(r"[^{}\[\]:!]+", one.name)]:
        raise UserError(f"{file}: rename the column {refused[0]!r}: a template takes names without {{ }} [ ] : and !")
    answers = _answers(looked, answer)
    num_tokens, why_tokens = num_answer_tokens(answers.labels or answer.found)
    num_questions = len(set(zip(*(text.values for text in texts), strict=True)))
    num_validation = default_num_validation(num_questions, len(answers.labels))
    # each text after its name, the only one after `Text:`
    shown = [(text.name[:1].upper() + text.name[1:] if texts[1:] else "Text", text.name) for text in texts]
    relative = file.name if folder is None else Path(os.path.relpath(file, folder)).as_posix()
    described = {
        "name": name or _name(file),
        "template": "".join(f"{named}:{{{column}}}\n" for named, column in shown) + answers.cue,
        "answer": f"{' ' * (num_tokens > 1 and not (answer.is_indented and not answers.labels))}{{{answer.name}}}",
        "parser": answers.parser,
        "num_generated_tokens": num_tokens,
        "labels": {label: label for label in answers.labels},
        "source": {"file": relative, "num_validation": num_validation},
    }
    held_out = f"num_validation = {num_validation}: about 30% of {looked.num_rows} rows, at most 500, are held out"
    sentences = (why_texts, why_answer, answers.reason, *_nearly_the_same(answers.labels), why_tokens, held_out)
    return Guess(checked_task_file(str(file), described), sentences)


def _look_at(file: Path, text_columns: Sequence[str], label_column: str | None) -> SampledFile:
    """A sample of the rows by columns: of all, or of those that were named where both kinds were."""
    if label_column in text_columns:
        raise UserError(f"{file}: the column {label_column!r} cannot be text and answer both; name another")
    named = (*text_columns, *([label_column] if label_column else ()))
    nested: dict[str, None] = {}

    def rows() -> Iterator[NumberedRow]:
        needed = named if text_columns and label_column else ()
        for number, found in enumerate(iterate_objects(file, needed), start=1):
            row = {}
            for column in needed or found:
                value = found.get(column)
                if isinstance(value, str):
                    row[column] = value
                    continue
                try:
                    row[column] = text_of_cell(value, f"{file}, row {number}, column {column!r}")
                except UserError:
                    if column in named:
                        raise
                    nested[column] = None
            yield NumberedRow(number, row)

    sample = sample_rows(rows(), BOUNDS, SEED)
    names = [name for name in dict.fromkeys(name for one in sample.rows for name in one.row) if name not in nested]
    check_columns(str(file), named, names)
    columns = tuple(_column(name, [one.row.get(name, "") for one in sample.rows]) for name in names)
    if not named and stem_and_type(file)[1] in ("csv", "tsv") and _is_a_row(columns):
        raise UserError(
            f"{file}: its first line looks like a row, not like names of columns ({', '.join(map(repr, names))}); "
            "write a line of names above it, such as text,label; or, if these are the names, give --text_columns and "
            "--label_column"
        )
    return SampledFile(file, columns, sample.num_rows, tuple(nested))


def _column(name: str, texts: Sequence[str]) -> SampledColumn:
    values = tuple(map(paragraph, texts))
    return SampledColumn(name, values, values != tuple(map(answer_text, texts)))


def _is_a_row(header: Sequence[SampledColumn]) -> bool:
    """True where each name could be a value of its column, and one surely is: a label, a number, a sentence."""
    surely = False
    for column in header:
        if values := [value for value in column.values if value]:
            are_numbers = all(map(_LIKE_A_NUMBER.fullmatch, values))
            are_long = sum(len(value.split()) for value in values) >= 3 * len(values)
            is_number, is_long = _LIKE_A_NUMBER.fullmatch(column.name), len(column.name.split()) >= 3
            if column.name.strip() in column.found or (is_number and are_numbers) or (is_long and are_long):
                surely = True
            elif are_numbers or is_long or are_long:
                return False
    return surely


# Which columns


def _answer_column(looked: SampledFile, texts: Sequence[str], given: str | None) -> tuple[SampledColumn, str]:
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
    raise UserError(f"{looked.file}: none of the columns {there} is clearly the answer; name it with --label_column")


def _text_columns(looked: SampledFile, answer: SampledColumn, given: Sequence[str]) -> tuple[list[SampledColumn], str]:
    """The columns of the question, and the sentence that says why."""
    others = {column.name: column for column in looked.columns if column is not answer}
    nested = f"; not texts: {', '.join(map(repr, looked.nested))}" if looked.nested else ""
    if given:
        return [others[name] for name in given], f"the text is {', '.join(map(repr, given))}: named so{nested}"
    if not others:
        raise UserError(f"{looked.file}: there is no column for the text beside the answer's, {answer.name!r}")
    text = max(others.values(), key=lambda column: (2 * len(column.found) > len(column.values), column.mean_length))
    left_out = ", ".join(repr(name) for name in others if name != text.name)
    why = f"the longest, {text.mean_length:.0f} characters on average" if left_out else "the only one beside the answer"
    left_out = f"; left out: {left_out}" if left_out else ""
    return [text], f"column {text.name!r} is the text: {why}{left_out}{nested}"


# How they are asked and read


def _answers(looked: SampledFile, answer: SampledColumn) -> AnswerFormat:
    """Labels, numbers or free text; UserError where there is one answer only."""
    if len(answer.found) < 2:
        held = ", ".join(map(repr, answer.found)) or "nothing"
        raise UserError(f"{looked.file}: the column {answer.name!r} holds {held} in every row; two answers are needed")
    counted = f"{answer.name!r} holds {len(answer.found)} different values over {len(answer.values)} rows"
    if answer.is_closed_set:
        found = answer.found
        if len(answer.values) < looked.num_rows:  # a rare label may not be among the rows that were looked at
            found = frozenset(paragraph(row[answer.name]) for row in iterate_rows(looked.file, [answer.name])) - {""}
        labels = tuple(sorted(found))
        return AnswerFormat("choice", "Label:", f"{counted}: a closed set of labels, read by parser 'choice'", labels)
    final = sorted(value.rpartition("####")[2].strip() for value in answer.found)
    lines = max(value.count("\n") for value in answer.found) + 1
    parser: ParserName = "line" if lines == 1 else "exact"
    read = f"free text of up to {lines} lines, read by parser {parser!r}"
    if all(map(_LIKE_A_NUMBER.fullmatch, final)):
        units = sorted({unit_of(value) or "" for value in final})
        parted = [value for value in final if "," in value or "." in value]
        doubtful = [value for value in final if unit_of(value) is None]
        doubtful = doubtful or (parted if all(map(_THREE_DIGITS.fullmatch, parted)) else [])
        if not doubtful and len(units) == 1:
            return AnswerFormat("number", "Answer:", f"{counted}, all of them numbers: read by parser 'number'")
        why = f"{doubtful[0]!r} can be read in two ways" if doubtful else f"their units differ ({', '.join(units)})"
        read = (
            f"like numbers, but {why}, so they are compared as text, by parser {parser!r}; where commas part thousands "
            "and points decimals, as in 1,234.50, parser = 'number' reads them"
        )
    return AnswerFormat(parser, "Answer:", f"{counted}: {read}")


def _nearly_the_same(labels: Sequence[str]) -> list[str]:
    """A sentence for labels that are one but for letter case and blanks, if there are any."""
    alike = defaultdict(list)
    for label in labels:
        alike["".join(label.casefold().split())].append(repr(label))
    several = [" and ".join(group) for group in alike.values() if len(group) > 1]
    if not several:
        return []
    return [
        f"labels that differ in case or blanks only are labels of their own: {'; '.join(several[:3])}; write them "
        "alike in the rows if they mean the same"
    ]


def num_answer_tokens(answers: Collection[str]) -> tuple[int, str]:
    """Tokens (T) that the longest answer should need, and why: one where every answer is one character.

    Else on the safe side: a token of a word holds three letters or more, of other characters each byte may be one, and
    two are for the end.
    """
    if all(len(answer) == 1 and answer.isascii() for answer in answers):
        return 1, "num_generated_tokens = 1: every answer is one character"
    longest = max(answers, key=_num_tokens)
    tokens = min(MAX_TOKENS, _num_tokens(longest))
    num_cut = sum(_num_tokens(answer) > MAX_TOKENS for answer in answers)
    cut = f"; {num_cut} of {len(answers)} answers may be longer, and a response is cut there" if num_cut else ""
    return tokens, f"num_generated_tokens = {tokens}: the longest answer has {len(longest)} characters{cut}"


def _num_tokens(answer: str) -> int:
    letters = len(re.findall("[A-Za-z ]", answer))
    return letters // 3 + len(answer.encode()) - letters + 2


def _name(file: Path) -> str:
    """The file's name as a task's."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", stem_and_type(file)[0]).strip("._-")[:50].removesuffix("-ldr") or "task"
    return f"my_{name}" if name.casefold() in {built_in.casefold() for built_in in TASKS} else name
