r"""The answer in a box, as LaTeX: the last `\boxed{...}` of a solution.

Only what carries no meaning is evened out here (spacing, `\dfrac`, `\left`, currency, degrees, a closing full stop), so
that a record shows what was answered. Whether two of them mean the same is for `equivalence.py`.
"""

import re

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"(?:(?!\\[)\]])[^\s${}])+")

_CHARACTERS = str.maketrans(
    {"−": "-", "×": r"\times ", "·": r"\cdot ", "π": r"\pi ", "∞": r"\infty ", "½": r"\frac{1}{2}", "°": ""}
)
_REPLACEMENTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:left|right)(?:\.|(?![A-Za-z]))", ""),
        (r"\\!|(?<=[0-9])\\,(?=[0-9]{3})", ""),
        (r"\{,\}", ","),
        (r"(?<!\\)\\[,;:\s]|\\q?quad(?![A-Za-z])|~", " "),
        (r"\\?\$|\\[()]|\*\*", ""),
        (r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree(?![A-Za-z])", ""),
        (r"(?<![\w.])([0-9]+) ([0-9]+)/([0-9]+)", r"\1\\frac{\2}{\3}"),
        (r"\s+", " "),
    )
]


def read_boxed(text: str) -> str | None:
    """The content of the last box, normalised; None without one, or where nothing is in it."""
    content = last_box(text)
    return None if content is None else normalised(content) or None


def last_box(text: str) -> str | None:
    r"""Content of the last whole box, as written; None without one.

    A box that is never closed was cut off and is none. `\boxed 5` holds what follows up to a blank or a `$`.
    """
    starts = [box.end() for box in _BOX.finditer(text)]
    closed: dict[int, int] = {}  # opening brace -> closing one, found in one pass however deep boxes are nested
    opened: list[int] = []
    for brace in _BRACE.finditer(text, starts[0]) if starts else ():
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closed[opened.pop()] = brace.start()
    for start in reversed(starts):
        if start in closed:
            return text[start + 1 : closed[start]]
        unbraced = None if text.startswith("{", start) else _UNBRACED.match(text, start)
        if unbraced:
            return unbraced[0]
    return None


def normalised(latex: str) -> str:
    """One way of writing where LaTeX has several that look alike."""
    latex = latex.translate(_CHARACTERS)
    for pattern, replacement in _REPLACEMENTS:
        latex = pattern.sub(replacement, latex)
    return latex.strip().rstrip(".,;").strip()
