"""Two sweeps at once below one root, as two processes: they share the work, and each says truly what it did."""

from pathlib import Path
from threading import Event, Thread

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers
from tiny_sweeps import ends, grid, jobs_of, summaries, weights, words

from ia2 import store
from ia2.flows.sweep.executors import InProcess
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.models.model_cache import ModelCache
from ia2.training.run_inputs import read_run_inputs

OTHERS = {
    "the same": {},
    "overlapping": {"training_methods": ("act", "tna"), "run_indices": (1, 2)},
}


@pytest.mark.parametrize(
    ("other", "num_workers"),
    [("the same", 1), ("overlapping", 1), pytest.param("overlapping", 2, marks=pytest.mark.slow)],
)
def test_nothing_is_done_twice_and_both_summaries_are_true(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, other: str, num_workers: int
) -> None:
    first = grid(tmp_path, tiny_model_folder, num_train_epochs=4)
    second = first.model_copy(update=OTHERS[other])
    begun = [commands.begin(*words(one, "--max_parallel", num_workers)) for one in (first, second)]
    ended = [commands.end(one) for one in begun]
    assert [one.code for one in ended] == [0, 0], [one.stderr for one in ended]

    made = ended[0].done + ended[1].done
    finished = {str(folder): 1 for folder in store.run_folders(tmp_path)}
    assert {name: made[name] for name in finished} == finished
    manifests = {name: number for name, number in made.items() if name.endswith("manifest.json")}
    assert set(manifests.values()) == {1}
    assert len(manifests) == (2 if other == "the same" else 3)

    found = summaries(tmp_path)
    assert len(found) == 2
    done = [ends(one, "done") for one in found]
    assert not done[0] & done[1]
    runs = {str(folder.relative_to(tmp_path / "outputs")) for folder in store.run_folders(tmp_path)}
    assert {key for key in done[0] | done[1] if "/" in key and not key.startswith("targets")} == runs
    assert all(one["ended_by"] == "completion" and not one["not_begun"] for one in found)
    assert any(ends(one, "there") for one in found), "they met"
    for one, summary in zip(ended, sorted(found, key=lambda one: one["process"]), strict=True):
        by_others = sum(not key.startswith("targets") for key in ends(summary, "there"))
        assert (f"{by_others} done by another sweep" in one.stdout) == bool(by_others)
    assert_whole(tmp_path)
    assert leftovers(tmp_path) == []
    if other == "the same":
        alone = grid(tmp_path / "alone", tiny_model_folder, num_train_epochs=4)
        assert commands.run(*words(alone)).code == 0
        assert weights(tmp_path) == weights(tmp_path / "alone")


def test_what_another_is_at_is_done_last_and_not_waited_for(tmp_path: Path, tiny_model_folder: Path) -> None:
    """Another thread stands for another process: the lock of a file is its own there too."""
    config = grid(tmp_path, tiny_model_folder, training_methods=("act",), include_sequential=False)
    jobs, models = jobs_of(config), ModelCache()
    targets, run = (next(job for job in jobs if bool(job.kinds) == kinds) for kinds in (True, False))
    places = read_run_inputs(tmp_path, targets.config, models).targets_folder, store.run_folder(tmp_path, run.config)
    held, others_done = Event(), Event()

    def hold() -> None:
        with store.file_lock(places[0]), store.file_lock(places[1]):
            held.set()
            assert others_done.wait(20)

    holder = Thread(target=hold)
    holder.start()
    assert held.wait(60)
    schedule, order = Schedule(jobs), list[str]()

    def watch(outcome: Outcome) -> None:
        order.append(outcome.key)
        if len(order) == 2:
            others_done.set()

    InProcess(models).execute(tmp_path, schedule, watch)
    holder.join()
    assert len(order) == 4
    assert set(order[2:]) == {targets.key, run.key}
    assert {outcome.status for outcome in schedule.outcomes.values()} == {"done"}
