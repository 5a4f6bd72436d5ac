"""Pictures without what is on them: drawing takes most of a small command's time."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_savefig = Figure.savefig


def _save_empty(_figure: Figure, target: Path, **options: Any) -> None:
    _savefig(Figure((0.1, 0.1)), target, **options)


def _print_empty(_canvas: FigureCanvasSVG, stream: IO[str], **_options: Any) -> None:
    stream.write("<svg></svg>")


def draw_nothing(replace: Callable[[object, str, object], None] = setattr) -> None:
    """Leave out all drawing, for good, or with `monkeypatch.setattr` for a test."""
    replace(Figure, "savefig", _save_empty)
    replace(FigureCanvasSVG, "print_svg", _print_empty)
