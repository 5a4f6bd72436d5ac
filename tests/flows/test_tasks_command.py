"""`ia2 tasks`: the list, one task, and a first task file."""

import subprocess
import sys
from pathlib import Path

import pytest

from ia2.cli import main
from ia2.tasks import task
from ia2.tasks.registry import TASKS

ROWS = "id,text,label\n" + "".join(f"{i},sentence {i},{'good' if i % 2 else 'bad'}\n" for i in range(20))


def test_the_list_names_every_dataset_once_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    normal = {name for name, one in TASKS.items() if one.form == "normal"}
    assert [line for line in lines if line in TASKS] == [name for name in TASKS if name in normal]
    text = " ".join(" ".join(lines).split())
    for name in normal:
        one = TASKS[name]
        assert all(" ".join(fact.split()) in text for fact in (one.family, one.size, f"licence: {one.licence}")), name


def test_one_task_is_shown_as_the_model_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--datasets", "sciq_remap", "gsm8k_hard"]) == 0
    out = capsys.readouterr().out
    for name in ("sciq_remap", "gsm8k_hard"):
        spec, example = task(name).spec, task(name).example
        assert f"{spec.question(example)!r} -> {spec.answer(example)!r}" in out
    assert "[apple]" in out
    assert main(["tasks", "--dataset", "nothing"]) == 2


def test_a_first_task_file_can_be_used_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    assert main(["tasks", "--init", str(tmp_path / "rows.csv")]) == 0
    told = capsys.readouterr()
    assert f"wrote {tmp_path / 'rows.toml'}" in told.out
    assert "'label'" in told.err
    assert main(["prepare", "--dataset", str(tmp_path / "rows.toml"), "--root", str(tmp_path)]) == 0
    assert (tmp_path / "data" / "rows" / "main.json").exists()


def test_a_task_file_that_is_there_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    out = tmp_path / "elsewhere" / "mine.json"
    words = ["tasks", "--init", str(tmp_path / "rows.csv"), "--label_column", "label", "--out", str(out)]
    assert main(words) == 0
    before = out.read_bytes()
    assert main(words) == 2
    assert f"{out} exists" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert task(str(out)).load().train


def test_what_a_killed_command_left_is_swept_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / ".rows.toml.999999999.tmp").write_text("half")
    assert main(["tasks", "--init", str(tmp_path / "rows.csv")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "rows.toml"]


@pytest.mark.parametrize("place", [".", "..", "/", ""])
@pytest.mark.parametrize("words", [("tasks", "--init"), ("fit",), ("prepare", "--datasets")])
def test_a_folder_is_no_file_of_rows(words: tuple[str, ...], place: str, tmp_path: Path) -> None:
    assert main([*words, place, "--root", str(tmp_path / "root")]) == 2
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("flag", ["--text_column", "--label_column", "--out"])
def test_what_goes_with_init_needs_it(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", flag, "x"]) == 2
    assert "goes with --init" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`ia2 tasks | head -1`: the pipe is closed while there is more to print."""
    command = [sys.executable, "-c", "from ia2.cli import main; raise SystemExit(main(['tasks'] ))"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr.read() == b""
    process.stderr.close()
