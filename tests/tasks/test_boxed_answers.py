"""The parser of boxes, on what models and MATH's own solutions write, and whether two boxes say the same."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.errors import MachineError
from ia2.evaluation.evaluation_set import grade
from ia2.tasks.parsers import equivalence, last_box, parse, same
from ia2.tasks.parsers.equivalence import Verifier
from ia2.tasks.task_spec import TaskSpec

SPEC = TaskSpec(name="t", template="{q}:", answer_template="{a}", parser="boxed")

QUICK_VERIFIER = """
import time
from itertools import repeat

LatexExtractionConfig = object

def parse(latex, **_):
    return float(latex.strip("$"))

def verify(gold, ours, **_):
    time.sleep(0.7 if ours == 0.7 else 0)
    return sum(repeat(0)) if ours == float("inf") else gold == ours
"""
"""In the place of math-verify, so that a worker starts at once. Infinity sums without end, and 0.7 waits."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"The answer is $\boxed{42}$.", "42"),
        (r"Thus \[x = \boxed{-3}.\]", "-3"),
        (r"**Final answer:** \(\boxed{\frac{1}{2}}\)", r"\frac{1}{2}"),
        (r"$\boxed{\dfrac{1}{2}}$", r"\frac{1}{2}"),
        (r"$\boxed{\tfrac12}$", r"\frac12"),
        (r"\boxed{\sqrt{\frac{a}{b^{2}}}} and more {", r"\sqrt{\frac{a}{b^{2}}}"),
        (r"\fbox{7}", "7"),
        (r"\boxed 5", "5"),
        (r"so $\boxed 5$.", "5"),
        (r"so \(\boxed 5\).", "5"),
        (r"$\boxed -12.$", "-12"),
        (r"$\boxed5$", "5"),
        ("\\boxed\n {5}", "5"),
        (r"\boxed{3} is wrong, so \boxed{4}", "4"),
        (r"\boxed{3} {and} x}", "3"),
        (r"\boxed{5} again: \boxed{\frac{1}{2", "5"),
        (r"\boxed{\boxed{6}}", "6"),
        (r"\boxed{x=3}", "x=3"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{1,2\right\}}", r"\{1,2\}"),
        (r"\boxed{\{1} is open", r"\{1"),
        (r"\boxed{\left(-\infty, 3\right]}", r"(-\infty, 3]"),
        (r"\boxed{\left. 2 \right|}", "2 |"),
        (r"\boxed{a \leftarrow b}", r"a \leftarrow b"),
        (r"\boxed{\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"),
        ("\\boxed{\\begin{cases} 1 \\\\\n {2} \\end{cases}}", r"\begin{cases} 1 \\ {2} \end{cases}"),
        (r"\boxed{(1,\ 2)}", "(1, 2)"),
        (r"\boxed{1,\;2,\quad 3,~4}", "1, 2, 3, 4"),
        (r"\boxed{90^\circ}", "90"),
        (r"\boxed{90^{\circ}}", "90"),
        (r"\boxed{90°}", "90"),
        (r"\boxed{50\%}", r"50\%"),
        (r"\boxed{\$1,\!250.00}", "1,250.00"),
        (r"\boxed{10{,}000}", "10,000"),
        (r"\boxed{10\,000}", "10000"),
        (r"\boxed{$5$}", "5"),
        (r"\boxed{\text{Evelyn}}", r"\text{Evelyn}"),
        (r"\boxed{ 5 \text{ cm} }", r"5 \text{ cm}"),
        (r"\boxed{**5**}", "5"),
        (r"\boxed{5.}", "5"),
        (r"\boxed{−5}", "-5"),
        (r"\boxed{2π}", r"2\pi"),
        (r"\boxed{3 1/2}", r"3\frac{1}{2}"),
        (r"\boxed{}", None),
        (r"\boxed{ . }", None),
        (r"\boxed{\frac{1}{2}", None),
        (r"\boxedness{5}", None),
        (r"boxed{5}", None),
        (r"\boxed", None),
        (r"\boxed{5", None),
        ("The answer is 42.", None),
        ("", None),
    ],
)
def test_boxed(text: str, expected: str | None) -> None:
    assert parse(text, SPEC) == expected


def test_the_last_box_is_given_as_written() -> None:
    assert last_box(r"\boxed{1} and \boxed{ \dfrac{1}{2}. }") == r" \dfrac{1}{2}. "
    assert last_box("none") is None


