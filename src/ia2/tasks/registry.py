"""The built-in tasks by name. A new dataset is one file in `datasets/` and one line here.

The names are known without the files: a file is read when one of its names is looked up.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files

from ia2.tasks.task_spec import Form, Task

_LABELLED: tuple[Form, ...] = ("normal", "hard", "remap")
_FREE: tuple[Form, ...] = ("normal", "hard")
"""Answers in free text, or more labels than there are words for."""

PARTS = {
    "hmath": (
        *("algebra", "prealgebra", "precalculus", "intermediate_algebra", "geometry", "number_theory"),
        "counting_and_probability",
    ),
    "mmlupro": (
        *("biology", "business", "chemistry", "computer_science", "economics", "engineering", "health", "history"),
        *("law", "math", "other", "philosophy", "physics", "psychology"),
    ),
}
"""Datasets that have parts, each a task `{dataset}_{part}`."""

_FILES: tuple[tuple[str, tuple[str, ...], tuple[Form, ...]], ...] = (
    ("capitals.toml", ("capitals",), ("normal",)),
    ("capitals_rare.toml", ("capitals_rare",), ("normal",)),
    ("past_tense.toml", ("past_tense",), ("normal",)),
    ("past_tense_irregular.toml", ("past_tense_irregular",), ("normal",)),
    ("sst2.toml", ("sst2",), _LABELLED),
    ("bbcnews.py", ("bbcnews",), _LABELLED),
    ("gsm8k.toml", ("gsm8k",), _FREE),
    ("gsm8ks.py", ("gsm8ks",), _FREE),
    ("finsen.toml", ("finsen",), _LABELLED),
    ("poems.toml", ("poems",), _LABELLED),
    ("agnews.toml", ("agnews",), _LABELLED),
    ("strategy.py", ("strategytf",), _LABELLED),
    ("strategy.py", ("strategyreason",), _FREE),
    ("vader.py", ("movies", "tweets", "amazon", "nyt"), _LABELLED),
    ("sciq.py", ("sciq",), _LABELLED),
    ("sciq.py", ("sciqa",), _FREE),
    ("qasc.toml", ("qasc",), _LABELLED),
    ("arc.toml", ("arc",), _LABELLED),
    ("hellaswag.toml", ("hellaswag",), _LABELLED),
    ("cosmosqa.py", ("cosmosqa",), _LABELLED),
    ("mathqa.py", ("mathqa",), _LABELLED),
    ("mmlupro.py", ("mmlupro", *(f"mmlupro_{part}" for part in PARTS["mmlupro"])), _FREE),
    ("hmath.py", tuple(f"hmath_{part}" for part in PARTS["hmath"]), _FREE),
)
DATASETS = {name: file for file, names, _ in _FILES for name in names}
"""The file of each dataset, in `datasets/`."""
_FORMS: dict[str, tuple[str, Form]] = {
    name if form == "normal" else f"{name}_{form}": (name, form)
    for _, names, forms in _FILES
    for name in names
    for form in forms
}


class _BuiltInTasks(Mapping[str, Task]):
    """The tasks by name; one is made when it is looked up."""

    def __getitem__(self, name: str) -> Task:
        return _built_in(*_FORMS[name])

    def __contains__(self, name: object) -> bool:
        return name in _FORMS

    def __iter__(self) -> Iterator[str]:
        return iter(_FORMS)

    def __len__(self) -> int:
        return len(_FORMS)


TASKS = _BuiltInTasks()


@cache
def _built_in(name: str, form: Form) -> Task:
    from ia2.tasks.forms import Dataset, task_in_form  # noqa: PLC0415 - which a list of names does without
    from ia2.tasks.items import item_of, load_items  # noqa: PLC0415
    from ia2.tasks.task_files import parsed, task_file_of  # noqa: PLC0415

    file, _, kind = DATASETS[name].rpartition(".")
    if kind == "py":
        datasets: tuple[Dataset, ...] = import_module(f"ia2.tasks.datasets.{file}").DATASETS
        return task_in_form(next(one for one in datasets if one.described.name == name), form)
    path = files("ia2.tasks.datasets") / DATASETS[name]
    described = task_file_of(str(path), parsed(path.read_text(encoding="utf-8"), ".toml"))
    example = item_of(described, described.example)
    assert example is not None
    return task_in_form(Dataset(described, lambda: load_items(described), example), form)
