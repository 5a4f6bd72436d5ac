"""Task files: what they become, that what is wrong is told in one line, and that a written one is read as it was."""

import json
import re
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ia2.errors import UserError
from ia2.tasks import task
from ia2.tasks.own_rows import read_task
from ia2.tasks.registry import TASKS
from ia2.tasks.task_file_text import task_file_text
from ia2.tasks.task_files import FileSource, HubRows, TaskFile, read_task_file

INVENTED = """
name = "tickets"
template = "Text:{text}\\nLabel:"
answer = "{label}"
parser = "choice"
num_generated_tokens = 8
[labels]
billing = "a question on an invoice"
tech = "something does not work"
[source]
file = "tickets.csv"
num_validation = 2
"""


def write(folder: Path, text: str = INVENTED, name: str = "tickets.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def write_rows(folder: Path) -> None:
    rows = "".join(f"bill {number},billing\ncrash {number},tech\n" for number in range(4))
    (folder / "tickets.csv").write_text(f"text,label\n{rows}")


def test_a_task_file_is_a_task(tmp_path: Path) -> None:
    path = write(tmp_path)  # the rows are not needed to know the task
    tickets = task(str(path))
    assert tickets.name == "tickets"
    assert tickets.spec.question({"text": "no invoice"}) == "Text:no invoice\nLabel:"
    assert tickets.spec.answer({"label": "billing"}) == "billing"
    assert tickets.spec.labels == {"billing": "a question on an invoice", "tech": "something does not work"}
    assert (tickets.spec.parser, tickets.spec.num_generated_tokens) == ("choice", 8)
    assert tickets.example == {"text": "<text>", "label": "<label>"}
    assert tickets.source == "file tickets.csv"


def test_its_rows_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    write_rows(tmp_path)
    monkeypatch.chdir("/")
    rows = read_task(path).load()
    assert (len(rows.train), len(rows.validation)) == (6, 2)
    assert {row["label"] for row in rows.validation} == {"billing", "tech"}
    assert str(tmp_path) not in json.dumps(dict(rows.provenance))


def test_optional_fields_reach_the_spec(tmp_path: Path) -> None:
    text = INVENTED.replace('"choice"', '"after_marker"').replace("[labels]", '[labels]\n[source]\nhub = "a/b"')
    text = text.partition('hub = "a/b"')[0].replace("[labels]\n", "") + 'hub = "a/b"\nconfig = "c"\ntrain = "all"\n'
    text = text.replace("[source]", 'marker = "=>"\ninstruction = "Sort."\ninstruct = "both"\n[source]')
    described = read_task_file(write(tmp_path, text))
    spec = described.spec
    assert (spec.marker, spec.instruction, spec.instruct, spec.labels) == ("=>", "Sort.", "both", {})
    assert described.source == HubRows(hub="a/b", config="c", train="all")
    assert read_task(tmp_path / "tickets.toml").source == "hub a/b"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "template",
            "templat",
            r"unknown field templat \(did you mean 'template'\?\); valid: name, template, .*source",
        ),
        ("num_validation", "num_val", r"unknown field source.num_val .*; valid: num_validation, seed, hold_out, "),
        (
            'file = "tickets.csv"',
            'hub = "a/b"\nfile = "x"',
            r"unknown field source.file.*; valid: .*hub, config, revis",
        ),
        ('name = "tickets"', "", r'the field name is missing; write it, as in: name = "tickets"'),
        ('answer = "{label}"', "", r'the field answer is missing; write it, as in: answer = "{label}"'),
        ('file = "tickets.csv"', "", r'the field source.file is missing; .* file = "tickets.csv", or hub = '),
        ('parser = "choice"', 'parser = "first"', r"parser = 'first': input should be 'choice', 'line', 'number', 'bo"),
        ("tokens = 8", "tokens = 0", r"num_generated_tokens = 0: input should be greater than or equal to 1"),
        ("tokens = 8", 'tokens = "8"', r"num_generated_tokens = '8': input should be a valid integer"),
        ("validation = 2", "validation = 0", r"source.num_validation = 0: input should be greater"),
        ("num_validation = 2", 'validation_file = ""', r""),
        ("num_validation = 2", 'validation_file = "tickets.csv"', r"'tickets.csv' for training and validation both"),
        (
            "num_validation",
            'validation_file = "v.csv"\nnum_validation',
            r"has num_validation and 'v.csv' both; take out",
        ),
        (
            'file = "tickets.csv"',
            'hub = "a/b"\nvalidation = "train"',
            r"source has 'train' for training and validation",
        ),
        ('"tickets"', '"tic/kets"', r"name = 'tic/kets' has to be a folder's name: up to 60 letters, digits"),
        ('"tickets"', '".."', r"name = '\.\.' has to be a folder's name"),
        ('"tickets"', '"tickets-ldr"', r"name = 'tickets-ldr' .* not ending in -ldr"),
        ('"tickets"', '"SST2"', r"name = 'SST2' is a built-in dataset's; choose another, such as my_SST2"),
        ("{text}\\n", "{text}{label}", r"template shows the answer's column 'label': nothing would be left to ask"),
        ("Label:", "Label: ", r"template ends in a blank"),
        ("{text}", "x", r"template = 'Text:x\\nLabel:' names no column; write one in braces, such as {text}"),
        ("{text}", "{text", r"template .*: '{' is no column's name"),
        ("{text}", "text}", r"'}' is no column's name"),
        ("{text}", "{}", r"'{}' is no column's name"),
        ("{text}", "{text:>2000000000}", r"'{text:>2000000000}' is no column's name"),
        ("{text}", "{text!r}", r"'{text!r}' is no column's name"),
        ("{text}", "{text[0]}", r"'{text\[0\]}' is no column's name"),
        ('"{label}"', '"{label} {why}"', r"answer = '{label} {why}': with \[labels\] it has one column"),
        ('"{label}"', '"label"', r"answer = 'label' names no column"),
        ('"{label}"', '"{label}\\n\\n"', r"answer holds an empty line"),
        (
            "tokens = 8",
            'tokens = 8\nmarker = "="',
            r'marker is for parser = "after_marker" only; the parser is "choice"',
        ),
        ("tokens = 8", 'tokens = 8\npattern = "a"', r'pattern is for parser = "regex" only'),
        ('"choice"', '"regex"', r'parser = "regex" needs a pattern'),
        ('"choice"', '"regex"\npattern = "("', r"pattern '\(' is not a regular expression: missing \)"),
        ('"choice"', '"regex"\npattern = "a{99999999999}"', r"is not a regular expression: the repetition number"),
        ('"choice"', '"regex"\npattern = " "', r"the parser regex needs one whose first group"),
        ('"choice"', '"after_marker"\nmarker = ""', r"after_marker needs a marker that is not blank, such as"),
        ('"choice"', '"after_marker"\nmarker = " "', r"after_marker needs a marker that is not blank"),
        ("tech =", '"" =', r"\[labels\] has an empty label; give it a word"),
        ('tech = "something does not work"', "", r"\[labels\] has one label only"),
        ("tech =", '"a  b" =', r"parser 'choice' reads the label 'a  b' as None: choice reads words with one blank"),
        ("tech = ", "tech = 3 #", r"labels.tech = 3: input should be a valid string"),
        ('"tickets"', "tickets", r"not TOML: .*; texts stand in quotation marks"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in INVENTED
    path = write(tmp_path, INVENTED.replace(old, new))
    if not message:
        assert read_task_file(path).source == FileSource(file="tickets.csv")
        return
    with pytest.raises(UserError, match=message) as caught:
        read_task(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_line_labels_have_to_be_in_small_letters(tmp_path: Path) -> None:
    text = INVENTED.replace('"choice"', '"line"').replace("tech =", '"Not Working" =')
    with pytest.raises(UserError, match="parser 'line' reads the label 'Not Working' as 'not working'"):
        read_task(write(tmp_path, text))
    assert read_task(write(tmp_path, text.replace("Not Working", "not working"))).spec.parser == "line"


def test_choice_needs_labels(tmp_path: Path) -> None:
    text = re.sub(r"\[labels\].*(?=\[source\])", "", INVENTED, flags=re.DOTALL)
    with pytest.raises(UserError, match=r'parser = "choice" needs \[labels\]; for free text take parser = "line"'):
        read_task(write(tmp_path, text))


def test_every_built_in_name_is_taken(tmp_path: Path) -> None:
    for name in TASKS:
        with pytest.raises(UserError, match="is a built-in dataset's"):
            read_task(write(tmp_path, INVENTED.replace('"tickets"', f'"{name}"')))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.toml", None, r"none\.toml: no such task file"),
        ("a.json", b"[1]", r"a\.json: a task file holds one object, and this one list"),
        ("a.json", b"{", r"a\.json: not JSON"),
        ("a.toml", b"a = " + b"[" * 100_000, r"a\.toml: not TOML: maximum recursion"),
        ("a.toml", b'name = "\xe9"', r"a\.toml: byte 8 is not UTF-8; save the file as UTF-8"),
        ("a.toml", b"", r"a\.toml: the field name is missing"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        task(str(tmp_path / name))


def test_another_ending_is_no_task_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a task file ends in \.toml or \.json"):
        read_task(tmp_path / "tickets.yaml")


# What is written is read as it was

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
LABELS = st.dictionaries(
    TEXTS.map(lambda text: " ".join(normalize("NFKC", text).split())).filter(bool), TEXTS, min_size=2, max_size=4
)


@settings(max_examples=40)
@given(labels=LABELS, instruction=TEXTS, seed=st.integers(0, 2**31), sentence=TEXTS)
def test_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, labels: dict[str, str], instruction: str, seed: int, sentence: str
) -> None:
    content: dict[str, Any] = {
        **{"name": "mine", "template": "Q:{a b}\nA:", "answer": " {é}", "parser": "exact", "num_generated_tokens": 3},
        **{"labels": labels, "instruction": instruction, "source": {"file": 'a "b".csv', "seed": seed}},
    }
    described = TaskFile.model_validate(content)
    folder = tmp_path_factory.getbasetemp()
    for suffix in (".toml", ".json"):
        path = folder / f"mine{suffix}"
        path.write_bytes(task_file_text(described, [f"said {sentence!r}"], suffix).encode())
        assert read_task_file(path) == described


def test_a_written_file_explains_itself(tmp_path: Path) -> None:
    text = task_file_text(read_task_file(write(tmp_path)), ["column 'text' is\nthe text"])
    assert text == (
        "# column 'text' is the text\n"
        "\n"
        'name = "tickets"  # what --dataset and the folders below data/ and outputs/ are called\n'
        'template = "Text:{text}\\nLabel:"  # the prompt: columns in braces, the cue last, no blank at the end\n'
        'answer = "{label}"  # what follows the prompt directly\n'
        'parser = "choice"  # how a response is read: choice, line, number, exact, boxed, after_marker (marker), '
        "regex (pattern)\n"
        "num_generated_tokens = 8  # tokens that an answer needs (T)\n"
        "\n"
        "# answer = what it means; leave this table out for free text\n"
        "[labels]\n"
        'billing = "a question on an invoice"\n'
        'tech = "something does not work"\n'
        "\n"
        "# paths start at this file's folder\n"
        "[source]\n"
        'file = "tickets.csv"\n'
        "num_validation = 2  # rows held out, each label in proportion; or name a second file: validation_file\n"
    )
