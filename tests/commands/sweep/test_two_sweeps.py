"""Two sweeps at once below one root, as two processes: they share the work, and each says truly what it did."""

import re
from pathlib import Path
from threading import Event, Thread

import pytest
from commands import Commands
from tiny_runs import assert_whole, leftovers
from tiny_sweeps import ends, grid, jobs_of, summaries, weights, words

from ia2 import store
from ia2.commands.sweep.schedule import Outcome, Schedule
from ia2.commands.sweep.work import work
from ia2.models.loading import ModelCache
from ia2.training.run_inputs import read_run_inputs


def documented(model: Path, root: Path) -> list[str]:
    """The command that docs/sweeps.md gives twice, from an empty root."""
    document = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^ia2 (sweep .*) &$", document, flags=re.MULTILINE)
    assert first == second
    return [*first.replace("smollm2-135m", str(model)).split(), "--root", str(root)]


@pytest.mark.parametrize(
    ("is_documented", "num_workers"), [(True, 1), (False, 1), pytest.param(False, 2, marks=pytest.mark.slow)]
)
def test_nothing_is_done_twice_and_both_summaries_are_true(
    commands: Commands, tiny_model_folder: Path, tmp_path: Path, is_documented: bool, num_workers: int
) -> None:
    if is_documented:
        given = [documented(tiny_model_folder, tmp_path)] * 2
    else:
        first = grid(tmp_path, tiny_model_folder, num_train_epochs=4)
        second = first.model_copy(update={"training_methods": ("act", "tna"), "run_indices": (1, 2)})
        given = [words(one, "--max_parallel", num_workers) for one in (first, second)]
    ended = [commands.end(one) for one in [commands.begin(*line) for line in given]]
    assert [one.code for one in ended] == [0, 0], [one.stderr for one in ended]

    made = ended[0].done + ended[1].done
    finished = {str(folder): 1 for folder in store.run_folders(tmp_path)}
    assert {name: made[name] for name in finished} == finished
    manifests = {name: number for name, number in made.items() if name.endswith("manifest.json")}
    assert set(manifests.values()) == {1}
    assert len(manifests) == (2 if is_documented else 3)

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
    if is_documented:
        assert commands.run(*documented(tiny_model_folder, tmp_path / "alone")).code == 0
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
    order = list[str]()

    def watch(outcome: Outcome) -> None:
        order.append(outcome.key)
        if len(order) == 2:
            others_done.set()

    schedule = Schedule(tmp_path, jobs, config, watch=watch)
    work(schedule, models)
    holder.join()
    assert len(order) == 4
    assert set(order[2:]) == {targets.key, run.key}
    assert {outcome.status for outcome in schedule.outcomes.values()} == {"done"}
