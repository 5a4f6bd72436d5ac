"""Competition mathematics: solutions with boxes. Every row but the quoted one is invented."""

from pathlib import Path

import pytest
from hub_layout import write_file

from ia2.errors import UserError
from ia2.sources import HubError
from ia2.tasks import task
from ia2.tasks.parsers import parse
from ia2.tasks.registry import PARTS

HUB = "EleutherAI/hendrycks_math"
# Quoted in https://github.com/allenai/open-instruct/blob/main/eval/MATH/examplars.py.
QUOTED = {
    "problem": r"If $\det \mathbf{A} = 2$ and $\det \mathbf{B} = 12,$ then find $\det (\mathbf{A} \mathbf{B}).$",
    "solution": r"We have that $\det (\mathbf{A} \mathbf{B}) = (\det \mathbf{A})(\det \mathbf{B}) = (2)(12) "
    r"= \boxed{24}.$",
}
TWO_BOXES = {
    "problem": "Solve\n\n\\[2x = 1.\\]",
    "solution": "First \\boxed{2x=1}.\n\nHence $x = \\boxed{\\frac{1}{2}}$, as {was} wanted. ",
}
NO_BOX = {"problem": "Draw it.", "solution": "See the figure."}
OPEN_BOX = {"problem": "Close it.", "solution": r"It is $\boxed{\frac{1}{2$."}
EMPTY_BOX = {"problem": "Fill it.", "solution": r"$\boxed{ }$"}
BARE_BOX = {"problem": "Brace it.", "solution": r"It is $\boxed 5$."}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    write_file(tmp_path, HUB, "train", [QUOTED, NO_BOX, TWO_BOXES, OPEN_BOX, EMPTY_BOX, BARE_BOX], "precalculus")
    write_file(tmp_path, HUB, "test", [QUOTED], "precalculus")
    return tmp_path


def rendered(name: str) -> list[tuple[str, str]]:
    spec = task(name).spec
    return [(spec.question(row), spec.answer(row)) for row in task(name).load().train]


def test_the_solution_is_the_answer(data: Path) -> None:
    assert rendered("hmath_precalculus") == [
        (f"Question:{QUOTED['problem']}\nAnswer:", QUOTED["solution"]),
        (
            "Question:Solve\n\\[2x = 1.\\]\nAnswer:",
            "First \\boxed{2x=1}.\nHence $x = \\boxed{\\frac{1}{2}}$, as {was} wanted.",
        ),
        ("Question:Brace it.\nAnswer:", r"It is $\boxed 5$."),
    ]
    spec = task("hmath_precalculus").spec
    assert (spec.parser, spec.num_generated_tokens, spec.labels) == ("boxed", 400, {})


def test_the_hard_form_is_the_last_box_and_reads_alike(data: Path) -> None:
    hard = rendered("hmath_precalculus_hard")
    assert hard == [
        (f"{QUOTED['problem']}:::", r"\boxed{24}"),
        ("Solve\n\\[2x = 1.\\]:::", r"\boxed{\frac{1}{2}}"),
        ("Brace it.:::", r"\boxed{5}"),
    ]
    spec = task("hmath_precalculus_hard").spec
    assert (spec.parser, spec.num_generated_tokens) == ("boxed", 48)
    normal = [parse(answer, task("hmath_precalculus").spec) for _, answer in rendered("hmath_precalculus")]
    assert [parse(answer, spec) for _, answer in hard] == normal
    assert None not in normal


def test_every_subset_is_a_task_with_its_own_configuration(data: Path) -> None:
    assert len(PARTS["hmath"]) == 7
    for subset in PARTS["hmath"]:
        assert task(f"hmath_{subset}").source == f"hub EleutherAI/hendrycks_math {subset}, train / test"
    with pytest.raises(HubError, match=r"hendrycks_math__algebra has no train"):
        task("hmath_algebra").load()
    with pytest.raises(UserError, match="hmath_algebra answers in free text"):
        task("hmath_algebra_remap")


def test_a_missing_column_is_named(data: Path) -> None:
    write_file(data, HUB, "test", [QUOTED, {"problem": "Why?", "solution": None}], "precalculus")
    with pytest.raises(UserError, match=r"precalculus/test\.jsonl, row 2: the column 'solution' holds NoneType"):
        task("hmath_precalculus").load()
