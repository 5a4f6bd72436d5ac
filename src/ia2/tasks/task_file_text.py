"""A task file as text, for a person to read and edit: TOML with a remark on each field, or plain JSON.

The standard library reads TOML and does not write it. What is written here is a small part of it: texts as basic
strings, which are JSON's but for one character, numbers, and two tables.
"""

import json
import re
from collections.abc import Sequence

from ia2.tasks.task_files import TaskFile

_REMARKS = {
    "name": "what --dataset and the folders below data/ and outputs/ are called",
    "template": "the prompt: columns in braces, the cue last, no blank at the end",
    "answer": "what follows the prompt directly",
    "parser": "how a response is read: choice, line, number, exact, boxed, after_marker (marker), regex (pattern)",
    "num_generated_tokens": "tokens that an answer needs (T)",
    "labels": "answer = what it means; leave this table out for free text",
    "source": "paths start at this file's folder",
    "num_validation": "rows held out, each label in proportion; or name a second file: validation_file",
}

_AFTER_THE_PLACE = ("num_validation", "seed")


def task_file_text(task_file: TaskFile, sentences: Sequence[str] = (), suffix: str = ".toml") -> str:
    """The text of a task file of that ending; `sentences` are comments on top of TOML."""
    given = task_file.model_dump(exclude_defaults=True)
    given["source"] = dict(sorted(given["source"].items(), key=lambda field: field[0] in _AFTER_THE_PLACE))
    if suffix.lower() == ".json":
        return json.dumps(given, indent=2, ensure_ascii=False) + "\n"
    tables = {key: value for key, value in given.items() if isinstance(value, dict)}
    plain = {key: value for key, value in given.items() if key not in tables}
    lines = [f"# {' '.join(sentence.split())}" for sentence in sentences]
    lines += [""] if lines else []
    lines += _lines(plain)
    for name, table in tables.items():
        lines += ["", f"# {_REMARKS[name]}", f"[{name}]", *_lines(table, remarks=name != "labels")]
    return "\n".join(lines) + "\n"


def _lines(table: dict[str, str | int], remarks: bool = True) -> list[str]:
    lines = []
    for key, value in table.items():
        remark = f"  # {_REMARKS[key]}" if remarks and key in _REMARKS else ""
        lines.append(f"{_key(key)} = {_value(value)}{remark}")
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: str | int) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
