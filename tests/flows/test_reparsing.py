"""Records read again: the same numbers as an evaluation that reads so, kept originals, and nothing half replaced."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_runs import counted, evaluation, files_of, leftovers

from ia2 import store
from ia2.commands.evaluate import evaluate
from ia2.commands.reparse import original_of, reparse
from ia2.config import ReparseConfig
from ia2.errors import UserError
from ia2.evaluation.metrics import accuracy
from ia2.models.loading import ModelCache
from ia2.results.records import examine_records

VOWELS = {"a": "first", "e": "second", "o": "third"}
FREE = {"name": "free", "template": "Input: {x}\nOutput:", "answer_template": " {y}", "parser": "line"}
CLOSED = {**FREE, "name": "closed", "labels": VOWELS, "parser": "choice"}
READERS: list[dict[str, str]] = [
    {"parser": "regex", "pattern": "([aeo])"},
    {"parser": "after_marker", "marker": "e"},
    {"parser": "exact"},
]
OF_THE_MACHINE = {"timings", "peak_memory_bytes", "command", "eval_sha256", "reparsed", "eval", "sha256"}
"""What differs between two evaluations, and the digest that is of it too."""


def write_data(root: Path, spec: dict[str, Any]) -> None:
    """An invented dataset whose answers are vowels, which the tiny model's noise sometimes holds."""
    rows = [{"idx": i, "question": f"Input: {i * i}\nOutput:", "answer": f" {'aeo'[i % 3]}"} for i in range(32)]
    content = {"metadata": {"task": spec}, "train_examples": rows[:8], "val_examples": rows[8:]}
    store.write_json(store.pool_path(root, spec["name"]), content)


def evaluated(root: Path, model: Path, models: ModelCache, specs: list[dict[str, Any]], uncertainty: bool) -> Path:
    for spec in specs:
        write_data(root, spec)
        asked = {"eval_datasets": (spec["name"],), "num_examples": (4,), "run_indices": (0,), "num_eval_examples": None}
        evaluate(
            evaluation(
                root,
                model,
                model_types=("base",),
                uncertainty_analysis=uncertainty,
                num_generated_tokens_eval=6,
                **asked,
            ),
            models,
        )
    return root


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, models: ModelCache) -> Path:
    """A root with a record of free text and one of labels, two passes each."""
    return evaluated(tmp_path_factory.mktemp("measured"), tiny_model_folder, models, [FREE, CLOSED], False)


@pytest.fixture
def root(measured: Path, tmp_path: Path) -> Path:
    return shutil.copytree(measured, tmp_path / "root")


def records(root: Path) -> dict[str, dict[str, Any]]:
    found = (
        json.loads(path.read_text(encoding="utf-8")) for path in (root / "outputs/evaluations").rglob("[!.]*.json")
    )
    return {record["eval"]["eval_dataset"]: record for record in found}


def examples(root: Path) -> dict[str, pd.DataFrame]:
    return {
        record.settings.eval_dataset: pd.read_parquet(record.path.with_suffix(".parquet"))
        for record in examine_records(root).found
    }


def assert_whole(root: Path) -> None:
    """The numbers and digests of every record that counts are those of its examples."""
    results = examine_records(root)
    assert results.problems == ()
    for record in results.found:
        rows = pd.read_parquet(record.path.with_suffix(".parquet"))
        assert_digests(record.path)
        assert record.metrics["without_icl_accuracy"] == accuracy(rows[~rows["with_icl"]]["correct"])


def assert_digests(path: Path) -> None:
    """A record of today's schema has digests, of itself and of its examples, and they are right."""
    record = store.read_object(path, has_digest=True)
    assert record["schema"] == 2
    assert record["examples_sha256"] == hashlib.sha256(path.with_suffix(".parquet").read_bytes()).hexdigest()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader["parser"])
