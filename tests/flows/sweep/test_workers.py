"""Workers on this machine: what becomes of one that dies, and of what it prints."""

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import grid, jobs_of, weights

from ia2.config import TrainConfig
from ia2.errors import MachineError
from ia2.flows.sweep import workers
from ia2.flows.sweep.executors import Pool
from ia2.flows.sweep.schedule import Schedule
from ia2.flows.sweep.workers import Printed


def test_what_a_worker_prints_is_passed_on_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = multiprocessing.Pipe(duplex=False)
    printed = Printed(reader)
    printed.read()
    assert printed.lines == []
    os.write(writer.fileno(), b"a warn")
    printed.read()
    assert printed.lines == [], "half a line"
    os.write(writer.fileno(), "ing\n\n  10%\r 100%\nlast of \u00e4".encode())
    printed.read()
    assert printed.lines == ["a warning", " 100%"]
    assert capsys.readouterr().err == "a warning\n 100%\n"
    writer.close()
    printed.read(pass_on=False)
    assert printed.lines[-1] == "last of \u00e4"
    assert capsys.readouterr().err == ""
    assert not printed.is_open
    printed.close()


class Deadly(TrainConfig):
    """Ends the process that it is sent to, as the system does with one that takes too much memory."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


@pytest.mark.slow
def test_a_job_that_ends_its_worker_twice_has_failed_and_the_others_are_done(
    tmp_path: Path, tiny_model_folder: Path
) -> None:
    gold = {"training_methods": ("tok",), "label_types": ("ground_truth",), "include_sequential": False}
    good, bad = jobs_of(grid(tmp_path, tiny_model_folder, **gold))
    schedule = Schedule([replace(bad, config=Deadly(**dict(bad.config)), seconds=1.0), good])
    told: list[str] = []
    Pool(1).execute(tmp_path, schedule, lambda outcome: told.append(outcome.key))
    assert sorted(told) == sorted([good.key, bad.key])
    assert schedule.outcomes[good.key].status == "done"
    assert schedule.outcomes[bad.key].reason == "its worker died 2 times (last exit code 7)"
    (log,) = tmp_path.rglob("failure.log")
    assert log.read_text() == "its worker died 2 times (last exit code 7)\n"
    assert str(log.parent.relative_to(tmp_path / "outputs")) == bad.key
    assert not multiprocessing.active_children()


def test_where_no_worker_can_start_that_is_said(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the machine has no memory left for another process that imports torch."""
    (tmp_path / "torch.py").write_text("raise ImportError('no room for torch')\n")
    monkeypatch.syspath_prepend(tmp_path)
    schedule = Schedule(jobs_of(grid(tmp_path, tiny_model_folder)))
    with pytest.raises(MachineError, match=r"a worker cannot start \(exit code 1\): ImportError: no room for torch"):
        Pool(1).execute(tmp_path, schedule, lambda _outcome: None)
    assert not multiprocessing.active_children()
    assert weights(tmp_path) == {}


def test_a_worker_that_is_killed_before_it_is_up_is_started_again(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = tmp_path / "kills"
    (tmp_path / "torch.py").write_text(
        f"import os, signal\nopen({str(kills)!r}, 'a').write('x')\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(workers, "MOST_KILLED_STARTS", 4)
    schedule = Schedule(jobs_of(grid(tmp_path, tiny_model_folder)))
    with pytest.raises(MachineError, match=r"a worker cannot start \(exit code -9\)"):
        Pool(1).execute(tmp_path, schedule, lambda _outcome: None)
    assert kills.read_text() == 4 * "x"
