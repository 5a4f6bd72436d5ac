"""`ia2 fit` on the tiny model: rows in, adapter and page out; what it refuses; what it says."""

import csv
import datetime
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import save_tiny_model
from tiny_runs import files_of
from undrawn import draw_nothing

import ia2
from ia2 import store
from ia2.cli import main
from ia2.errors import UserError
from ia2.flows.fitting import Adapter, _write_examples, fit
from ia2.prompts.splits import load_split
from ia2.tasks.pool import load_pool
from ia2.training.trained_run import read_trained_run

NUM_ROWS = 30


def write_rows(path: Path, num: int = NUM_ROWS) -> Path:
    """Invented sentences with two labels, a third of them `bad`."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text", "label"])
        writer.writerows([i, f"sentence number {i} of these", "bad" if i % 3 == 0 else "good"] for i in range(num))
    return path


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """A fit draws in tests/flows/test_demo.py and for the documents; here its pages say where a picture would be."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch.setattr)
        yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Adapter:
    root = tmp_path_factory.mktemp("fit")
    file = write_rows(root / "rows.csv")
    return fit(file, model=str(tiny_model_folder), root=root / "store", num_train_epochs=1, lrs=(1e-2,))


def test_every_row_is_in_one_part_and_labels_are_in_proportion(fitted: Adapter) -> None:
    root = fitted.folder.parent
    pool = load_pool(root, "rows")
    questions = [example.question for example in (*pool.train, *pool.validation)]
    assert len(set(questions)) == len(questions) == NUM_ROWS
    (path,) = (root / "data" / "rows" / "train").glob("[!.]*.json")
    split = load_split(path, pool.train)
    num_train = len(split.train_examples)
    assert store.read_object(path)["settings"]["stratified"]
    assert path.name == f"{num_train}_0.json"
    assert num_train + num_train // 2 <= len(pool.train)
    for examples in (pool.validation, split.train_examples, [prompt.query for prompt in split.dev]):
        num_bad = sum(example.answer.strip() == "bad" for example in examples)
        assert abs(num_bad - len(examples) / 3) <= 1


def test_three_methods_and_the_teacher_are_on_the_page(fitted: Adapter) -> None:
    page = fitted.page.read_text(encoding="utf-8")
    assert all(f"<td>{name}" in page or name in page for name in ("tok", "act", "a2t", "teacher"))
    evaluated = {path.parts[-3] for path in (fitted.folder.parent / "outputs" / "evaluations").rglob("*.json")}
    assert {"tok", "act", "a2t"} <= evaluated


def test_the_adapter_of_lowest_dev_loss_is_kept(fitted: Adapter) -> None:
    outputs = fitted.folder.parent / "outputs"
    runs = [folder for method in ("tok", "a2t") for folder in (outputs / method / "rows").glob("[!.]*")]
    losses = {store.read_object(run / "final_loss_statistics.json")["best_dev_loss"]: run for run in runs}
    assert len(losses) == 2
    best = losses[min(losses)]
    assert (fitted.folder / "run.json").read_bytes() == (best / "run.json").read_bytes()


def test_the_adapter_answers_new_rows(fitted: Adapter, tmp_path: Path) -> None:
    (answer,) = fitted.predict(["another sentence"])
    assert answer.confidence is None or 0 <= answer.confidence <= 1
    new, out = tmp_path / "new.csv", tmp_path / "out.csv"
    new.write_text("text\nanother sentence\n")
    assert main(["predict", "--adapter", str(fitted.folder), "--file", str(new), "--out", str(out)]) == 0
    table = pd.read_csv(out, keep_default_na=False)
    assert list(table.columns) == ["text", "answer", "confidence"]
    written = table["confidence"][0]
    assert written == ("" if answer.confidence is None else pytest.approx(answer.confidence, abs=1e-6))


TEXTS = ["one watch", "a kettle"]
ROWS = [{"text": text, "more": 3} for text in TEXTS]


