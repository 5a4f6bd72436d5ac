"""What a person sees of a sweep: the view by itself, and in a terminal of its own."""

import json
import re
import signal
import time
from io import StringIO
from pathlib import Path

import pytest
from commands import Commands
from rich.console import Console
from terminal import Screen, Terminal
from tiny_sweeps import ENDLESS, grid, jobs_of, weights, words

from ia2.commands.progress import duration
from ia2.commands.sweep.schedule import Claim, Job, Outcome, Schedule
from ia2.commands.sweep.view import seconds_left, short_names, view
from ia2.config import SweepConfig, TrainConfig

ONE_OR_TWO = [1, pytest.param(2, marks=pytest.mark.slow)]


def shown(schedule: Schedule, width: int = 100) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(view(schedule, short_names(schedule.jobs)))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def write_history(root: Path, key: str, *entries: dict[str, object]) -> None:
    run = root / "outputs" / key
    folder = run.with_name(f".{run.name}.1.tmp")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def begin(schedule: Schedule, worker: int = 0) -> list[Job]:
    """The jobs that are next, as a worker begins them."""
    jobs = schedule.next()
    schedule.running |= {job.key: Claim(f"{worker}.0", time.time()) for job in jobs}
    return jobs


def test_the_view_has_a_line_for_every_worker(tmp_path: Path, tiny_model_folder: Path) -> None:
    """2 sets of targets, then act and tok of two runs; worker by worker, as they begin and end."""
    config = grid(tmp_path, tiny_model_folder, include_sequential=False, num_train_epochs=3, max_parallel=2)
    schedule = Schedule(tmp_path, jobs_of(config), config)
    assert shown(schedule)[0].endswith("0 of 4 runs done, 4 left")
    assert shown(schedule)[1:] == ["waiting", "waiting"]

    (targets,), (other,) = begin(schedule), begin(schedule, 1)
    assert [re.split(r"\s{2,}", line)[:2] for line in shown(schedule)[1:]] == [
        [targets.key, "collecting"],
        [other.key, "collecting"],
    ]
    schedule.report(Outcome(targets.key, "done", seconds=100.0))
    (run,) = begin(schedule)
    assert re.fullmatch(r"act made_up run_idx=\d +starting +0 s", shown(schedule)[1])
    assert shown(schedule)[2].startswith(other.key), "it keeps its place"
    write_history(
        tmp_path,
        run.key,
        {"phase": "act", "step": 0, "dev_loss": 9.0},
        {"phase": "act", "step": 1, "train_loss": 0.123456, "dev_loss": 2.5},
        {"phase": "act", "step": 2, "train_loss": 0.00123456},
    )
    assert re.fullmatch(r"act made_up run_idx=\d +act 2/3 +train 0.001235  dev 2.5 +0 s", shown(schedule)[1])

    schedule.report(Outcome(run.key, "failed", seconds=3.0))
    schedule.report(Outcome(other.key, "done", seconds=100.0))
    head = shown(schedule)[0]
    assert "0 of 4 runs done, 1 failed, 3 left, about 2 min 30 s to go" in head, "300 s for two workers"
    assert all(len(line) <= 60 for line in shown(schedule, width=60))


def test_runs_in_the_same_passes_have_a_line_each(tmp_path: Path, tiny_model_folder: Path) -> None:
    gold = {"training_methods": ("tok",), "label_types": ("ground_truth",), "include_sequential": False}
    config = grid(tmp_path, tiny_model_folder, **gold, lrs=(1e-2, 1e-3, 1e-4), run_indices=(0,), stack=2)
    schedule = Schedule(tmp_path, jobs_of(config), config)
    begin(schedule)
    assert [re.split(r"\s{2,}", line)[:2] for line in shown(schedule)[1:]] == [
        ["tok made_up lr=0.01", "starting"],
        ["tok made_up lr=0.001", "starting"],
    ]


def test_a_run_is_named_by_what_differs(tmp_path: Path, tiny_model_folder: Path) -> None:
    config = grid(tmp_path, tiny_model_folder, lrs=(1e-3, 1e-2), training_methods=("act", "ia3-act"), lora_rs=(4, 8))
    jobs = jobs_of(config.model_copy(update={"run_indices": (0,), "include_sequential": False}))
    assert set(short_names(jobs).values()) == {
        *(f"act made_up lora_r={rank} lr={lr}" for lr in (0.001, 0.01) for rank in (4, 8)),
        *(f"ia3-act made_up lr={lr}" for lr in (0.001, 0.01)),
    }


def test_durations_and_outcomes_in_words() -> None:
    times = {0.4: "0 s", 59.4: "59 s", 200: "3 min 20 s", 3600: "1 h 0 min", 7530: "2 h 5 min"}
    assert {seconds: duration(seconds) for seconds in times} == times
    assert str(Outcome("a", "done", 1.23)) == "done in 1.2 s: a"
    assert str(Outcome("a", "there", 0.01)) == "there: a"
    assert str(Outcome("a", "failed", 0.06, "why")) == "failed in 0.1 s: a: why"
    assert str(Outcome("a", "skipped", reason="it needs b")) == "skipped: a: it needs b"


# How long yet


