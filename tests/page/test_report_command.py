"""`ia2 report` on stores of every kind: a page, or a line that says what is wrong."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_up import ROWS, MadeUpStore, config, settings
from pages import Elements, text_of

import ia2
from ia2.cli import main
from ia2.store import list_files, write_object

MOST_BYTES = 10_000_000


def page_of(root: Path, *flags: str, code: int = 0) -> str:
    """The page that the command writes, having ended with that code."""
    assert main(["report", "--root", str(root), *flags]) == code
    return (root / "reports" / "report.html").read_text(encoding="utf-8")


def refusal(capsys: pytest.CaptureFixture[str], root: Path, *flags: str) -> str:
    """The one line that the command refuses with; nothing is written."""
    capsys.readouterr()
    assert main(["report", "--root", str(root), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (root / "reports").exists()
    return line


def anchors(page: str) -> list[str]:
    return [value for tag, name, value in Elements(page).attributes if (tag, name) == ("h2", "id")]


def test_the_command_and_the_function_write_the_same_page(full_store: MadeUpStore, tmp_path: Path) -> None:
    page = page_of(full_store.root)
    path = ia2.write_report(ia2.ReportConfig(root=full_store.root, out=tmp_path / "other" / "page.html"))
    assert path == tmp_path / "other" / "page.html"
    made_by = f"ia2 report --out {path}"
    assert path.read_text(encoding="utf-8").replace(made_by, "ia2 report") == page
    assert "commands" in anchors(page)


@pytest.mark.usefixtures("undrawn")
def test_what_the_command_prints(full_store: MadeUpStore, capsys: pytest.CaptureFixture[str]) -> None:
    page_of(full_store.root)
    assert capsys.readouterr().out == f"21 records, 18 runs: {full_store.root.resolve()}/reports/report.html\n"


def test_an_empty_store_gives_a_page_that_says_what_to_do(store: MadeUpStore) -> None:
    page = page_of(store.root)
    assert anchors(page) == ["done"]
    assert "There are no evaluation records below" in text_of(page)


@pytest.mark.usefixtures("undrawn")
def test_runs_without_records_are_shown_as_trained(store: MadeUpStore) -> None:
    store.run(config("act"), 0.5)
    page = page_of(store.root)
    assert anchors(page) == ["done", "costs"]
    assert "act (IA2) capitals 0.001 0 0.5 nothing yet" in text_of(page)
    assert "train act 25.0" in text_of(page)
    assert not re.search("collect targets|evaluate [0-9]", text_of(page))


@pytest.mark.usefixtures("undrawn")
def test_one_record_gives_a_page(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    page = page_of(store.root)
    assert {"results", "accuracy", "calibration", "examples", "commands"} <= set(anchors(page))
    assert "1 run" in text_of(page)


@pytest.mark.usefixtures("undrawn")
def test_a_method_without_records_is_told_beside_the_others(full_store: MadeUpStore) -> None:
    full_store.run(config("act", dataset="past_tense"), 0.5)
    assert "act (IA2) past_tense 0.001 0 0.5 nothing yet" in text_of(page_of(full_store.root))


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_record_is_named_and_the_rest_shown(
    full_store: MadeUpStore, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    full_store.base((0.0, 1.0), run_idx=3).write_text('{"schema": 1, "kin')
    page = page_of(full_store.root, code=1)
    assert "outputs/evaluations/base/record021.json" in text_of(page)
    assert "75.0 ± 2.5" in text_of(page)
    assert "record021.json is not counted" in caplog.text
    assert capsys.readouterr().err == "ia2: 1 record cannot be read: delete them and make them again\n"


def test_a_record_of_a_newer_schema_is_refused(full_store: MadeUpStore, capsys: pytest.CaptureFixture[str]) -> None:
    path = full_store.written[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 3}))
    assert "record000.json has schema 3, newer than 2, which this version reads: update ia2" in refusal(
        capsys, full_store.root
    )


def test_damaged_rows_are_left_out_and_named(full_store: MadeUpStore) -> None:
    path = full_store.written[0].with_suffix(".parquet")
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    assert main(["report", "--root", str(full_store.root)]) == 1
    assert path.with_suffix(".json").name in (full_store.root / "reports" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--eval_datasets", "past_tense"), "no record passes --eval_datasets past_tense; there are capitals"),
        (("--model_types", "sft"), "unknown method 'sft'"),
        (("--out", "page.pdf"), "out='page.pdf': the name has to end in .html"),
    ],
)
def test_mistakes_are_told(
    full_store: MadeUpStore, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], says: str
) -> None:
    assert says in refusal(capsys, full_store.root, *flags)


def test_a_root_that_is_no_folder_is_no_empty_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no folder; give the --root" in refusal(capsys, tmp_path / "typo")


@pytest.mark.usefixtures("undrawn")
def test_filters_leave_records_runs_and_their_own_command(full_store: MadeUpStore) -> None:
    full_store.run(config("act", dataset="past_tense"), 0.5)
    page = page_of(full_store.root, "--model_types", "base", "tok", "--trained_datasets", "capitals")
    text = text_of(page)
    assert "tok (SFT)" in text
    assert "act (IA2)" not in text
    assert "past_tense" not in text
    assert "ia2 report --model_types base tok --trained_datasets capitals" in page


@pytest.mark.usefixtures("undrawn")
def test_the_published_choice_is_made_where_it_is_asked_for(full_store: MadeUpStore) -> None:
    assert "of highest accuracy on this very evaluation set" in page_of(
        full_store.root, "--hp_selection", "performance"
    )


# 500 records


def multiplied(store: MadeUpStore, num_sets: int) -> None:
    """Copies of all that was written, each on a pair of datasets of its own; two of five are what was trained on."""
    written = list(store.written)
    for number in range(num_sets):
        trained, evaluated = f"data{number % 5}", f"data{number // 5}"
        for path in written:
            content = json.loads(path.read_text())
            content["eval"] |= {"eval_dataset": evaluated, "icl_source_dataset": trained}
            if content["run"]:
                content["run"]["dataset"] = trained
            copy = path.with_name(f"{path.stem}_{number}.json")
            copy.write_text(json.dumps(content))
            shutil.copy(path.with_suffix(".parquet"), copy.with_suffix(".parquet"))
    for path in written:
        path.unlink()
        path.with_suffix(".parquet").unlink()


def long_answers(path: Path) -> None:
    """320 queries of 600 characters, and answers of 1200 that are all different."""
    parquet = path.with_suffix(".parquet")
    rows = pd.read_parquet(parquet)
    frame = pd.concat([rows.assign(idx=rows["idx"] + len(ROWS) * copy) for copy in range(8)])
    keys = [f"{path.stem} {idx} {with_icl}" for idx, with_icl in zip(frame["idx"], frame["with_icl"], strict=True)]
    frame["question"] = [f"{idx} " + "q" * 600 for idx in frame["idx"]]
    frame["response"] = [f"{key} " + "<答>" * 400 for key in keys]
    frame.to_parquet(parquet)


def test_a_page_of_500_records_with_long_answers_is_small_and_has_few_figures(store: MadeUpStore) -> None:
    for run_idx in range(5):
        asked = settings(run_idx=run_idx)
        store.base((5.0, 75.0), run_idx, eval=asked)
        for method in ("tok", "act", "a2t"):
            store.adapter(config(method, run_idx), 70.0 + 2.5 * run_idx, 0.5, eval=asked)
    for path in store.written:
        long_answers(path)
    multiplied(store, 25)
    for number in range(5):
        for method in ("tok", "act", "a2t"):
            for run_idx in range(5):
                store.run(config(method, run_idx, dataset=f"data{number}"), 0.5)
    page = page_of(store.root)
    assert len(page.encode()) < MOST_BYTES
    assert page.count('<tr data-label="') == 25 * 5
    # all sets in one figure and the first of their own, in accuracy and calibration; and one training set
    assert page.count("<figure>") == 2 * (1 + 1) + 1
    assert "data3* (trained on data4). This draws them: ia2 report --eval_datasets NAME" in text_of(page)
    assert page.count("<summary>data0: <strong>a2t</strong></summary>") == 1
    assert "q" * 600 in page
    assert page.count('"has_all_runs":false') == 25


def test_damaged_runs_and_targets_are_named_and_the_page_is_made(full_store: MadeUpStore) -> None:
    run = full_store.run(config("tok", 7), 0.5)
    (run / "adapter_model.safetensors").write_bytes(b"cut")
    targets = full_store.root / "outputs" / "targets" / "made_up"
    targets.mkdir(parents=True)
    (targets / "tokens.safetensors").write_bytes(b"whole")
    write_object(targets / "manifest.json", {"seconds": 1.0, "files": list_files(targets, ["tokens.safetensors"])})
    (targets / "tokens.safetensors").write_bytes(b"cut")
    assert main(["report", "--root", str(full_store.root)]) == 1
    page = (full_store.root / "reports" / "report.html").read_text(encoding="utf-8")
    for folder in (run, targets):
        assert str(folder.relative_to(full_store.root)) in page
