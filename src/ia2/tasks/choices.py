"""Shared parts of the multiple-choice sets: the prompt of most, and the check that the answer is one of the choices.

The answer is the index of the right choice, counted from 0 as the prompt lists them, whatever the source calls it: a
letter, a number from 1, or the right text. A row whose answer is none of its choices is an error and never a guess.
"""

from collections.abc import Sequence

from ia2.sources import SourceRow, row_of, text_of, texts_of
from ia2.tasks.forms import Item
from ia2.tasks.labels import label_of, numbered
from ia2.tasks.task_spec import Row

QUESTION_TEMPLATE = "Question:{question}\nChoices:\n{choices}\n\nAnswer:"
"""The empty line before the cue is the published one. It is within a query, so that it ends no response."""


def choice_item(fields: Row, choices: Sequence[str], answer: str, most: int) -> Item:
    """A question with 2 to `most` choices and the index of the right one; ValueError where that is not so."""
    if not 2 <= len(choices) <= most:
        raise ValueError(f"{len(choices)} choices; 2 to {most} are expected")
    label_of(answer, numbered(len(choices)))
    return Item(fields, answer, tuple(choices))


def keyed_item(row: SourceRow, most: int) -> Item:
    """The item of a row `{question, choices: {text, label}, answerKey}`, whose key is one of the choices' labels."""
    choices = row_of(row, "choices")
    texts, keys, key = texts_of(choices, "text"), texts_of(choices, "label"), text_of(row, "answerKey")
    if len(texts) != len(keys) or key not in keys:
        raise ValueError(f"answerKey {key!r} and the labels {', '.join(keys) or 'none'} of {len(texts)} choices")
    return choice_item({"question": text_of(row, "question")}, texts, str(keys.index(key)), most)
