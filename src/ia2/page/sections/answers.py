"""What the models answered, query by query."""

from ia2.page.examples import browser_data
from ia2.page.sections.base import PageData, Section
from ia2.page.templates import json_for_script, render

NUM_FIRST = 3
"""Queries that are shown without the script."""
NUM_FIRST_SETS = 6
"""Evaluation sets of which they are shown."""


def examples(data: PageData) -> Section | None:
    """A browser of the queries and of what every model answered; without scripts, the first of each set."""
    if not data.groups:
        return None
    first = [one.first(NUM_FIRST) for one in data.query_sets[:NUM_FIRST_SETS]]
    told = json_for_script(browser_data(data.query_sets, data.root))
    html = render("examples", sets=first, num_first=NUM_FIRST, num_sets=len(data.query_sets), data=told)
    return Section("examples", "Answers", html)
