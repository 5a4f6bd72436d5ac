r"""Competition mathematics by subject: MATH of the hub (Hendrycks et al. 2021), train, and test for validation.

There is one task for each subject, `hmath_algebra` and so on: the readme's `cmath --subset algebra`. The hard form
answers with the box alone. The example is a row of precalculus, as the prompt of Lewkowycz et al. 2022 quotes it,
https://github.com/allenai/open-instruct/blob/main/eval/MATH/examplars.py.

The traps: solutions hold several boxes, braces within them, and empty lines; the answer is the last whole box, and
empty lines are dropped, for a response ends at the first. A solution without a box that can be read is left out:
whatever a model said to it, it would count as wrong.
"""

from ia2.sources import HubSource, SourceRow, text_of
from ia2.tasks.forms import Dataset
from ia2.tasks.items import Item, from_hub
from ia2.tasks.parsers import last_box
from ia2.tasks.task_files import About, HardForm, TaskFormat

_SIZES = {
    "algebra": "1,744 / 1,187",
    "prealgebra": "1,205 / 871",
    "precalculus": "746 / 546",
    "intermediate_algebra": "1,295 / 903",
    "geometry": "870 / 479",
    "number_theory": "869 / 540",
    "counting_and_probability": "771 / 474",
}
_EXAMPLE = Item(
    {"question": r"If $\det \mathbf{A} = 2$ and $\det \mathbf{B} = 12,$ then find $\det (\mathbf{A} \mathbf{B}).$"},
    r"\boxed{24}",
    solution=r"We have that $\det (\mathbf{A} \mathbf{B}) = (\det \mathbf{A})(\det \mathbf{B}) = (2)(12) "
    r"= \boxed{24}.$",
)


def _item(row: SourceRow) -> Item | None:
    solution = text_of(row, "solution")
    answer = last_box(solution) or ""
    fields = {"question": text_of(row, "problem")}
    return Item(fields, f"\\boxed{{{answer}}}", solution=solution) if answer.strip() else None


def _dataset(subset: str, size: str) -> Dataset:
    hub = HubSource("EleutherAI/hendrycks_math", config=subset, offline_task="gsm8ks")
    return Dataset(
        TaskFormat(
            name=f"hmath_{subset}",
            template="Question:{question}\nAnswer:",
            answer="{answer}",
            parser="boxed",
            num_generated_tokens=400,
            hard=HardForm(parser="boxed", num_generated_tokens=48),
            about=About(
                family="mathematics",
                source=f"hub EleutherAI/hendrycks_math {subset}, train / test",
                licence="MIT",
                size=size,
                ood_group="competition_mathematics",
            ),
        ),
        load=from_hub(hub, _item, "train", "test"),
        example=_EXAMPLE,
    )


DATASETS = tuple(_dataset(subset, size) for subset, size in _SIZES.items())
