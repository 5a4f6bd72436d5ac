"""How to get each number again."""

from ia2.report.commands import reproductions
from ia2.report.sections.base import PageData, Section
from ia2.report.templates import render


def commands(data: PageData) -> Section | None:
    """The commands behind the page, and behind each row of the results."""
    groups = [(group.title, reproductions(group, data.selection.records, data.results.root)) for group in data.groups]
    html = render("commands", page=data.command, root=data.results.root.resolve(), groups=groups, anchor=row_anchor)
    return Section("commands", "How to get these numbers again", html)


def row_anchor(group: int, row: int) -> str:
    """The id of the commands of a row, by its place."""
    return f"commands-{group}-{row}"
