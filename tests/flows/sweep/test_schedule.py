"""Which job comes next, and what a failure takes along."""

import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.config import TrainConfig
from ia2.flows.sweep.plan import Job
from ia2.flows.sweep.schedule import Outcome, Schedule


def job(key: str, method: str = "act", needs: tuple[str, ...] = (), **more: object) -> Job:
    return Job(key, TrainConfig(training_method=method), needs=needs, **more)  # type: ignore[arg-type]


TARGETS = job("targets", kinds=frozenset({"tokens"}))
JOBS = [
    job("short", needs=("targets",), seconds=1.0),
    job("long", needs=("targets",), seconds=9.0),
    job("second", "a2t", needs=("targets", "short"), seconds=5.0),
    TARGETS,
]


def done_in_order(schedule: Schedule) -> list[str]:
    order = []
    while (chosen := schedule.next()) is not None:
        order.append(chosen.key)
        schedule.settle(Outcome(chosen.key, "done"))
    assert schedule.is_over
    return order


def test_targets_then_the_longest_then_second_phases() -> None:
    assert done_in_order(Schedule(JOBS)) == ["targets", "long", "short", "second"]


def test_sequential_first_begins_second_phases_as_soon_as_it_can() -> None:
    jobs = [*JOBS, job("other", needs=("targets",), seconds=0.5)]
    schedule = Schedule([one for one in jobs if one.key != "long"], sequential_first=True)
    assert done_in_order(schedule) == ["targets", "short", "second", "other"]


def test_what_needs_a_failed_job_is_skipped_and_the_rest_goes_on() -> None:
    schedule = Schedule([*JOBS, job("third", "a2t", needs=("second",))], max_failures=2)
    for key, status in (("targets", "done"), ("long", "done"), ("short", "failed")):
        chosen = schedule.next()
        assert chosen is not None
        assert chosen.key == key
        schedule.settle(Outcome(key, status, reason="made up"))  # type: ignore[arg-type]
    assert schedule.is_over
    assert not schedule.stopped, "one has failed, and two are skipped"
    assert [(one.key, one.reason) for one in schedule.failed] == [("short", "made up")]
    assert [(one.key, one.reason) for one in schedule.outcomes.values() if one.status == "skipped"] == [
        ("second", "it needs short, which failed"),
        ("third", "it needs second, which was skipped"),
    ]


def test_what_another_sweep_did_is_as_good_as_done() -> None:
    schedule = Schedule(JOBS)
    for key in ("targets", "long"):
        assert schedule.next() is not None
        schedule.settle(Outcome(key, "there"))
    assert done_in_order(schedule) == ["short", "second"]


def test_enough_failures_stop_new_jobs_but_not_running_ones() -> None:
    schedule = Schedule([job(name) for name in "abcd"], max_failures=1)
    first, second = schedule.next(), schedule.next()
    assert first is not None
    assert second is not None
    schedule.settle(Outcome(first.key, "failed"))
    assert schedule.next() is None
    assert not schedule.is_over
    schedule.settle(Outcome(second.key, "done"))
    assert schedule.is_over


def test_no_failure_is_allowed_where_data_files_failed_already() -> None:
    schedule = Schedule([job("a")], max_failures=0)
    assert schedule.is_over
    assert schedule.next() is None


def test_a_busy_job_is_tried_again_after_the_others() -> None:
    schedule = Schedule([job("a", seconds=9.0), job("b")], pause=0)
    chosen = schedule.next()
    assert chosen is not None
    schedule.settle(Outcome(chosen.key, "busy"))
    assert done_in_order(schedule) == ["b", "a"]


def test_a_busy_job_is_left_alone_for_a_while() -> None:
    """Or workers without other work would ask for it without end."""
    schedule = Schedule([job("a")], pause=0.2)
    for _ in range(2):
        begun = time.monotonic()
        chosen = schedule.next()
        assert chosen is not None
        schedule.settle(Outcome("a", "busy"))
        while (chosen := schedule.next()) is None:
            assert not schedule.is_over
            time.sleep(0.01)
        assert time.monotonic() - begun >= 0.2
        schedule.give_back("a")


@given(st.integers(1, 12), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_job_is_begun_once_after_what_it_needs(num_jobs: int, num_workers: int, random: Random) -> None:
    jobs = [
        job(str(index), needs=tuple(str(other) for other in range(index) if random.random() < 0.3))
        for index in range(num_jobs)
    ]
    schedule, running, begun = Schedule(jobs), list[str](), list[str]()
    while not schedule.is_over:
        while len(running) < num_workers and (chosen := schedule.next()) is not None:
            assert all(schedule.status[key] == "done" for key in chosen.needs)
            running.append(chosen.key)
            begun.append(chosen.key)
        ended = running.pop(random.randrange(len(running)))
        schedule.settle(Outcome(ended, "done"))
    assert sorted(begun, key=int) == [one.key for one in jobs]


@pytest.mark.parametrize("number", [1, 2])
def test_a_job_that_lost_its_worker_waits_again(number: int) -> None:
    schedule = Schedule([job("a")])
    for _ in range(number):
        assert schedule.next() is not None
        assert schedule.next() is None
        schedule.give_back("a")
    assert done_in_order(schedule) == ["a"]
