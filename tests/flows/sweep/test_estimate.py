"""How long a sweep should take yet: worked out by hand."""

from pathlib import Path

import pytest

from ia2.config import TrainConfig
from ia2.flows.sweep.estimate import Costs, seconds_left
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import Outcome, Schedule


def schedule_of(*planned: tuple[str, str, float], num_workers: int = 1) -> Schedule:
    jobs = [Job(key, TrainConfig(training_method=method), seconds=seconds) for key, method, seconds in planned]
    return Schedule(jobs, num_workers=num_workers)


def begin(schedule: Schedule, key: str, at: float) -> None:
    schedule.status[key] = "running"
    schedule.begun[key] = at


def test_nothing_is_known_at_first() -> None:
    assert seconds_left(schedule_of(("a", "act", 0.0), ("b", "tok", 0.0)), 0.0) is None


def test_plans_are_shared_by_the_workers() -> None:
    for num_workers, expected in ((1, 60.0), (2, 30.0), (3, 30.0)):  # no sooner than the longest
        jobs = ("a", "act", 10.0), ("b", "act", 20.0), ("c", "tok", 30.0)
        assert seconds_left(schedule_of(*jobs, num_workers=num_workers), 0.0) == expected


def test_what_was_measured_here_counts_more_than_the_plan() -> None:
    """act took 4 and 6 s instead of 10, so that `c` should take 5; nothing is known of tok: 5, 5, 5 on average."""
    schedule = schedule_of(("a", "act", 10.0), ("b", "act", 10.0), ("c", "act", 10.0), ("d", "tok", 0.0))
    schedule.settle(Outcome("a", "done", seconds=4.0))
    schedule.settle(Outcome("b", "done", seconds=6.0))
    assert seconds_left(schedule, 0.0) == 10.0
    begin(schedule, "c", at=100.0)
    assert seconds_left(schedule, 102.0) == pytest.approx(3.0 + 5.0)
    assert seconds_left(schedule, 150.0) == 5.0, "it takes longer than it should, and no one knows how long"


def test_what_others_did_or_failed_is_no_measure() -> None:
    schedule = schedule_of(("a", "act", 10.0), ("b", "act", 10.0), ("c", "act", 10.0))
    schedule.settle(Outcome("a", "there", seconds=0.0))
    schedule.settle(Outcome("b", "failed", seconds=1.0))
    assert seconds_left(schedule, 0.0) == 10.0
    schedule.settle(Outcome("c", "skipped"))
    assert seconds_left(schedule, 0.0) == 0.0


@pytest.mark.parametrize("content", ['{"seconds": 4', "{}", "null"])
def test_a_damaged_file_is_left_out_and_told(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, statistics in (("whole", '{"seconds": 4.0}'), ("damaged", content)):
        folder = tmp_path / "outputs" / "act" / "capitals" / name
        folder.mkdir(parents=True)
        for file in ("adapter_config.json", "adapter_model.safetensors", "run.json"):
            (folder / file).write_text("{}")
        (folder / "final_loss_statistics.json").write_text(statistics)
    cost = Costs(tmp_path).of(Job("a", TrainConfig(training_method="act")))
    assert cost is not None
    assert cost.seconds == 4.0
    assert "damaged/final_loss_statistics.json says no seconds" in caplog.text
