"""How to get each number again."""

from collections.abc import Iterable

from ia2.page.commands import reproductions
from ia2.page.sections.base import PageData, Section
from ia2.page.templates import render


def commands(data: PageData) -> Section | None:
    """The commands behind the page, behind each row of the results, and behind the comparisons."""
    groups = [(group.title, reproductions(group, data.selection.records, data.root)) for group in data.groups]
    compared = {
        "Similarity to the teacher": _once(one.command for one in data.analyses.similarities),
        "Overlap of updates": _once(one.command for one in data.analyses.overlaps),
    }
    if not groups and not any(compared.values()):
        return None
    rule = data.selection.hp_selection
    flags = "" if rule == "dev_loss" else f" --hp_selection {rule}"
    files = [f"ia2 {command}{flags}" for command in ("results", "tables", "plot-all")]
    told = {
        "whole": [data.command, *files],
        "root": data.root,
        "groups": groups,
        "compared": compared,
        "anchor": row_anchor,
    }
    return Section("commands", "How to get these numbers again", render("commands", **told))


def _once(commands: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, commands)))


def row_anchor(group: int, row: int) -> str:
    """The id of the commands of a row, by its place."""
    return f"commands-{group}-{row}"
