"""The templates: one place where text becomes HTML, with escaping on, because models write anything; and Markdown."""

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

HERE = Path(__file__).parent
PARTS = ("words", "tables", "answers", "commands")
SCRIPTS = ("tables.js", "answers.js", "commands.js")


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(HERE)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(fragment: str, **values: object) -> Markup:
    """A macro of one of the parts with these values, escaped."""
    modules = (_environment().get_template(f"{name}.html.jinja").module for name in PARTS)
    macro = next(getattr(module, fragment) for module in modules if hasattr(module, fragment))
    return cast("Callable[..., Markup]", macro)(**values)


def json_for_script(value: object) -> Markup:
    """A value as JSON that can stand inside a <script> element, whatever its texts are."""
    return htmlsafe_json_dumps(value, partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def render_document(**values: object) -> str:
    """The whole page, from page.html.jinja, with its style sheet and its scripts in it."""
    style, *scripts = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("page.css", *SCRIPTS))
    script = Markup("\n").join(scripts)
    return _environment().get_template("page.html.jinja").render(style=style, script=script, **values)


@cache
def _plain_environment() -> Environment:
    plain = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    plain.filters["quoted"] = partial(json.dumps, ensure_ascii=False)
    return plain


def render_text(template: str, **values: object) -> str:
    """A template that is no HTML, with these values as they are."""
    return _plain_environment().get_template(template).render(**values)
