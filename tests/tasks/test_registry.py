"""What holds for every task: its name, its prompt, and that its own answers are read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.errors import UserError
from ia2.tasks import TASKS, task
from ia2.tasks.answers import parse
from ia2.tasks.base import Row, TaskSpec

# Answers: the tables' kind of words for a line, a solution for a number, else one of the labels.
WORDS = st.from_regex(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ' .-]{0,30}", fullmatch=True)
SOLUTIONS = st.builds("{} + 1 = {}\n#### {:,}".format, st.integers(), st.integers(), st.integers())


def answers(spec: TaskSpec) -> st.SearchStrategy[str]:
    if spec.parser == "choice":
        return st.sampled_from(sorted(spec.labels))
    return SOLUTIONS if spec.parser == "number" else WORDS


def answer_row(spec: TaskSpec, answer: str) -> Row:
    return {"capital": answer, "past": answer, "answer": answer}


@pytest.mark.parametrize("name", TASKS)
@given(data=st.data(), rest=st.sampled_from(["", "\n\n", "\n\nInput: Peru\nOutput: 1 Lima #### 3"]))
def test_a_rendered_answer_is_read_as_gold(name: str, data: st.DataObject, rest: str) -> None:
    spec = task(name).spec
    answer = data.draw(answers(spec))
    rendered = spec.answer(answer_row(spec, answer))
    gold = parse(rendered, spec)
    assert gold is not None
    assert parse(rendered + rest, spec) == gold
    plain = {"choice": answer, "line": " ".join(answer.casefold().split()), "number": answer.rpartition("#### ")[2]}
    assert gold == plain[spec.parser].replace(",", "")


@pytest.mark.parametrize("name", TASKS)
def test_the_prompt_ends_in_its_cue(name: str) -> None:
    template = task(name).spec.template
    assert template.endswith(":")
    assert task(name).name == name


def test_an_unknown_name_lists_near_and_valid_ones() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'capitols' \(did you mean capitals.*\?\); valid: capitals, "):
        task("capitols")
    with pytest.raises(UserError, match=r"unknown dataset 'zzz'; valid:"):
        task("zzz")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UserError, match="task capitals needs the column 'country'; the row has 'land'"):
        task("capitals").spec.question({"land": "France"})


def test_text_with_braces_is_shown_as_it_is() -> None:
    assert task("sst2").spec.question({"sentence": "{label} {0}"}) == "Text:{label} {0}\nLabel:"
