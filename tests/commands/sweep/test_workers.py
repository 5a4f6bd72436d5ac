"""Workers on this machine: what becomes of one that dies, and of what it prints."""

import os
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from tiny_sweeps import grid, summaries, weights

from ia2.commands.sweep.schedule import Job, Outcome, Schedule
from ia2.commands.sweep.sweep import sweep
from ia2.commands.sweep.work import MOST_RESTARTS, supervise
from ia2.config import SweepConfig, TrainConfig
from ia2.errors import MachineError


class Acting:
    """A worker that fails at each of its jobs."""

    begun: ClassVar[list[str]] = []

    def __init__(self, schedule: Schedule, journal: Path) -> None:
        self.schedule = Schedule(schedule.root, schedule.jobs, schedule.config, journal=journal)
        self.schedule.report({"up": True})

    def poll(self) -> int | None:
        for job in self.schedule.next():
            self.begun.append(job.key)
            self.schedule.report({"begin": [job.key], "at": time.time(), "printed": 0})
            self.schedule.report(Outcome(job.key, "failed"))
        return 0 if self.schedule.is_over else None

    kill = wait = poll


def test_workers_count_failures_of_data_files(tmp_path: Path) -> None:
    """One is missing and one run fails: after two failures nothing is begun."""
    config = SweepConfig(training_methods=("act",), max_failures=2)
    jobs = [Job(key, TrainConfig(training_method="act")) for key in "ab"]
    schedule = Schedule(tmp_path, jobs, config, {"missing": Outcome("missing", "failed")})
    supervise(schedule, partial(Acting, schedule), tmp_path / "summary.json")
    assert Acting.begun == ["a"]
    assert [job.key for job in schedule.left] == ["b"]
    assert list(tmp_path.iterdir()) == []


GOLD = {"training_methods": ("tok",), "label_types": ("ground_truth",), "include_sequential": False}


def plant(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *lines: str) -> None:
    """Let the processes that are started import a module of these lines."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text("\n".join([*lines, ""]), encoding="utf-8")
    path = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))
    monkeypatch.setenv("PYTHONPATH", path)


@pytest.mark.slow
@pytest.mark.parametrize("stack", [1, 2])
def test_a_job_that_ends_its_worker_twice_has_failed_and_the_others_are_done(
    tmp_path: Path,
    tiny_model_folder: Path,
    stack: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As the system ends one that takes too much memory: alone, and in the passes of another run."""
    plant(
        tmp_path / "planted",
        monkeypatch,
        "sitecustomize",
        "import os, sys",
        "from ia2.commands.sweep import work",
        "def die(configs, *_, plain, **__):",
        "    for config in configs if isinstance(configs, list) else [configs]:",
        "        if config.run_idx == 1:",
        "            print('the last words', flush=True)",
        "            os._exit(7)",
        "    return plain(configs, *_, **__)",
        "from functools import partial",
        "work.train = partial(die, plain=work.train)",
        "work.train_runs = partial(die, plain=work.train_runs)",
    )
    config = grid(tmp_path, tiny_model_folder, **GOLD, max_parallel=2, stack=stack)
    with pytest.raises(MachineError, match="1 of 2 jobs failed"):
        sweep(config)
    (summary,) = summaries(tmp_path)
    assert [job["status"] for job in summary["jobs"]] == ["done", "failed"]
    reason = "its worker died 2 times (last exit code 7)"
    assert summary["jobs"][1]["reason"] == reason
    (log,) = tmp_path.rglob("failure.log")
    assert log.read_text() == f"the last words\n{reason}\n"
    assert str(log.parent.relative_to(tmp_path / "outputs")) == summary["jobs"][1]["key"]
    assert capfd.readouterr().err.count("the last words\n") == 2, "what a worker prints is passed on"
    assert len(weights(tmp_path)) == 1


def test_where_no_worker_can_start_that_is_said(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the machine has no memory left for another process that imports torch; each is started again."""
    starts = tmp_path / "starts"
    plant(
        tmp_path / "planted",
        monkeypatch,
        "torch",
        f"open({str(starts)!r}, 'a').write('x')",
        "raise ImportError('no room for torch')",
    )
    config = grid(tmp_path, tiny_model_folder, run_timeout=100.0)
    with pytest.raises(MachineError, match=r"no worker stays alive \(exit code 1\): ImportError: no room for torch"):
        sweep(config)
    assert starts.read_text() == "x" * (1 + MOST_RESTARTS)
    assert weights(tmp_path) == {}
    assert not list((tmp_path / "outputs" / "sweeps").iterdir())