def test_a_record_read_again_is_that_of_an_evaluation_that_reads_so(
    root: Path, tmp_path: Path, tiny_model_folder: Path, models: ModelCache, reader: dict[str, str]
) -> None:
    before, digests = examples(root), {name: record["eval_sha256"] for name, record in records(root).items()}
    reparse(ReparseConfig(root=root, **reader))
    specs = [spec | reader for spec in (FREE, CLOSED)]
    anew = evaluated(tmp_path / "anew", tiny_model_folder, models, specs, False)
    assert records(root).keys() == {"free", "closed"}
    for name, record in records(root).items():
        wanted = records(anew)[name]
        assert {key: record[key] for key in record.keys() - OF_THE_MACHINE} == {
            key: wanted[key] for key in wanted.keys() - OF_THE_MACHINE
        }
        assert record["eval"].keys() - {"reader"} == wanted["eval"].keys()
        assert record["eval_sha256"] == digests[name]
        pd.testing.assert_frame_equal(examples(root)[name], examples(anew)[name])
        assert not examples(root)[name].equals(before[name])
    assert_whole(root)


def test_uncertainty_stays_as_it_was(tmp_path: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    root = evaluated(tmp_path, tiny_model_folder, models, [CLOSED], True)
    before, rows = records(root)["closed"], examples(root)["closed"]
    reparse(ReparseConfig(root=root, **READERS[0]))
    after = records(root)["closed"]
    changed = {name for name, value in before["metrics"].items() if after["metrics"][name] != value}
    read = {"accuracy", "parse_rate", "macro_f1", "balanced_accuracy"}
    assert changed <= {"accuracy_delta"} | {f"with{out}_icl_{name}" for name in read for out in ("", "out")}
    assert {"without_icl_parse_rate", "without_icl_accuracy"} <= changed
    kept = rows.columns.difference(["parsed", "correct", "anywhere_correct"])
    pd.testing.assert_frame_equal(examples(root)["closed"][kept], rows[kept])


def test_the_same_again_changes_nothing(root: Path) -> None:
    config = ReparseConfig(root=root, **READERS[0])
    assert [new.changes for new in reparse(config)] == [True, True]
    files = files_of(root)
    assert [new.changes for new in reparse(config)] == [False, False]
    assert files_of(root) == files


def test_a_record_that_is_parsed_the_same_is_left_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = files_of(root)
    reparse(ReparseConfig(root=root))
    assert files_of(root) == files
    assert "2 records: 0 are changed, 2 are parsed the same" in capsys.readouterr().out


def test_a_dry_run_shows_both_numbers_and_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = files_of(root)
    (new,) = reparse(ReparseConfig(root=root, eval_datasets=("free",), dry_run=True, **READERS[0]))
    assert files_of(root) == files
    told = capsys.readouterr().out
    old, now = (record["metrics"]["without_icl_accuracy"] for record in (new.before, new.record))
    assert old != now
    assert ["without_icl_accuracy", f"{old:.3f}", f"{now:.3f}"] in [line.split() for line in told.splitlines()]
    assert "1 records: 1 would be changed" in told
    assert "up to the blank line" in told


def test_a_record_names_its_parser_and_the_original_is_kept(root: Path) -> None:
    originals = {record.path: record.path.read_bytes() for record in examine_records(root).found}
    tables = {path.with_suffix(".parquet"): path.with_suffix(".parquet").read_bytes() for path in originals}
    for reader in READERS:
        reparse(ReparseConfig(root=root, **reader))
        assert {path: original_of(path).read_bytes() for path in originals | tables} == originals | tables
    for record in records(root).values():
        assert record["reparsed"] == {"reader": "exact", "command": "ia2 reparse --parser exact"}
        assert record["eval"]["reader"] == "exact"
    assert len(examine_records(root).found) == 2
    reparse(ReparseConfig(root=root))
    for name, record in records(root).items():
        own = {"free": "line", "closed": "choice"}[name]
        assert record.pop("reparsed") == {"reader": own, "command": "ia2 reparse"}
        del record["sha256"]  # which is of the note too
        assert record in [
            {key: value for key, value in json.loads(content).items() if key != "sha256"}
            for content in originals.values()
        ]
    assert_whole(root)


def test_a_record_evaluated_again_is_the_new_original(root: Path) -> None:
    reparse(ReparseConfig(root=root, **READERS[0]))
    path = next(record.path for record in examine_records(root).found)
    table = path.with_suffix(".parquet")
    rows = pd.read_parquet(original_of(table)).assign(confidence=0.5)
    rows.to_parquet(table, index=False)
    content = store.read_object(original_of(path))
    anew = {"command": "evaluated again", "examples_sha256": store.file_digest(table)}
    store.write_object(path, content | anew)
    files = {file: file.read_bytes() for file in (path, table)}
    reparse(ReparseConfig(root=root, **READERS[0]))
    assert {file: original_of(file).read_bytes() for file in files} == files
    assert store.read_object(path)["reparsed"]["reader"] == "regex '([aeo])'"
    assert_whole(root)


def test_the_reader_of_a_task_file(root: Path, tmp_path: Path) -> None:
    """What its file says now, not what it said when the dataset was prepared."""
    (tmp_path / "free.toml").write_text(
        'name = "free"\ntemplate = "Input: {x}\\nOutput:"\nanswer = " {y}"\nnum_generated_tokens = 6\n'
        "parser = 'regex'\npattern = '([aeo])'\n[source]\nfile = 'none.csv'\n"
    )
    (new,) = reparse(ReparseConfig(root=root, eval_datasets=(str(tmp_path / "free.toml"),)))
    (other,) = reparse(ReparseConfig(root=root, eval_datasets=("free",), **READERS[0]))
    assert not other.changes
    assert other.numbers == new.numbers
    assert new.record["eval"]["reader"] == "regex '([aeo])'"


def test_the_reader_that_a_dataset_was_prepared_with_since(root: Path) -> None:
    """It is the one that a new evaluation would use, so nothing is said of it beside the settings."""
    write_data(root, FREE | READERS[0])
    new = {one.before["eval"]["eval_dataset"]: one for one in reparse(ReparseConfig(root=root))}
    assert new["free"].changes
    assert "reader" not in new["free"].record["eval"]
    assert new["free"].record["reparsed"]["reader"] == "regex '([aeo])'"
    assert not new["closed"].changes


def test_what_an_older_record_lacks_is_not_added(root: Path) -> None:
    path = next(record.path for record in examine_records(root).found if record.settings.eval_dataset == "closed")
    record = json.loads(path.read_text(encoding="utf-8"))
    late = ("labels", "recall", "confusion", "agreement", "sha256", "examples_sha256")
    record = {key: value for key, value in record.items() if key not in late} | {"schema": 1}
    record["metrics"] = {name: value for name, value in record["metrics"].items() if "f1" not in name}
    path.write_text(json.dumps(record), encoding="utf-8")
    reparse(ReparseConfig(root=root, **READERS[0]))
    after = json.loads(path.read_text(encoding="utf-8"))
    assert after.keys() - {"reparsed", "sha256", "examples_sha256"} == record.keys()
    assert after["metrics"].keys() == record["metrics"].keys()
    assert after["metrics"]["without_icl_parse_rate"] != record["metrics"]["without_icl_parse_rate"]
    assert json.loads(original_of(path).read_text(encoding="utf-8")) == record
    assert_whole(root)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"parser": "telepathy"}, "parser='telepathy'; valid: choice, line"),
        ({"parser": "choice"}, "free has no labels"),
        ({"parser": "line", "pattern": "x"}, "--pattern is for the parser regex, not line"),
        ({"parser": "regex", "marker": "x"}, "--marker is for the parser after_marker, not regex"),
        ({"parser": "regex"}, "the parser regex needs one"),
        ({"pattern": "("}, "is not a regular expression"),
        ({"eval_datasets": ("fre",)}, "evaluated are: closed, free"),
        ({"model_types": ("act",)}, "no record"),
        ({"trained_datasets": ("sst2",)}, "no record"),
    ],
)
def test_what_cannot_be_read_is_refused(root: Path, flags: dict[str, Any], says: str) -> None:
    files = files_of(root)
    with pytest.raises(UserError, match="^.*" + says.replace("(", "[(]")):
        reparse(ReparseConfig(root=root, **flags))
    assert files_of(root) == files