@pytest.mark.parametrize(
    ("gold", "ours"),
    [
        (r"\frac{1}{2}", "0.5"),
        ("0.5", r"\frac12"),
        (r"\frac{1}{2}", r"\dfrac{2}{4}"),
        ("1/2", r"\frac{1}{2}"),
        (r"3\frac{1}{2}", "3 1/2"),
        ("10,000", "10000"),
        (r"90^\circ", "90"),
        ("90", "90°"),
        (r"50\%", "50"),
        (r"\$5", "5.00"),
        ("x=3", "3"),
        ("3", "x = 3"),
        (r"5\text{ cm}", "5"),
        ("5", r"5 \text{ dollars}"),
        ("25", "25 square units"),
        (r"\text{Evelyn}", "Evelyn"),
        (r"\text{(A)}", "A"),
        ("(1,2)", r"\left( 1,~2 \right)"),
        ("[1,2)", r"\left[1,2\right)"),
        (r"\{1,2,3\}", r"\{3, 1, 2\}"),
        (r"1 \le x \le 2", "[1,2]"),
        (r"\begin{pmatrix} \frac12 \\ 1 \end{pmatrix}", r"\begin{bmatrix}0.5\\1\end{bmatrix}"),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        ("(x+1)^2", "x^2+2x+1"),
        ("2π", r"2\cdot\pi"),
        ("3×4", r"12"),
        (r"[2,\infty)", "[2, ∞)"),
    ],
)
def test_the_same_in_other_words(gold: str, ours: str) -> None:
    assert same(parse(f"\\boxed{{{ours}}}", SPEC), parse(f"\\boxed{{{gold}}}", SPEC), SPEC)


@pytest.mark.parametrize(
    ("gold", "ours"),
    [
        ("4", "5"),
        ("5", "-5"),
        (r"\frac{1}{3}", "0.333"),
        (r"\frac{3}{2}", r"3\frac{1}{2}"),
        ("x=3", "y=3"),
        ("(1,2)", "(2,1)"),
        ("[1,2]", "(1,2)"),
        (r"\{1,2\}", r"\{1,3\}"),
        ("12", "1, 2"),
        (r"\infty", r"-\infty"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
        ("x^2+1", "x^2-1"),
        (r"\pi", "3.14"),
        (r"\text{even}", r"\text{odd}"),
        (r"\text{A}", "B"),
        (r"\frac{", "5"),
        ("(" * 9, ")" * 9),
        ("[1,2]", r"1 \le x \le 2"),  # the other way round they are: an interval answers an inequality
    ],
)
def test_not_the_same(gold: str, ours: str) -> None:
    assert not same(ours, gold, SPEC)


def test_algebra_without_end_is_not_equal(caplog: pytest.LogCaptureFixture) -> None:
    verifier = Verifier(0.3)
    assert verifier.is_equal("1", "100000000!") is None  # 757 million digits
    assert len(caplog.messages) == 1, "no verdict, which is said"
    verifier.stop()


@pytest.fixture
def verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verifier]:
    (tmp_path / "math_verify.py").write_text(QUICK_VERIFIER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    verifier = Verifier(0.3)
    yield verifier
    verifier.stop()


def test_what_takes_too_long_is_not_equal_and_what_comes_after_is_compared(
    verifier: Verifier, caplog: pytest.LogCaptureFixture
) -> None:
    assert verifier.is_equal("1", "inf") is None
    assert len(caplog.messages) == 1
    assert "'inf' is undecided against '1'" in caplog.messages[0]
    assert verifier.is_equal("1", "1.0")
    assert not verifier.is_equal("1", "2")
    assert len(caplog.messages) == 1


def test_an_alarm_that_the_caller_ignores_ends_the_worker_all_the_same(verifier: Verifier) -> None:
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        assert verifier.is_equal("1", "inf") is None
    finally:
        signal.signal(signal.SIGPROF, before)


def test_a_busy_machine_changes_no_verdict(verifier: Verifier) -> None:
    """A comparison that waits longer than its limit, as beside other processes, but takes no CPU time, is decided."""
    assert verifier.is_equal("0.7", "0.7")


def test_undecided_answers_are_not_right_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = {"1": None, "2": True, "3": False}
    monkeypatch.setattr("ia2.tasks.parsers.equivalent", lambda ours, _gold: verdicts[ours])
    marks = grade(SPEC, [r"\boxed{x}"] * 4, [rf"\boxed{{{ours}}}" for ours in ("1", "2", "3", "x")])
    assert marks.correct == [False, True, False, True]
    assert marks.num_undecided == 1


def test_waiting_for_the_next_question_takes_no_time(verifier: Verifier) -> None:
    assert verifier.is_equal("1", "1.0")
    worker = verifier._worker
    time.sleep(0.5)
    assert verifier.is_equal("2", "2.0")
    assert verifier._worker is worker is not None


def test_any_thread_may_ask(verifier: Verifier) -> None:
    pairs = [(str(number), f"{number + number % 2}.0") for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda pair: verifier.is_equal(*pair), pairs))
    assert verdicts == [number % 2 == 0 for number in range(40)]