@pytest.mark.parametrize(
    ("given", "num"),
    [
        ("one watch", 1),
        (np.str_("one watch"), 1),
        ({"text": "one watch"}, 1),
        ({"text": TEXTS}, 2),
        (TEXTS, 2),
        (tuple(TEXTS), 2),
        ((text for text in TEXTS), 2),
        (np.array(TEXTS), 2),
        (pd.Series(TEXTS), 2),
        (pd.DataFrame(ROWS), 2),
        (pd.DataFrame(ROWS)["text"], 2),
        (ROWS, 2),
        ([], 0),
        (pd.Series([], dtype=object), 0),
    ],
)
def test_whatever_holds_texts_or_rows_is_answered_one_by_one(fitted: Adapter, given: Any, num: int) -> None:  # noqa: ANN401
    assert fitted.predict(given) == fitted.predict(TEXTS)[:num]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "NoneType"),
        (3, "int"),
        (2.5, "float"),
        (b"one watch", "bytes"),
        (np.array("one watch"), None),
        (Path("rows.csv"), "rows.csv"),
        ([None], "row 1"),
        (["one watch", float("nan")], "row 2"),
        (pd.Series(["one watch", None]), "row 2"),
        (["one watch", " "], "row 2"),
        ([b"one watch"], "row 1.*bytes"),
        ([("one watch", "good")], "row 1.*tuple"),
        ([{"words": "one watch"}], "'text'"),
        ({"text": TEXTS, "more": [1]}, "columns"),
        ([{"text": ["one watch"]}], "row 1.*list"),
    ],
)
def test_what_is_no_text_or_row_is_named(fitted: Adapter, given: Any, says: str | None) -> None:  # noqa: ANN401
    if says is None:
        assert len(fitted.predict(given)) == 1
        return
    with pytest.raises(UserError, match=says):
        fitted.predict(given)


PAIRS = [(f"sentence {i}", "yes" if i % 2 else "no") for i in range(16)]
FRAME = pd.DataFrame(PAIRS, columns=["text", "label"])


@pytest.mark.parametrize(
    "given",
    [
        FRAME,
        FRAME.to_dict("list"),
        FRAME.to_dict("records"),
        pd.Series(PAIRS),
        np.array(PAIRS),
        (pair for pair in PAIRS),
        zip(FRAME["text"], FRAME["label"], strict=True),
    ],
    ids=["frame", "columns", "rows", "series", "array", "generator", "zip"],
)
def test_examples_of_a_notebook_are_rows(given: Any, tmp_path: Path) -> None:  # noqa: ANN401
    lines = (
        _write_examples(given, tmp_path / "examples.jsonl", overwrite=False).read_text(encoding="utf-8").splitlines()
    )
    assert [json.loads(line) for line in lines] == FRAME.to_dict("records")


def test_dates_of_a_notebook_are_texts(tmp_path: Path) -> None:
    day = datetime.date(2026, 5, 1)
    frame = FRAME.assign(at=pd.Timestamp(day), day=day, hour=datetime.time(9), cost=Decimal("1.50"))
    first, *_ = _write_examples(frame, tmp_path / "examples.jsonl", overwrite=False).read_text().splitlines()
    told = {"at": "2026-05-01 00:00:00", "day": "2026-05-01", "hour": "09:00:00", "cost": "1.50"}
    assert json.loads(first) == {"text": "sentence 0", "label": "no", **told}


