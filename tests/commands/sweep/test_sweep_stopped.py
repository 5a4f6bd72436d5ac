"""What stops a sweep in a real process: Ctrl-C once and twice, too many failures, a run that hangs."""

import signal
import time
from pathlib import Path

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers, write_dataset
from tiny_sweeps import ENDLESS, ends, grid, summaries, weights, words

from ia2.commands.data_files import create_all
from ia2.config import CreateConfig
from ia2.errors import said_once

ONE_OR_TWO = [1, pytest.param(2, marks=pytest.mark.slow)]


@pytest.mark.parametrize("num_workers", ONE_OR_TWO)
def test_ctrl_c_lets_what_is_under_way_end(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, num_workers: int
) -> None:
    config = grid(tmp_path, tiny_model_folder, num_train_epochs=20, patience=20, run_indices=(0, 1, 2))
    sweep = words(config, "--max_parallel", num_workers)
    begun = commands.begin(*sweep)
    begun.wait_for("[4/15] done")
    begun.send(signal.SIGINT)
    ended = commands.end(begun)
    assert ended.code == 130, ended.stderr
    assert "interrupted; what was finished is kept" in ended.stderr
    assert "Traceback" not in ended.stderr
    lines = ended.stdout.splitlines()
    after = lines[lines.index("finishing what is under way; Ctrl-C again stops at once") :]
    assert sum(" done in " in line for line in after) <= num_workers
    (summary,) = summaries(tmp_path)
    assert summary["ended_by"] == "interrupt"
    assert len(summary["jobs"]) + len(summary["not_begun"]) == 15
    assert len(summary["not_begun"]) >= 10 - num_workers
    assert ends(summary, "done") == {job["key"] for job in summary["jobs"]}
    assert leftovers(tmp_path) == []
    assert_whole(tmp_path)


@pytest.mark.parametrize("num_workers", ONE_OR_TWO)
def test_ctrl_c_twice_stops_at_once(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, num_workers: int
) -> None:
    config = grid(tmp_path, tiny_model_folder, **ENDLESS)
    begun = commands.begin(*words(config, "--max_parallel", num_workers))
    wait_for_steps(tmp_path, num_workers)
    begun.send(signal.SIGINT)
    begun.wait_for("finishing what is under way")
    begun.send(signal.SIGINT)
    ended = commands.end(begun)
    assert ended.code == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    (summary,) = summaries(tmp_path)
    assert summary["ended_by"] == "interrupt"
    assert len(summary["not_begun"]) == 2, "neither has ended"
    assert weights(tmp_path) == {}
    assert_whole(tmp_path)


def wait_for_steps(root: Path, number: int, seconds: float = 240.0) -> None:
    """Until so many runs are at it."""
    deadline = time.monotonic() + seconds
    while sum(path.stat().st_size > 1000 for path in root.rglob(".*.tmp/history.jsonl")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def too_long(root: Path) -> None:
    """A dataset whose prompts no tiny model can take."""
    write_dataset(root, "too_long", [f"q{i} " * 300 for i in range(30)])


@pytest.mark.parametrize("num_workers", ONE_OR_TWO)
def test_enough_failures_stop_the_rest(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, num_workers: int
) -> None:
    """Data, code and machine are as they are: these runs raise in whoever does them."""
    too_long(tmp_path)
    gold = {"training_methods": ("tok",), "label_types": ("ground_truth",), "include_sequential": False}
    config = grid(tmp_path, tiny_model_folder, **gold, datasets=("too_long",), run_indices=range(8))
    ended = commands.run(*words(config, "--max_parallel", num_workers, "--max_failures", 2))
    assert ended.code == 1
    assert ended.stderr.splitlines()[-1].startswith("ia2: 2 of ") or num_workers > 1
    assert "jobs failed, and --max_failures stopped the rest" in ended.stderr
    (summary,) = summaries(tmp_path)
    assert summary["ended_by"] == "failures"
    failed = ends(summary, "failed")
    assert 2 <= len(failed) <= 1 + num_workers, "those that were under way end"
    assert len(summary["not_begun"]) == 8 - len(failed)
    logs = {str(log.parent.relative_to(tmp_path / "outputs")): log.read_text() for log in tmp_path.rglob("failure.log")}
    assert logs.keys() == failed
    for text in logs.values():
        assert "Traceback" in text
        assert text.strip().splitlines()[-1].startswith("ia2.errors.UserError: ")


def test_a_missing_data_file_and_a_failing_run_stop_no_other(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    too_long(tmp_path)
    config = grid(
        tmp_path,
        tiny_model_folder,
        training_methods=("act",),
        datasets=("missing", "too_long", "made_up"),
        run_indices=(0,),
    )
    create_all(CreateConfig(root=tmp_path, datasets=("too_long", "made_up"), num_train_examples=(4,), num_runs=1))
    ended = commands.run(*words(config), "--no_prepare")
    assert ended.code == 1
    (summary,) = summaries(tmp_path)
    reasons = {job["key"]: job["reason"] for job in summary["jobs"] if job["status"] in ("failed", "skipped")}
    assert any("missing" in key and "missing/main.json does not exist" in reason for key, reason in reasons.items())
    assert sum("too_long" in key and "tokens" in reason for key, reason in reasons.items()) == 1, reasons
    assert "2 done, 3 failed, 2 skipped" in ended.stdout
    for line in said_once(
        (f"{job['status']}: {job['key']}", job["reason"]) for job in summary["jobs"] if job["key"] in reasons
    ):
        assert f"  {line}\n" in ended.stdout
    assert {key.split("/")[1] for key in weights(tmp_path)} == {"made_up"}


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_given_up_and_says_where_it_was(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path
) -> None:
    config = grid(tmp_path, tiny_model_folder, **ENDLESS)
    ended = commands.run(*words(config, "--run_timeout", 8))
    assert ended.code == 1
    (summary,) = summaries(tmp_path)
    assert [job["reason"] for job in summary["jobs"]] == ["it took longer than run_timeout=8 s"] * 2
    assert all(8 <= job["seconds"] < 16 for job in summary["jobs"])
    logs = [log.read_text() for log in tmp_path.rglob("failure.log")]
    assert len(logs) == 2
    for text in logs:
        assert "training/trainer.py" in text, "what it was at"
        assert text.endswith("\nit took longer than run_timeout=8 s\n")
    assert [line for line in ended.stderr.splitlines() if "trainer.py" in line] == [], "which is for the file"
    again = commands.run(*words(config.model_copy(update={"num_train_epochs": 1})))
    assert again.code == 0