@pytest.mark.parametrize("changes", [{"labels": {"a": "", "e": "", "o": "", "u": ""}}, {"answer_template": "{y}"}])
def test_other_labels_are_refused(root: Path, changes: dict[str, Any]) -> None:
    """The model's probabilities were those of the labels that were."""
    write_data(root, CLOSED | changes)
    with pytest.raises(UserError, match="evaluated with the labels a, e, o"):
        reparse(ReparseConfig(root=root, eval_datasets=("closed",)))


# Killed


class Killed(BaseException):
    """Ends a command at once."""


def dying(monkeypatch: pytest.MonkeyPatch, moment: int) -> Callable[[], int]:
    """Die before the `moment`-th rename or removal; returns what counts them."""
    passed = 0

    def before(function: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any, **named: Any) -> None:
            nonlocal passed
            passed += 1
            if passed == moment:
                raise Killed
            function(*arguments, **named)

        return wrapped

    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, before(getattr(os, name)))
    return lambda: passed


def test_killed_at_any_write_it_leaves_whole_records_and_the_next_start_ends_as_if_undisturbed(
    root: Path, tmp_path: Path
) -> None:
    config = {"eval_datasets": ("free",), **READERS[0]}
    before, done = files_of(root), shutil.copytree(root, tmp_path / "done")
    with pytest.MonkeyPatch.context() as patch:
        count = dying(patch, moment=0)
        reparse(ReparseConfig(root=done, **config))
        moments = count()
    seen = set()
    for moment in range(1, moments + 1):
        killed = shutil.copytree(root, tmp_path / str(moment))
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, moment)
            with pytest.raises(Killed):
                reparse(ReparseConfig(root=killed, **config))
        assert_whole(killed)
        seen.add(len(examine_records(killed).found))
        assert {str(path.relative_to(killed)) for path in counted(killed)} <= before.keys() | files_of(done).keys()
        reparse(ReparseConfig(root=killed, **config))
        assert files_of(killed) == files_of(done)
        assert leftovers(killed) == []
    assert seen == {1, 2}