def measured(*planned: tuple[str, str, float | None], num_workers: int = 1) -> Schedule:
    jobs = [Job(key, TrainConfig(training_method=method), seconds=seconds) for key, method, seconds in planned]
    return Schedule(Path(), jobs, SweepConfig(training_methods=("tok",), max_parallel=num_workers))


def test_workers_share_what_is_left() -> None:
    assert seconds_left(measured(("a", "act", None), ("b", "tok", None)), 0.0) is None, "nothing is known"
    for num_workers, expected in ((1, 60.0), (2, 30.0), (3, 30.0)):  # no sooner than the longest
        jobs = ("a", "act", 10.0), ("b", "act", 20.0), ("c", "tok", 30.0)
        assert seconds_left(measured(*jobs, num_workers=num_workers), 0.0) == expected


def test_what_was_measured_here_counts_more_than_the_plan() -> None:
    """act took 4 and 6 s instead of 10, so that `c` should take 5; nothing is known of tok: 5, 5, 5 on average."""
    schedule = measured(("a", "act", 10.0), ("b", "act", 10.0), ("c", "act", 10.0), ("d", "tok", None))
    schedule.report(Outcome("a", "done", seconds=4.0))
    schedule.report(Outcome("b", "done", seconds=6.0))
    assert seconds_left(schedule, 0.0) == 10.0
    schedule.running["c"] = Claim("0.0", 100.0)
    assert seconds_left(schedule, 102.0) == pytest.approx(3.0 + 5.0)
    assert seconds_left(schedule, 150.0) == 5.0, "it takes longer than it should, and no one knows how long"


def test_what_others_did_or_failed_is_no_measure() -> None:
    schedule = measured(("a", "act", 10.0), ("b", "act", 10.0), ("c", "act", 10.0))
    schedule.report(Outcome("a", "there", seconds=0.0))
    schedule.report(Outcome("b", "failed", seconds=1.0))
    assert seconds_left(schedule, 0.0) == 10.0
    schedule.report(Outcome("c", "skipped"))
    assert seconds_left(schedule, 0.0) == 0.0


# In a terminal


@pytest.mark.parametrize("num_workers", ONE_OR_TWO)
def test_in_a_terminal_it_is_redrawn_in_place_and_gone_at_the_end(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, num_workers: int
) -> None:
    config = grid(
        tmp_path,
        tiny_model_folder,
        num_train_epochs=60,
        patience=60,
        training_methods=("act",),
        include_sequential=False,
    )
    with Terminal() as terminal:
        begun = commands.begin(*words(config, "--max_parallel", num_workers), terminal=terminal.name)
        seen = terminal.wait_for(lambda text: re.search(r"act \d+/60 +train [\d.]+  dev [\d.]+", text))
        assert seen.count("runs done") == 1
        lines = seen.splitlines()
        view = lines[next(index for index, line in enumerate(lines) if "runs done" in line) :]
        assert len(view) == 1 + num_workers
        assert all(len(line) <= 100 for line in view)
        ended = commands.end(begun)
        left = terminal.read()
    assert ended.code == 0, left
    assert left.splitlines()[-1].startswith("summary: ")
    assert "runs done" not in left
    assert "waiting" not in left
    assert len(re.findall(r"^\[\d/4\] done in [\d.]+ s: .*$", left, flags=re.MULTILINE)) == 4
    assert "step/s" not in terminal.received, "no bar of a single run"
    assert terminal.screen.shows_cursor
    assert len(weights(tmp_path)) == 2


@pytest.mark.parametrize("num_workers", ONE_OR_TWO)
def test_ctrl_c_leaves_the_terminal_as_it_was(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, num_workers: int
) -> None:
    with Terminal() as terminal:
        before = terminal.settings()
        config = grid(tmp_path, tiny_model_folder, **ENDLESS)
        begun = commands.begin(*words(config, "--max_parallel", num_workers), terminal=terminal.name)
        terminal.wait_for(lambda text: re.search(r"tok \d{2,}/100000", text))
        begun.send(signal.SIGINT)
        seen = terminal.wait_for(lambda text: "Ctrl-C again stops at once" in text)
        assert "runs done" in terminal.wait_for(lambda text: text != seen), "it goes on"
        begun.send(signal.SIGINT)
        ended = commands.end(begun)
        left = terminal.read()
        assert terminal.settings() == before
    assert ended.code == 130
    assert "runs done" not in left
    assert "Traceback" not in left
    assert left.splitlines()[-1].startswith("ia2: interrupted")
    assert terminal.screen.shows_cursor


def test_elsewhere_there_are_plain_lines_only(commands: Commands, tiny_model_folder: Path, tmp_path: Path) -> None:
    ended = commands.run(*words(grid(tmp_path, tiny_model_folder, training_methods=("act",))))
    assert ended.code == 0
    assert not {"\x1b", "\r"} & set(ended.stdout + ended.stderr)
    assert len(re.findall(r"^\[\d/6\] done in [\d.]+ s: .*$", ended.stdout, flags=re.MULTILINE)) == 6


def test_the_screen_of_these_tests_reads_control_codes() -> None:
    screen = Screen()
    screen.feed("above\n\x1b[1mone\x1b[0m\ntwo\r\x1b[2K\x1b[1A\x1b[2Knew\n\x1b[?25l")
    assert screen.text == "above\nnew"
    assert not screen.shows_cursor
