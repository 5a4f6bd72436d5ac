"""What holds for every task: its name, its prompt, and that its own answers are read back."""

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.parsers import parse
from ia2.tasks.registry import TASKS
from ia2.tasks.task_spec import Row, TaskSpec

# Answers: the tables' kind of words for a line, a solution for a number, a box or a marked answer, else one of the
# labels. Tasks whose answers are written and read alike are tried once.
WORDS = st.from_regex(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ' .-]{0,30}", fullmatch=True)
SOLUTIONS = st.builds("{} + 1 = {}\n#### {:,}".format, st.integers(), st.integers(), st.integers())
BOXED = st.builds(r"First $\boxed{{2}}$, then $\boxed{{{}}}$".format, st.integers())
MARKED = st.builds("{}\n#### {}".format, WORDS, WORDS)


def answers(spec: TaskSpec) -> st.SearchStrategy[str]:
    if spec.parser == "choice":
        return st.sampled_from(sorted(spec.labels))
    return {"number": SOLUTIONS, "after_marker": MARKED, "boxed": BOXED}.get(spec.parser, WORDS)


def answer_row(spec: TaskSpec, answer: str) -> Row:
    return {"capital": answer, "past": answer, "answer": answer}


def way_to_answer(spec: TaskSpec) -> str:
    return repr((spec.answer_template, spec.parser, sorted(spec.labels), spec.marker, spec.pattern))


WAYS_TO_ANSWER = {way_to_answer(one.spec): one.name for one in TASKS.values()}


@pytest.mark.parametrize("name", WAYS_TO_ANSWER.values())
@given(data=st.data(), rest=st.sampled_from(["", "\n\n", "\n\nInput: Peru\nOutput: 1 Lima #### 3"]))
def test_a_rendered_answer_is_read_as_gold(name: str, data: st.DataObject, rest: str) -> None:
    spec = task(name).spec
    answer = data.draw(answers(spec))
    rendered = spec.answer(answer_row(spec, answer))
    gold = parse(rendered, spec)
    assert gold is not None
    assert parse(rendered + rest, spec) == gold
    final = answer.rpartition("#### ")[2]
    boxed = answer.rpartition("{")[2].removesuffix("}$")
    plain = {"choice": answer, "number": final.replace(",", ""), "boxed": boxed}
    assert gold == plain.get(spec.parser, " ".join(final.casefold().split()))


@pytest.mark.parametrize("name", TASKS)
def test_the_prompt_ends_in_its_cue(name: str) -> None:
    spec, example = task(name).spec, task(name).example
    question = spec.question(example)
    assert question.endswith(":")
    assert question == question.strip()
    assert parse(spec.answer(example), spec) is not None
    assert task(name).name == name


def test_names_are_known_without_a_file() -> None:
    program = (
        "import sys; from ia2.tasks.registry import TASKS; assert 'sst2_remap' in TASKS; names = list(TASKS); "
        "print([name for name in sys.modules if 'torch' == name or 'ia2.tasks.' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['ia2.tasks.task_spec', 'ia2.tasks.registry']"


def test_tasks_of_one_group_share_their_labels() -> None:
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for one in TASKS.values():
        if one.ood_group:
            groups.setdefault(one.ood_group, {})[one.name] = one.spec.labels
    for members in groups.values():
        by_size = sorted(members.values(), key=len)
        assert all(fewer.items() <= more.items() for fewer, more in pairwise(by_size))
    assert {"sciq_remap", "qasc_remap", "arc_remap"} == groups["science_questions_remap"].keys()
    assert {"sst2", "finsen", "poems"} == groups["sentiment"].keys()
    assert {"sst2_remap", "finsen_remap", "poems_remap"} == groups["sentiment_remap"].keys()
    assert {"agnews_hard", "bbcnews_hard"} == groups["news_topics_hard"].keys()
    assert {"movies", "tweets", "amazon", "nyt"} == groups["sentence_sentiment"].keys()


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


@pytest.mark.parametrize("name", ["reviews.text", "0", "a b", "class.__class__", "größe"])
def test_a_template_names_a_column_whatever_it_is_called(name: str) -> None:
    spec = TaskSpec(name="t", template=f"{{{{x}}}} {{{name}}}:", answer_template=f"{{{name}}}", parser="line")
    assert (spec.fields, spec.answer_fields) == ((name,), (name,))
    assert spec.question({name: "{text}\n\n}"}) == "{x} {text}\n}:"
    assert spec.answer({name: "a"}) == "a"


@pytest.mark.parametrize("field", ["{x:>2000000000}", "{x!r}", "{x[0]}", "{}", "{x", "x}", "{x{y}}"])
@pytest.mark.parametrize("part", ["template", "answer_template"])
def test_a_template_takes_names_only(part: str, field: str) -> None:
    """A format asks for any number of blanks, and 2,000,000,000 of them fill the memory."""
    parts = {"template": "{x}:", "answer_template": "{y}", part: f"Text:{field}:"}
    with pytest.raises(UserError):
        TaskSpec(name="t", parser="line", **parts)
