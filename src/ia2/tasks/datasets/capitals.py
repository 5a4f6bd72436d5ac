"""Capital cities of sovereign states, from a table written for this project.

    Input: France\\nOutput:   ->    Paris        (the answer is ` Paris`, with its space)

The prompt says nothing of countries: from `Country: France\\nCapital:` the embedded model answers 66% without any
demonstration, and only a format would be left to teach. The trap is the space: it belongs to the answer, because after
a cue that ends in a space a tokenizer starts the word with another token than it learnt.

`capitals` are the states a general reader places at once, `capitals_rare` all others, for evaluation only. Over all 188
the embedded model's few-shot accuracy is about 40%: it does not know Funafuti, and no alignment teaches what the
teacher does not know. The states were marked by how widely they are known, not by what the model answers.
"""

from ia2.sources import bundled_table, hold_out
from ia2.tasks.task_spec import Rows, Task, TaskSpec

SOURCE = "table written for this project, src/ia2/tasks/data/capitals.tsv"


def _spec(name: str) -> TaskSpec:
    return TaskSpec(
        name=name,
        template="Input: {country}\nOutput:",
        answer_template=" {capital}",
        parser="line",
        num_generated_tokens=8,
    )


def _states(well_known: str) -> list[dict[str, str]]:
    rows = bundled_table("capitals.tsv").texts("country", "capital", "well_known")
    return [{"country": r["country"], "capital": r["capital"]} for r in rows if r["well_known"] == well_known]


def _load() -> Rows:
    train, validation = hold_out(_states("yes"), num_validation=54)
    return Rows(train, validation, bundled_table("capitals.tsv").provenance)


def _load_rare() -> Rows:
    return Rows([], _states("no"), bundled_table("capitals.tsv").provenance)


CAPITALS = Task(
    spec=_spec("capitals"),
    family="knowledge",
    source=SOURCE,
    licence="Apache-2.0",
    load=_load,
    example={"country": "France", "capital": "Paris"},
    size="30 / 54",
    ood_group="capitals",
)
CAPITALS_RARE = Task(
    spec=_spec("capitals_rare"),
    family="knowledge",
    source=SOURCE,
    licence="Apache-2.0",
    load=_load_rare,
    example={"country": "Tuvalu", "capital": "Funafuti"},
    size="0 / 104",
    ood_group="capitals",
)
