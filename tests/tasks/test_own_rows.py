"""A person's own rows: what is told of a bad one, what is only warned of, and that much is read with little memory."""

import logging
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from ia2.errors import UserError
from ia2.tasks import own_rows
from ia2.tasks.own_rows import default_num_validation, load_rows
from ia2.tasks.parsers import parse
from ia2.tasks.sampling import Bounds
from ia2.tasks.task_files import FileSource, HubRows, TaskFile
from ia2.tasks.task_spec import Rows

SPEC = TaskFile(
    name="tickets",
    template="Text:{text}\nLabel:",
    answer="{label}",
    labels={"a": "first", "b": "second"},
    parser="choice",
    num_generated_tokens=1,
    source=FileSource(file="t.csv"),
)
FREE = SPEC.model_copy(update={"labels": {}, "parser": "line"})
SIX = [("one", "a"), ("two", "b"), ("three", "a"), ("four", "b"), ("five", "a"), ("six", "b")]


def write(folder: Path, rows: list[tuple[str, str]], name: str = "t.csv") -> None:
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(folder / name, index=False)


def load(folder: Path, rows: list[tuple[str, str]], spec: TaskFile = SPEC, **source: str | int) -> Rows:
    write(folder, rows)
    given = FileSource.model_validate({"file": "t.csv", **source})
    return load_rows(spec.model_copy(update={"source": given}), folder)


def test_provenance_is_the_files_name_and_digest_and_what_was_held_out(tmp_path: Path) -> None:
    rows = load(tmp_path, SIX, num_validation=2, seed=7)
    assert dict(rows.provenance) == {
        "source": "file t.csv",
        # printf 'text,label\none,a\ntwo,b\nthree,a\nfour,b\nfive,a\nsix,b\n' | sha256sum
        "sha256": "96fc6cc61aab621692b72ea0dc8db66f2505d9284ceacdec5e29e85e98d753b8",
        "rows": "6",
        "held_out": "2 rows, by label, seed 7",
    }


def test_rows_keep_their_order_and_are_all_there(tmp_path: Path) -> None:
    rows = load(tmp_path, SIX, num_validation=2)
    texts = [text for text, _ in SIX]
    train, validation = [row["text"] for row in rows.train], [row["text"] for row in rows.validation]
    assert sorted(train, key=texts.index) == train
    assert sorted(train + validation) == sorted(texts)
    assert sorted(row["label"] for row in rows.validation) == ["a", "b"]


def test_a_second_file_is_the_validation(tmp_path: Path) -> None:
    write(tmp_path, [("seven", "a")], "v.csv")
    rows = load(tmp_path, SIX, validation_file="v.csv")
    assert len(rows.train) == 6
    assert list(rows.validation) == [{"text": "seven", "label": "a"}]
    assert rows.provenance["train_source"] == "file t.csv"
    assert rows.provenance["validation_rows"] == "1"


def test_rows_of_the_hub(offline: Path) -> None:
    source = HubRows(hub="stanfordnlp/sst2", validation="validation")
    fields = {"template": "Text:{sentence}\nLabel:", "labels": {"0": "bad", "1": "good"}, "source": source}
    spec = SPEC.model_copy(update=fields)
    with pytest.raises(UserError, match=r"file stanfordnlp__sst2/train.parquet has 2 rows; at least 3 are needed"):
        load_rows(spec, offline)
    misspelt = {"template": "{sentense}:", "source": HubRows(hub=source.hub, train="validation")}
    with pytest.raises(UserError, match=r"validation.parquet: no column 'sentense'; .* \(did you mean 'sentence'\?\)"):
        load_rows(spec.model_copy(update=misspelt), offline)


def test_two_splits_of_the_hub(offline: Path) -> None:
    fields = {"template": "{text}:", "answer": "{n}", "labels": {"1": "", "2": ""}}
    spec = SPEC.model_copy(update=fields | {"source": HubRows(hub="me/mine", validation="test")})
    (offline / "me__mine").mkdir()
    for split, count in (("train", 4), ("test", 1)):
        lines = [f'{{"text": "{split} {number}", "n": {number % 2 + 1}, "tags": []}}' for number in range(count)]
        (offline / "me__mine" / f"{split}.jsonl").write_text("\n".join(lines))
    rows = load_rows(spec, offline)
    assert rows.train[1] == {"text": "train 1", "n": "2"}
    assert len(rows.validation) == 1
    assert rows.provenance["validation_source"] == "file me__mine/test.jsonl"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [*SIX, ("x", ""), ("y", " ")],
            r"t\.csv, row 7: the answer \(label\) is empty \(2 rows are so\); fill it in, or",
        ),
        ([("\n", "a"), *SIX], r"t\.csv, row 1: the text \(text\) is empty \(1 rows are so\)"),
        ([*SIX, ("x", "A")], r"t\.csv, row 7: the answer 'A' is none of the labels 'a', 'b' .*mean 'a'"),
        ([*SIX, ("x", "(a)")], r"row 7: the answer '\(a\)' is none of the labels"),
        (SIX[::2], r"t\.csv: every row has the label 'a'; at least two labels are needed"),
        (SIX[:2], r"t\.csv has 2 rows; at least 3 are needed, 2 to train on and 1 to validate with .*: add rows"),
        ([*SIX[:2], SIX[0]], r"t\.csv: num_validation = 1 of 2 different questions leaves fewer than 2 to train on"),
        ([], r"t\.csv: the file has no rows"),
    ],
)
def test_what_would_spoil_a_run_is_an_error(tmp_path: Path, rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, rows)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_column_that_the_template_names_and_the_file_lacks(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"template": "{txt}:"})
    with pytest.raises(UserError, match=r"t\.csv: no column 'txt'; it has 'text', 'label' \(did you mean 'text'\?\)"):
        load(tmp_path, SIX, spec)


