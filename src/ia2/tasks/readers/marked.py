"""An answer that announces itself: what follows the first marker is the answer, what comes before is its derivation."""


def announced(text: str, marker: str) -> list[str] | None:
    """The lines behind the first `marker` that hold anything, up to a blank line; None without a marker.

    The first marker is the first answer's: what a model writes behind that answer belongs to questions of its own.
    """
    _, found, rest = text.partition(marker)
    if not found:
        return None
    return [line.strip() for line in rest.split("\n\n", maxsplit=1)[0].splitlines() if line.strip()]