def test_one_thread_that_waits_too_long_leaves_the_others_right(verifier: Verifier) -> None:
    verdicts: dict[str, bool | None] = {}
    threads = [
        threading.Thread(target=lambda ours=ours: verdicts.update({ours: verifier.is_equal("1", ours)}))
        for ours in ("1.0", "inf", "2")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {"1.0": True, "inf": None, "2": False}


def test_a_worker_that_died_between_two_questions_is_replaced(verifier: Verifier) -> None:
    assert verifier.is_equal("1", "1.0")
    assert verifier._worker is not None
    verifier._worker.kill()
    verifier._worker.wait()
    assert verifier.is_equal("1", "1.0")


def test_an_interrupted_question_does_not_answer_the_next(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verifier.is_equal("1", "1.0")

    def interrupted(worker: subprocess.Popen[str], question: str) -> str:
        print(question, file=worker.stdin)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(equivalence, "_reply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            verifier.is_equal("1", "1.0")
    assert not verifier.is_equal("1", "2")


@pytest.mark.usefixtures("verifier")
def test_a_fork_asks_a_worker_of_its_own() -> None:
    """In a process of its own, with one thread: what a fork of this one holds is anybody's guess."""
    program = (
        "import os\n"
        "from ia2.tasks.parsers.equivalence import _VERIFIER\n"
        "assert _VERIFIER.is_equal('1', '1.0')\n"
        "_VERIFIER._lock.acquire()\n"
        "if not (child := os.fork()):\n"
        "    assert _VERIFIER._worker is None\n"
        "    os._exit(0 if _VERIFIER.is_equal('1', '1.0') else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "_VERIFIER._lock.release()\n"
        "assert _VERIFIER.is_equal('2', '2.0')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_worker_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(equivalence, "_SCRIPT", tmp_path / "missing.py")
    with pytest.raises(MachineError, match=r"answers in boxes cannot be compared: .*missing\.py 0\.5 does not run"):
        Verifier(0.5).is_equal("1", "1.0")


def test_what_is_equal_already_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ia2.tasks.parsers.equivalent", None)
    assert same("x", "x", SPEC)
    assert not same(None, "x", SPEC)


def test_reading_loads_no_algebra() -> None:
    program = "import sys, ia2.tasks.parsers; print({'sympy', 'math_verify'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def box_by_definition(text: str) -> str | None:
    """The last whole box, each box's braces counted from its own beginning."""
    for box in reversed([*re.finditer(r"\\(?:boxed|fbox)(?![A-Za-z])\s*", text)]):
        rest = text[box.end() :]
        if not rest.startswith("{"):
            unbraced = re.match(r"(?:(?!\\[)\]])[^\s${}])+", rest)
            if unbraced:
                return unbraced[0]
            continue
        depth = 0
        for brace in re.finditer(r"\\.|[{}]", rest, re.DOTALL):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0:
                return rest[1 : brace.start()]
    return None


@given(st.lists(st.sampled_from(["\\boxed", "\\fbox", "{", "}", "\\", " ", "5", "$", "a", "\\)"]), max_size=14))
def test_the_last_box_is_that_of_the_definition(parts: list[str]) -> None:
    assert last_box("".join(parts)) == box_by_definition("".join(parts))


def test_a_nest_of_boxes_takes_time_in_proportion_to_its_length() -> None:
    """CPU time of 10 times the text: 10 times as much if read once, 100 times if each box reads the rest."""

    def seconds(num: int) -> float:
        started = time.process_time()
        assert last_box("\\boxed{" * num) is None
        return time.process_time() - started

    few = min(seconds(1_500) for _ in range(3))
    assert min(seconds(15_000) for _ in range(3)) < 40 * max(few, 1e-4)
    assert last_box("\\boxed{" * 200_000) is None
    assert last_box("\\boxed{" * 200_000 + "5" + "}" * 200_000) == "5"
