"""Whether every text of a figure can be read: none leaves the figure, none lies on another, no legend on axes."""

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

TOUCH = 1.0
"""Pixels by which boxes may reach into each other: letters do not fill their boxes."""


def assert_readable(figure: Figure) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    assert boxes
    for name, box in boxes:
        assert _inside(box, figure.bbox), f"{name!r} leaves the figure: {box.extents} of {figure.bbox.extents}"
    for (name, box), (other, its) in combinations(boxes, 2):
        assert not _overlap(box, its), f"{name!r} lies on {other!r}: {box.extents}, {its.extents}"
    for legend in figure.legends:
        assert not any(_overlap(legend.get_window_extent(), axes.bbox) for axes in figure.axes), "legend on axes"
    for axes in (axes for axes in figure.axes if axes.get_label() != "<colorbar>"):
        assert min(axes.bbox.width, axes.bbox.height) > 0.3 * figure.dpi, f"axes shrank to {axes.bbox.extents}"


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that is drawn."""
    ticks = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _labels(axis, shown=False)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip() and text not in ticks:
            yield text
    for axes in figure.axes:
        yield from (*_labels(axes.xaxis, shown=True), *_labels(axes.yaxis, shown=True))


def _labels(axis: Axis, shown: bool) -> Iterator[Text]:
    """The labels of an axis's ticks; with `shown` only those that are drawn, as matplotlib keeps others beyond it."""
    low, high = sorted(axis.get_view_interval())
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        drawn = low <= tick.get_loc() <= high and tick.label1.get_visible() and tick.label1.get_text().strip()
        yield from (tick.label1,) if drawn or not shown else ()
        yield from () if shown else (tick.label2,)


def _inside(box: Bbox, whole: Bbox) -> bool:
    low, high = box.min - whole.min, whole.max - box.max
    return bool(min(*low, *high) > -TOUCH)


def _overlap(box: Bbox, other: Bbox) -> bool:
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return bool(width > TOUCH and height > TOUCH)


def legend_of(figure: Figure) -> list[str]:
    """The labels of a figure's legend."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]
