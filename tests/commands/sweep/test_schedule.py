"""Which jobs come next, what a failure takes along, and what the workers of one sweep know of each other."""

import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ia2.commands.sweep.schedule import Job, Outcome, Schedule, measured_costs
from ia2.commands.sweep.work import AGAIN
from ia2.commands.train import stack_key
from ia2.config import SweepConfig, TrainConfig


def job(key: str, method: str = "act", needs: tuple[str, ...] = (), seconds: float | None = None, **fields: Any) -> Job:
    return Job(key, TrainConfig(training_method=method, **fields), needs=needs, seconds=seconds)


def schedule_of(*jobs: Job, journal: Path | None = None, **options: Any) -> Schedule:
    return Schedule(Path(), jobs, SweepConfig(training_methods=("act",), **options), journal=journal)


TARGETS = Job("targets", TrainConfig(training_method="act"), kinds=frozenset({"tokens"}))
JOBS = (
    job("short", needs=("targets",), seconds=1.0),
    job("long", needs=("targets",), seconds=9.0),
    job("second", "a2t", needs=("targets", "short"), seconds=5.0),
    TARGETS,
)


def begin(schedule: Schedule) -> list[str]:
    """The keys of the jobs that are next, begun."""
    keys = [job.key for job in schedule.next()]
    schedule.report({"begin": keys, "at": time.time(), "printed": 0})
    return keys


def done_in_order(schedule: Schedule) -> list[str]:
    order = []
    while keys := begin(schedule):
        order += keys
        for key in keys:
            schedule.report(Outcome(key, "done"))
    assert not schedule.left
    return order


def test_targets_then_the_longest_then_second_phases() -> None:
    assert done_in_order(schedule_of(*JOBS)) == ["targets", "long", "short", "second"]
    unknown = job("unknown", needs=("targets",))
    assert done_in_order(schedule_of(*JOBS, unknown)) == ["targets", "unknown", "long", "short", "second"]


def test_sequential_first_begins_second_phases_as_soon_as_it_can() -> None:
    jobs = [*(one for one in JOBS if one.key != "long"), job("other", needs=("targets",), seconds=0.5)]
    assert done_in_order(schedule_of(*jobs, sequential_first=True)) == ["targets", "short", "second", "other"]


def test_what_needs_a_failed_job_is_skipped_and_the_rest_goes_on() -> None:
    schedule = schedule_of(*JOBS, job("third", "a2t", needs=("second",)), job("last", seconds=0.5), max_failures=2)
    told: list[str] = []
    schedule.watch = lambda outcome: told.append(outcome.key)
    for key, end in (("targets", "there"), ("long", "done"), ("short", "failed"), ("last", "done")):
        assert begin(schedule) == [key], "one has failed, and two are skipped"
        schedule.report(Outcome(key, end, reason="made up"))
    assert not schedule.left
    assert told == ["targets", "long", "short", "second", "third", "last"]
    assert [(one.key, one.reason) for one in schedule.outcomes.values() if one.status == "skipped"] == [
        ("second", "it needs short, which failed"),
        ("third", "it needs second, which was skipped"),
    ]


def test_enough_failures_stop_new_jobs_but_not_running_ones() -> None:
    schedule = schedule_of(*map(job, "abcd"), max_failures=1)
    (first,), (second,) = begin(schedule), begin(schedule)
    schedule.report(Outcome(first, "failed"))
    assert schedule.next() == []
    schedule.report(Outcome(second, "done"))
    assert schedule.is_over
    assert [job.key for job in schedule.left] == ["c", "d"]


def test_failures_of_data_files_count() -> None:
    config = SweepConfig(training_methods=("act",), max_failures=1)
    assert Schedule(Path(), [job("a")], config, {"missing": Outcome("missing", "failed")}).next() == []


def test_a_job_that_another_process_has_is_tried_again_later_and_after_the_others() -> None:
    schedule = schedule_of(job("a", seconds=9.0), job("b"), job("c"))
    schedule.postponed["a"] = time.time() + AGAIN
    assert begin(schedule) == ["b"]
    before = time.time()
    schedule.report(Outcome("c", "there"))
    while not (keys := begin(schedule)):
        time.sleep(0.01)
    assert keys == ["a"]
    assert time.time() - before >= AGAIN - 0.1, "or workers without other work would ask for it without end"