def test_one_of_several_texts_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("subject,text,label\n,a,x\nb,,y\nc,d,z\n")
    spec = FREE.model_copy(update={"template": "{subject}\n{text}:"})
    assert len(load_rows(spec, tmp_path).train) == 2
    (tmp_path / "t.csv").write_text("subject,text,label\n,a,x\n,,y\nc,d,z\n")
    with pytest.raises(UserError, match=r"row 2: the text \(subject, text\) is empty"):
        load_rows(spec, tmp_path)


def test_what_training_survives_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = SPEC.model_copy(update={"labels": {**SPEC.labels, "c": "third"}})
    load(tmp_path, [*SIX, ("one ", "b"), ("two", "b"), ("six", "a")], spec, num_validation=2)
    assert caplog.messages == [
        "t.csv: none of 9 rows has the label 'c'",
        "t.csv: 2 texts have more than one answer: rows 1 and 7; 6 and 9",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_free_text_needs_no_labels(tmp_path: Path) -> None:
    rows = load(tmp_path, [(str(number), f"answer {number}") for number in range(10)], FREE)
    assert (len(rows.train), len(rows.validation)) == (7, 3)


@pytest.mark.parametrize(
    ("num_questions", "num_labels", "expected"), [(10, 0, 3), (9_999, 3, 500), (3, 2, 1), (20, 9, 9), (8, 7, 4)]
)
def test_how_many_are_held_out_by_default(num_questions: int, num_labels: int, expected: int) -> None:
    assert default_num_validation(num_questions, num_labels) == expected


def test_of_a_large_file_a_sample_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_rows, "BOUNDS", Bounds(rows=4, characters=999))
    caplog.set_level(logging.INFO)
    rows = load(tmp_path, SIX, num_validation=2)
    assert len(rows.train) + len(rows.validation) == 4
    assert caplog.messages == ["t.csv: kept a random 4 of its 6 rows"]
    assert (rows.provenance["rows"], rows.provenance["rows_kept"]) == ("6", "4")
    with pytest.raises(UserError, match="row 7: the answer 'c' is none"):  # those that are not kept are checked too
        load(tmp_path, [*SIX, ("x", "c")])


MEASURE = """
import resource, sys
from pathlib import Path
from ia2.tasks import own_rows
from ia2.tasks.sampling import Bounds
from ia2.tasks.task_files import TaskFile
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
own_rows.BOUNDS = Bounds(rows=3000, characters=3_000_000)
before = peak()
task = {"name": "t", "template": "{text}:", "answer": "{label}", "labels": {"a": "", "b": ""}, "parser": "choice"}
task |= {"num_generated_tokens": 1, "source": {"file": "t.csv", "num_validation": 9}}
rows = own_rows.load_rows(TaskFile.model_validate(task), Path(sys.argv[1]))
print(len(rows.train) + len(rows.validation), peak() - before)
"""


def test_a_file_larger_than_what_is_kept_takes_the_memory_of_what_is_kept(tmp_path: Path) -> None:
    """30 MB of which a tenth is kept: less than 15 MB, in a process of its own."""
    text = "x" * 990
    with (tmp_path / "t.csv").open("w") as stream:
        stream.write("text,label\n")
        stream.writelines(f"{number:06d}{text},{'ab'[number % 2]}\n" for number in range(30_000))
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    num_kept, megabytes = map(int, done.stdout.split())
    assert 2900 < num_kept <= 3000
    assert megabytes < 15


def test_free_text_that_is_not_taught_as_written_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(f"t{number}", f"answer {number}") for number in range(6)]
    codes = [(f"c{number}", f"    y = {number}\n\n    return y\n") for number in range(4)]
    for _ in range(2):
        loaded = load(tmp_path, [*rows, *codes], FREE.model_copy(update={"parser": "exact"}))
    (message,) = [one for one in caplog.messages if "answers are taught" in one]
    assert "4 of 10 answers" in message
    assert "row 7: " + repr("    y = 0\n\n    return y\n") in message
    taught = {FREE.spec.answer(row) for row in (*loaded.train, *loaded.validation)}
    assert "    y = 3\n    return y" in taught


def test_answers_that_the_parser_cannot_read_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numbers = FREE.model_copy(update={"parser": "number"})
    load(tmp_path, [(text, str(place)) for place, (text, _) in enumerate(SIX)] + [("seven", "12,50")], numbers)
    (message,) = [one for one in caplog.messages if "cannot read" in one]
    assert "1 of 7 answers" in message
    assert "row 7: '12,50'" in message
    with pytest.raises(UserError, match=r"'number' cannot read 6 of 6 answers.*row 1: '12,50'"):
        load(tmp_path, [(text, "12,50") for text, _ in SIX], numbers)


def test_a_home_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="~nosuchuser"):
        load_rows(SPEC.model_copy(update={"source": FileSource(file="~nosuchuser/t.csv")}), tmp_path)


def test_a_hundred_thousand_labels_take_time_in_proportion(tmp_path: Path) -> None:
    """Counted, not timed: reading each label back looks at no other, and so does sharing out what is held out."""

    class Counted(str):
        __slots__ = ()
        looks = 0

        def __eq__(self, other: object) -> bool:
            Counted.looks += 1
            return str.__eq__(self, other)

        def __hash__(self) -> int:
            return str.__hash__(self)

    spec = SPEC.spec.model_copy(update={"labels": {Counted(f"label {number}"): "" for number in range(2_000)}})
    Counted.looks = 0
    assert all(parse(f" label {number}", spec) == f"label {number}" for number in range(2_000))
    assert Counted.looks < 20_000
