"""Writes docs/api.md from the docstrings of the public names: `python docs/make_api.py`. A test compares the two."""

import dataclasses
import inspect
import os
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

import tyro

import ia2
from ia2.config import Config

HERE = Path(__file__).parent
HEAD = """# The public names

Made by `python docs/make_api.py` from the docstrings; a test compares. `from ia2 import NAME` gives each of them, and
nothing is imported before it is used. A command is its config and the function that takes it: `ia2 train` is
`train(TrainConfig(...))`.
"""


def text() -> str:
    """The whole document."""
    os.environ.pop("IA2_MODEL_ID", None)  # which is a default
    public = {name: getattr(ia2, name) for name in sorted(ia2.__all__)}
    functions = [name for name, one in public.items() if inspect.isroutine(one)]
    configs = [name for name, one in public.items() if isinstance(one, type) and issubclass(one, Config)]
    errors = [name for name, one in public.items() if isinstance(one, type) and issubclass(one, Exception)]
    others = [name for name in public if name not in {*functions, *configs, *errors}]
    parts = [("Functions", functions), ("What they give and take", others), ("Errors", errors), ("Configs", configs)]
    lines = [HEAD]
    for title, names in parts:
        lines += [f"## {title}", ""]
        for name in names:
            lines += [f"### `{name}`", "", *_described(name, public[name])]
    return "\n".join(lines).rstrip() + "\n"


def _described(name: str, one: object) -> Iterator[str]:
    if inspect.isroutine(one):
        yield from _block(_signature(name, one))
    yield from (_documented(one), "")
    if isinstance(one, type) and issubclass(one, Config):
        yield from ("| field | type | default | |", "|---|---|---|---|", *_fields(one), "")
    elif isinstance(one, type) and not issubclass(one, Exception):
        yield from _members(one)


def _documented(one: object) -> str:
    """The docstring, its examples fenced."""
    paragraphs = (inspect.getdoc(one) or "").split("\n\n")
    return "\n\n".join(f"```pycon\n{one}\n```" if one.startswith(">>>") else one for one in paragraphs)


def _block(code: str) -> tuple[str, ...]:
    return "```text", code, "```", ""


def _signature(name: str, function: object) -> str:
    signature = inspect.signature(function)
    shown = [
        parameter.replace(annotation=inspect.Parameter.empty) if parameter.name == "self" else parameter
        for parameter in signature.parameters.values()
    ]
    told = str(signature.replace(parameters=shown))
    return name + re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z]\w*)", "", told)


def _fields(config: type[Config]) -> Iterator[str]:
    for name, field in config.model_fields.items():
        default = "required" if field.is_required() else f"`{_value(field.get_default(call_default_factory=True))}`"
        told = " ".join((field.description or "").split()).replace("|", "\\|")
        given = " (positional)" if tyro.conf.Positional in field.metadata else ""
        yield f"| `{name}`{given} | `{_type(field.annotation)}` | {default} | {told} |".replace("` | `", "` | `")


def _value(value: object) -> str:
    return " ".join(map(str, value)) or "()" if isinstance(value, tuple) else str(value)


def _type(annotation: object) -> str:
    """A type in as few words as a table has room for; what a union offers is parted by `or`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_type, inner))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if hasattr(annotation, "__metadata__"):
        return _type(inner[0])
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _members(one: type) -> Iterator[str]:
    """Fields of a dataclass, and the methods that are not private."""
    if dataclasses.is_dataclass(one):
        fields = (field for field in dataclasses.fields(one) if not field.name.startswith("_") and field.repr)
        yield from ("Fields: " + ", ".join(f"`{field.name}`" for field in fields) + ".", "")
    for name, member in vars(one).items():
        if not name.startswith("_") and inspect.isfunction(member):
            yield from (*_block(_signature(name, member)), _documented(member), "")


if __name__ == "__main__":
    (HERE / "api.md").write_text(text(), encoding="utf-8")
