"""`ia2 tasks`: what can be asked, and a first task file for a person's own rows."""

import sys
import textwrap
from pathlib import Path

from ia2 import store
from ia2.config import TasksConfig
from ia2.errors import UserError
from ia2.sources import stem_and_type
from ia2.tasks import task
from ia2.tasks.guessing import guess_task
from ia2.tasks.registry import TASKS
from ia2.tasks.task_file_text import task_file_text
from ia2.tasks.task_spec import Task

INDENT = " " * 4


def show_tasks(config: TasksConfig) -> None:
    """Print the tasks, or write a task file and say what was guessed."""
    if config.init is not None:
        print(f"wrote {first_task_file(config.init, config)}; look it over, then use it as --dataset")
        return
    chosen = [task(name) for name in config.datasets]
    for one in chosen or [one for one in TASKS.values() if one.form == "normal"]:
        print(described(one))
    if not chosen:
        print("Other forms of most of them: {name}_hard, {name}_remap. A task file or `ia2 fit` asks your own rows.")


def first_task_file(file: Path, config: TasksConfig) -> Path:
    """Look at a file of rows and write what it seems to ask; UserError where that would replace a file."""
    out = config.out or file.parent / f"{stem_and_type(file)[0]}.toml"
    if out.exists():
        raise UserError(f"{out} exists; remove it, or give another --out")
    guess = guess_task(file, config.text_columns, config.label_column, folder=out.parent)
    for sentence in guess.sentences:
        print(sentence, file=sys.stderr)
    with store.file_lock(out, keep=False), store.atomic_write(out) as temporary:
        temporary.write_text(task_file_text(guess.task_file, guess.sentences, out.suffix), encoding="utf-8")
    return out


def described(one: Task) -> str:
    """A task in a few lines, the last of them one example as the model sees it."""
    spec = one.spec
    labels = ", ".join(label if label == meaning else f"{label} {meaning}" for label, meaning in spec.labels.items())
    forms = [form for form in ("hard", "remap") if f"{one.name}_{form}" in TASKS]
    facts = [
        f"{one.family}; T={spec.num_generated_tokens}; rows (training / validation): {one.size}",
        f"labels: {labels}" if labels else f"free text, read by the parser {spec.parser!r}",
        f"from {one.source}; licence: {one.licence}",
        *([f"also as {' and '.join(f'{one.name}_{form}' for form in forms)}"] if forms else []),
    ]
    wrapper = textwrap.TextWrapper(118, INDENT, INDENT * 2, break_on_hyphens=False, break_long_words=False)
    lines = [wrapper.fill(fact) for fact in facts]
    shown = f"{INDENT}{spec.question(one.example)!r} -> {spec.answer(one.example)!r}"
    return "\n".join([one.name, *lines, shown, ""])
