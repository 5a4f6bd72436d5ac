"""The page's templates: one place where text becomes HTML, with escaping on, because models write anything."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(HERE)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(fragment: str, **values: object) -> Markup:
    """A macro of parts.html.jinja with these values, escaped."""
    macro = cast("Callable[..., Markup]", getattr(_environment().get_template("parts.html.jinja").module, fragment))
    return macro(**values)


def render_document(**values: object) -> str:
    """The whole page, from page.html.jinja, with page.css in it."""
    style = Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return _environment().get_template("page.html.jinja").render(style=style, **values)