@pytest.mark.parametrize("given", [None, 3, b"text", [], pd.DataFrame(), pd.Series(["a", "b"]), [(b"text", "label")]])
def test_examples_that_are_no_rows_are_named_and_write_nothing(given: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(UserError):
        fit(given, root=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_second_fit_trains_nothing(
    fitted: Adapter, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fitted.folder.parent
    before = {path: path.stat().st_mtime_ns for path in (root / "outputs").rglob("adapter_model.safetensors")}
    words = ["fit", str(root.parent / "rows.csv"), "--root", str(root), "--model_id", str(tiny_model_folder)]
    assert main([*words, "--num_train_epochs", "1", "--lrs", "1e-2"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    told = capsys.readouterr()
    assert "'label'" in told.err  # what was guessed
    assert f"ia2 predict --adapter {root / 'adapter'}" in told.out


def test_the_adapter_is_kept_before_anything_is_shown(
    fitted: Adapter, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fitted.folder.parent
    store.remove(fitted.folder)
    monkeypatch.setattr("builtins.print", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(root / "rows.toml", model=str(tiny_model_folder), root=root, num_train_epochs=1, lrs=(1e-2,))
    assert read_trained_run(fitted.folder).config.dataset == "rows"


@pytest.mark.parametrize("changed", ["README.md", "failure.log"])
def test_the_adapter_is_replaced_only_where_it_is_another(fitted: Adapter, tmp_path: Path, changed: str) -> None:
    root = shutil.copytree(fitted.folder.parent, tmp_path / "store")
    file = write_rows(tmp_path / "rows.csv")
    adapter, given = root / "adapter", {"num_train_epochs": 1, "lrs": (1e-2,)}
    model, before, content = read_trained_run(adapter).model_id, adapter.stat().st_ino, files_of(adapter)
    fit(file, model=model, root=root, **given)
    assert adapter.stat().st_ino == before
    with (adapter / changed).open("ab") as stream:
        stream.write(b"more")
    fit(file, model=model, root=root, **given)
    assert adapter.stat().st_ino != before
    assert files_of(adapter) == content


def test_only_this_comparison_competes_and_is_told(
    fitted: Adapter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another model and another N in the same folder: each fit keeps its own, whichever has the lower dev loss."""
    one = Path(read_trained_run(fitted.folder).model_id)
    other = save_tiny_model(tmp_path / "other", seed=1)
    root = shutil.copytree(fitted.folder.parent, tmp_path / "store")
    file = write_rows(tmp_path / "rows.csv")
    for model, num, lr in ((other, None, 1e-2), (one, None, 1e-2), (other, 4, 3e-3), (one, None, 3e-3)):
        capsys.readouterr()
        kept = fit(file, model=str(model), root=root, num_train_epochs=1, lrs=(lr,), num_train_examples=num)
        config = read_trained_run(kept.folder).config
        assert (config.model_id, config.lr) == (str(model), lr)
        assert num in (None, config.num_labels)
        told = capsys.readouterr().out
        (line,) = (line for line in told.splitlines() if line.startswith("Kept: ") and " lr " in line)
        for value in (config.training_method, model, f"N = {config.num_labels}", f"lr {lr:g}"):
            assert str(value) in line
        assert f"Kept: {config.training_method}, chosen by dev loss (N = {config.num_labels}, " in told
        assert "Reasonable" not in told
        assert str(one if model is other else other) not in told
        assert told.count("Base, no demonstrations") == 1


@pytest.mark.slow
def test_changed_rows_are_noticed(fitted: Adapter, tmp_path: Path, tiny_model_folder: Path) -> None:
    file = write_rows(tmp_path / "rows.csv")
    settings = {"model": str(tiny_model_folder), "root": tmp_path / "store", "num_train_epochs": 1, "lrs": (1e-2,)}
    fit(file, **settings)
    file.write_text(file.read_text().replace("number 7", "number seven"))
    with pytest.raises(UserError, match=r"other rows .*--overwrite"):
        fit(file, **settings)
    again = fit(file, **settings, overwrite=True)
    assert "seven" in (again.folder.parent / "data" / "rows" / "main.json").read_text()


def test_pairs_in_python(tmp_path: Path, tiny_model_folder: Path) -> None:
    pairs = [(f"sentence {i}", "yes" if i % 2 else "no") for i in range(16)]
    adapter = ia2.fit(pairs, model=str(tiny_model_folder), root=tmp_path / "fit", num_train_epochs=1, lrs=(1e-2,))
    assert len(adapter.predict(["sentence 99", "sentence 100"])) == 2


@pytest.mark.parametrize("wrong", [("alone",), ("a", "b", "c"), "ab", 3])
def test_what_is_no_pair_is_named_and_writes_nothing(wrong: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(UserError, match=rf"example {re.escape(repr(wrong))} is neither a pair of text and label"):
        fit([("text", "label"), wrong], root=tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("wrong", ["half \ud83d", object()])
def test_what_is_no_text_writes_nothing(wrong: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(UserError, match="texts and numbers"):
        fit([("text", "label"), (wrong, "label")], root=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_too_few_rows_write_no_outputs(tmp_path: Path, tiny_model_folder: Path) -> None:
    file = write_rows(tmp_path / "rows.csv", num=2)
    with pytest.raises(UserError):
        fit(file, model=str(tiny_model_folder), root=tmp_path / "store")
    assert not (tmp_path / "store" / "outputs").exists()


def fit_words(file: Path, root: Path, model: Path) -> list[str]:
    settings = ["--num_train_epochs", "1", "--lrs", "1e-2"]
    return ["fit", str(file), "--root", str(root), "--model_id", str(model), *settings]


def with_long_row(path: Path, number: int, num_characters: int) -> Path:
    """Rows of which the one of this number, the first being 1, is long."""
    lines = write_rows(path).read_text(encoding="utf-8").splitlines()
    lines[number] = f"{number},{'long ' * (num_characters // 5)},good"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("num_characters", [3000, 400])
def test_a_row_longer_than_the_context_is_named_before_anything_is_trained(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str], num_characters: int
) -> None:
    """Longer than the context, or too long for a prompt that shows another such row."""
    file = with_long_row(tmp_path / "rows.csv", 17, num_characters)
    if num_characters == 400:
        lines = file.read_text(encoding="utf-8").splitlines()
        lines[1:] = [f"{number},{number} {'long ' * 80},{'good' if number % 3 else 'bad'}" for number in range(1, 31)]
        file.write_text("\n".join(lines), encoding="utf-8")
    words = fit_words(file, tmp_path / "store", tiny_model_folder)
    assert main(words) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"rows.csv, row {17 if num_characters == 3000 else 1}" in told
    assert "512" in told
    assert "--skip_long_rows" in told
    assert not (tmp_path / "store" / "outputs").exists()


def test_a_row_longer_than_the_context_is_left_out_on_request(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = with_long_row(tmp_path / "rows.csv", 17, 3000)
    root = tmp_path / "store"
    words = fit_words(file, root, tiny_model_folder)
    assert main(words) == 2  # and then, as it says
    assert main([*words, "--skip_long_rows"]) == 0
    assert any("row 17" in message and "1 rows are left out" in message for message in caplog.messages)
    pool = load_pool(root, "rows")
    assert len(pool.train) + len(pool.validation) == NUM_ROWS - 1
    assert store.read_object(root / "data" / "rows" / "main.json")["metadata"]["provenance"]["rows_left_out"] == "1"
    task_file = root / "rows.toml"
    task_file.write_text("# a remark of mine\n" + task_file.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(words) == 0  # goes on, whatever the remarks
    assert task_file.read_text(encoding="utf-8").startswith("# a remark of mine")
    task_file.write_text(task_file.read_text(encoding="utf-8").replace("Text:", "Words:"), encoding="utf-8")
    capsys.readouterr()
    assert main(words) == 2
    assert shlex.join(["ia2", "fit", str(task_file)]) in capsys.readouterr().err


def test_the_teacher_is_shown_what_its_context_holds(
    tmp_path: Path, tiny_model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where N demonstrations would be longer than the context, splits and evaluations show fewer."""
    file, root = tmp_path / "my rows.csv.gz", tmp_path / "store"
    rows = [(f"{number} {'word ' * 12}", "bad" if number % 3 == 0 else "good") for number in range(NUM_ROWS)]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(file, index=False)
    assert main(fit_words(file, root, tiny_model_folder)) == 0
    (split,) = (root / "data" / "my_rows" / "train").glob("[!.]*.json")
    most = store.read_object(split)["settings"]["max_icl_demos"]
    assert most < len(store.read_object(split)["train"]["examples"])
    records = [path.name for path in (root / "outputs" / "evaluations").rglob("*_demos*.json")]
    assert {re.findall(r"_demos([0-9]+)", name)[0] for name in records} == {str(most)}
