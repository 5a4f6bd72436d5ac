"""How long a sweep should take yet: worked out by hand."""

from pathlib import Path

import pytest

from ia2.config import SweepConfig, TrainConfig
from ia2.flows.sweep.plan import Claim, Job, Outcome, Plan, _measured_costs
from ia2.flows.sweep.view import seconds_left


def plan_of(*planned: tuple[str, str, float | None], num_workers: int = 1) -> Plan:
    jobs = [Job(key, TrainConfig(training_method=method), seconds=seconds) for key, method, seconds in planned]
    return Plan(Path(), jobs, SweepConfig(training_methods=("tok",), max_parallel=num_workers))


def begin(plan: Plan, key: str, at: float) -> None:
    plan.running[key] = Claim("0.0", at)


def test_nothing_is_known_at_first() -> None:
    assert seconds_left(plan_of(("a", "act", None), ("b", "tok", None)), 0.0) is None


def test_plans_are_shared_by_the_workers() -> None:
    for num_workers, expected in ((1, 60.0), (2, 30.0), (3, 30.0)):  # no sooner than the longest
        jobs = ("a", "act", 10.0), ("b", "act", 20.0), ("c", "tok", 30.0)
        assert seconds_left(plan_of(*jobs, num_workers=num_workers), 0.0) == expected


def test_what_was_measured_here_counts_more_than_the_plan() -> None:
    """act took 4 and 6 s instead of 10, so that `c` should take 5; nothing is known of tok: 5, 5, 5 on average."""
    plan = plan_of(("a", "act", 10.0), ("b", "act", 10.0), ("c", "act", 10.0), ("d", "tok", None))
    plan.report(Outcome("a", "done", seconds=4.0))
    plan.report(Outcome("b", "done", seconds=6.0))
    assert seconds_left(plan, 0.0) == 10.0
    begin(plan, "c", at=100.0)
    assert seconds_left(plan, 102.0) == pytest.approx(3.0 + 5.0)
    assert seconds_left(plan, 150.0) == 5.0, "it takes longer than it should, and no one knows how long"


def test_what_others_did_or_failed_is_no_measure() -> None:
    plan = plan_of(("a", "act", 10.0), ("b", "act", 10.0), ("c", "act", 10.0))
    plan.report(Outcome("a", "there", seconds=0.0))
    plan.report(Outcome("b", "failed", seconds=1.0))
    assert seconds_left(plan, 0.0) == 10.0
    plan.report(Outcome("c", "skipped"))
    assert seconds_left(plan, 0.0) == 0.0


@pytest.mark.parametrize("content", ['{"seconds": 4', "{}", "null"])
def test_a_damaged_file_is_left_out_and_told(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, statistics in (("whole", '{"seconds": 4.0}'), ("damaged", content)):
        folder = tmp_path / "outputs" / "act" / "capitals" / name
        folder.mkdir(parents=True)
        for file in ("adapter_config.json", "adapter_model.safetensors", "run.json"):
            (folder / file).write_text("{}")
        (folder / "final_loss_statistics.json").write_text(statistics)
    costs = _measured_costs(tmp_path)
    assert costs.keys() == {"act"}
    assert costs["act"][0] == 4.0
    assert "damaged/final_loss_statistics.json has no seconds" in caplog.text