@given(st.integers(1, 12), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_job_is_begun_once_after_what_it_needs(num_jobs: int, num_workers: int, random: Random) -> None:
    jobs = [
        job(str(index), needs=tuple(str(other) for other in range(index) if random.random() < 0.3))
        for index in range(num_jobs)
    ]
    schedule, running, begun = schedule_of(*jobs), list[str](), list[str]()
    while schedule.left:
        while len(running) < num_workers and (keys := begin(schedule)):
            assert all(schedule.outcomes[need].status == "done" for need in jobs[int(keys[0])].needs)
            running += keys
            begun += keys
        schedule.report(Outcome(running.pop(random.randrange(len(running))), "done"))
    assert sorted(begun, key=int) == [one.key for one in jobs]


# Several processes


def test_workers_know_what_the_others_begin_and_end(tmp_path: Path) -> None:
    first, second, sweep = (schedule_of(*JOBS, journal=tmp_path / f"{name}.jsonl") for name in ("0.0", "1.0", "main"))
    assert begin(first) == ["targets"]
    assert begin(second) == []
    first.report(Outcome("targets", "done", 1.5, num_loaded=1))
    assert (begin(second), begin(first)) == (["long"], ["short"])
    sweep.read()
    assert {key: claim.worker for key, claim in sweep.running.items()} == {"long": "1.0", "short": "0.0"}
    assert sweep.outcomes == {"targets": Outcome("targets", "done", 1.5, num_loaded=1)}
    sweep.report({"stop": True})
    first.report(Outcome("short", "failed"))
    assert first.next() == second.next() == []
    assert second.outcomes["second"].status == "skipped"
    assert first.is_over


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    schedule = schedule_of(job("a"), journal=tmp_path / "main.jsonl")
    with (tmp_path / "0.0.jsonl").open("w") as stream:
        for part in ('{"begin": ["a"], "at":', ' 1, "printed": 0}\n{"e', 'nd": {"key": "a", "status": "done"}}\n'):
            stream.write(part)
            stream.flush()
            schedule.read()
    assert schedule.tries == {"a": 1}
    assert not schedule.left


# Runs in the same passes


def test_a_job_takes_those_with_it_that_are_ready_and_alike() -> None:
    jobs = [job("a"), job("b", lr=1.0), job("c", "tok"), job("d", needs=("c",)), job("e", run_idx=1), job("f", lr=2.0)]
    schedule = schedule_of(*jobs, stack=3)
    assert [begin(schedule) for _ in range(4)] == [["a", "b", "e"], ["c"], ["f"], []]
    schedule.report(Outcome("c", "done"))
    assert begin(schedule) == ["d"]


def test_workers_share_what_could_go_together() -> None:
    jobs = [job(str(lr), lr=float(lr)) for lr in range(1, 7)]
    numbers = {number: len(schedule_of(*jobs, stack=8, max_parallel=number).next()) for number in (1, 2, 4, 9)}
    assert numbers == {1: 6, 2: 3, 4: 2, 9: 1}
    assert len(schedule_of(*jobs).next()) == 1


def test_runs_that_lost_their_worker_wait_again_each_alone(tmp_path: Path) -> None:
    """Or one that ends any worker would take the others along again."""
    jobs = [job(name, lr=float(place + 1)) for place, name in enumerate("abcd")]
    sweep, dead, other = (
        schedule_of(*jobs, stack=3, journal=tmp_path / f"{name}.jsonl") for name in ("main", "0.0", "1.0")
    )
    assert (begin(dead), begin(other)) == (["a", "b", "c"], ["d"])
    sweep.report({"lost": "0.0"})
    assert [begin(other) for _ in range(4)] == [["a"], ["b"], ["c"], []]
    assert other.tries == {"a": 2, "b": 2, "c": 2, "d": 1}


def test_runs_go_together_that_differ_in_what_an_adapter_may() -> None:
    def go_together(method: str, **changes: Any) -> bool:
        keys = {stack_key(TrainConfig(training_method=method, **given)) for given in ({}, changes)}
        assert None not in keys
        return len(keys) == 1

    assert go_together("act", lr=0.5, run_idx=3, lora_r=2, lora_alpha=16, ce_loss_weight=0.0)
    assert all(go_together("tna", ce_loss_weight=weight) for weight in (0.0, 0.5, 1.0)), "even where a gradient is zero"
    others = {"dataset": "sst2", "num_train_examples": 8, "lora_type": "qko", "model_id": "other", "batch_size": 2}
    others |= {"stop": "eos", "layers": "::2", "micro_batch_size": 1}
    assert [field for field, value in others.items() if go_together("act", **{field: value})] == []


@pytest.mark.parametrize("method", ["ia3-act", "prompt-act", "prefix-act"])
def test_other_adapters_are_trained_alone(method: str) -> None:
    assert stack_key(TrainConfig(training_method=method)) is None
    assert stack_key(TrainConfig(training_method="act", continue_training="same")) is None


@pytest.mark.parametrize("content", ['{"seconds": 4', "{}", "null"])
def test_a_damaged_file_is_left_out_and_told(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, statistics in (("whole", '{"seconds": 4.0}'), ("damaged", content)):
        folder = tmp_path / "outputs" / "act" / "capitals" / name
        folder.mkdir(parents=True)
        for file in ("adapter_config.json", "adapter_model.safetensors", "run.json"):
            (folder / file).write_text("{}")
        (folder / "final_loss_statistics.json").write_text(statistics)
    costs = measured_costs(tmp_path)
    assert costs.keys() == {"act"}
    assert costs["act"][0] == 4.0
    assert "damaged/final_loss_statistics.json has no seconds" in caplog.text