def test_killed_while_it_brings_a_record_back(root: Path, tmp_path: Path) -> None:
    config = {"eval_datasets": ("free",), **READERS[0]}
    (new,) = reparse(ReparseConfig(root=root, **config))
    done = files_of(root)
    new.path.unlink()
    for moment in range(1, 7):
        killed = shutil.copytree(root, tmp_path / str(moment))
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, moment)
            with pytest.raises(Killed):
                reparse(ReparseConfig(root=killed, **config))
        assert_whole(killed)
        reparse(ReparseConfig(root=killed, **config))
        assert files_of(killed) == done


def test_a_record_that_a_person_removed_stays_away(root: Path) -> None:
    reparse(ReparseConfig(root=root, **READERS[0]))
    path = next(record.path for record in examine_records(root).found)
    path.unlink()
    path.with_suffix(".parquet").unlink()
    reparse(ReparseConfig(root=root, **READERS[0]))
    assert not path.exists()


def test_a_dry_run_brings_nothing_back(root: Path) -> None:
    reparse(ReparseConfig(root=root, **READERS[0]))
    path = next(record.path for record in examine_records(root).found)
    path.unlink()
    reparse(ReparseConfig(root=root, dry_run=True, **READERS[0]))
    assert not path.exists()


def test_a_record_read_again_is_not_evaluated_again(root: Path, tiny_model_folder: Path, models: ModelCache) -> None:
    """An evaluation would have written the record anew."""
    reparse(ReparseConfig(root=root, **READERS[0]))
    files = files_of(root)
    asked = {"eval_datasets": ("free",), "num_examples": (4,), "run_indices": (0,), "num_eval_examples": None}
    config = evaluation(root, tiny_model_folder, model_types=("base",), num_generated_tokens_eval=6, **asked)
    assert len(evaluate(config, models)) == 1
    assert files_of(root) == files
