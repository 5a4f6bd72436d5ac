"""A sweep on a local Ray cluster of two nodes: one is lost midway, GPUs are shared out, what hangs is given up."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Commands
from tiny_runs import leftovers
from tiny_sweeps import ENDLESS, grid, jobs_of, summaries, weights, words

from ia2.commands.processes import gpu_share, start_on_ray
from ia2.commands.sweep.schedule import Outcome, Schedule
from ia2.commands.sweep.sweep import execute, sweep
from ia2.commands.sweep.work import run_worker
from ia2.config import SweepConfig
from ia2.errors import MachineError, UserError

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'ia2[ray]'")
on_a_cluster = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]  # ray's own, of many kinds


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with one core, and a second node with another, which says that it has two GPUs."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.second = made.add_node(num_cpus=3, num_gpus=2)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def sweep_of(config: SweepConfig, watch: Callable[[Outcome], object]) -> Schedule:
    """The jobs of a sweep done by a cluster, each outcome being watched."""
    assert config.root is not None
    schedule = Schedule(config.root, jobs_of(config), config, watch=watch)
    execute(schedule, config.root / "outputs" / "sweeps" / "made_up.json")
    return schedule


class TestOnACluster:
    pytestmark = on_a_cluster

    def test_a_lost_node_loses_no_run(self, cluster: Any, tmp_path: Path, tiny_model_folder: Path) -> None:  # noqa: ANN401
        changes = {"training_methods": ("act", "tok", "tna"), "lrs": (1e-2, 1e-3)}
        on_ray = {"ray_address": cluster.address, "max_parallel": 2, "device": "cpu"}
        ended: list[str] = []

        def lose_a_node(outcome: Outcome) -> None:
            ended.append(outcome.key)
            if len(ended) == 6:
                cluster.remove_node(cluster.second, allow_graceful=False)

        schedule = sweep_of(grid(tmp_path / "ray", tiny_model_folder, **changes, **on_ray), lose_a_node)
        assert {outcome.status for outcome in schedule.outcomes.values()} == {"done"}, schedule.outcomes
        assert set(Counter(ended).values()) == {1}
        assert leftovers(tmp_path) == []
        sweep(grid(tmp_path / "alone", tiny_model_folder, **changes))
        assert weights(tmp_path / "ray") == weights(tmp_path / "alone")

    def test_gpus_are_shared_out(self, cluster: Any, tmp_path: Path, tiny_model_folder: Path) -> None:  # noqa: ANN401
        """The node's three cores and two GPUs hold three workers of half a GPU each, the head none."""
        on_ray = {"ray_address": cluster.address, "max_parallel": 3, "device": "cuda"}
        free: list[tuple[float, float]] = []

        def note(_outcome: Outcome) -> None:
            available = ray.available_resources()
            free.append((available.get("CPU", 0.0), available.get("GPU", 0.0)))

        config = grid(tmp_path, tiny_model_folder, include_sequential=False)
        schedule = Schedule(
            tmp_path, jobs_of(config), config.model_copy(update=on_ray), watch=note
        )  # the jobs are the CPU's
        execute(schedule, tmp_path / "outputs" / "sweeps" / "made_up.json")
        assert (1.0, 0.5) in free
        assert len(weights(tmp_path)) == 4

    def test_a_run_that_hangs_is_given_up(self, cluster: Any, tmp_path: Path, tiny_model_folder: Path) -> None:  # noqa: ANN401
        on_ray = {"ray_address": cluster.address, "max_parallel": 2, "device": "cpu", "run_timeout": 20.0}
        schedule = sweep_of(grid(tmp_path, tiny_model_folder, **ENDLESS, **on_ray), lambda _outcome: None)
        assert [outcome.reason for outcome in schedule.outcomes.values()] == [
            "it took longer than run_timeout=20 s"
        ] * 2
        logs = [log.read_text() for log in tmp_path.rglob("failure.log")]
        assert len(logs) == 2
        assert all("training/trainer.py" in log for log in logs), "where it was"

    def test_ctrl_c_lets_what_is_under_way_end(
        self,
        cluster: Any,  # noqa: ANN401
        commands: Commands,
        tmp_path: Path,
        tiny_model_folder: Path,
    ) -> None:
        config = grid(tmp_path, tiny_model_folder, num_train_epochs=20, patience=20)
        begun = commands.begin(*words(config, "--ray_address", cluster.address, "--max_parallel", 2, "--device", "cpu"))
        begun.wait_for("[4/10] done", seconds=200)
        begun.send(signal.SIGINT)
        ended = commands.end(begun)
        assert ended.code == 130, ended.stderr
        (summary,) = summaries(tmp_path)
        assert summary["ended_by"] == "interrupt"
        assert summary["not_begun"]
        assert len(weights(tmp_path)) == sum(job["key"].split("/")[0] in ("act", "tok") for job in summary["jobs"])
        assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("device", "num_gpus", "num_workers", "share"),
    [
        ("cpu", 8, 4, 0.0),
        ("auto", 0, 4, 0.0),
        ("auto", 2, 1, 1.0),
        ("cuda", 2, 2, 1.0),
        ("cuda", 2, 3, 0.5),
        ("auto", 1, 3, 0.3333),
    ],
)
def test_all_workers_find_a_place_on_the_gpus(device: str, num_gpus: int, num_workers: int, share: float) -> None:
    assert gpu_share(device, num_gpus, num_workers) == share
    assert not share or int(1 / share) * num_gpus >= num_workers


def test_gpus_that_a_cluster_cannot_give() -> None:
    with pytest.raises(UserError, match="--device cuda: no node of the cluster has a GPU"):
        gpu_share("cuda", 0, 2)
    with pytest.raises(UserError, match="--device cuda:1: on a cluster Ray chooses the GPU"):
        gpu_share("cuda:1", 4, 2)


def test_no_cluster_is_a_clear_error() -> None:
    config = SweepConfig(training_methods=("tok",), ray_address="127.0.0.1:1")
    with pytest.raises(UserError, match=r"--ray_address 127\.0\.0\.1:1: "):
        start_on_ray(config, 1, run_worker)


def test_a_worker_has_what_its_sweep_gives_it_and_misses_a_root_that_it_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("WANDB_RUN_GROUP", "of its node")
    config, journal = SweepConfig(training_methods=("tok",)), tmp_path / "outputs/sweeps/session/0.0.jsonl"
    with pytest.raises(MachineError, match="every node has to see the same --root"):
        run_worker(config, journal, {"OMP_NUM_THREADS": "1", "WANDB_RUN_GROUP": "of the sweep"})
    assert (os.environ["OMP_NUM_THREADS"], os.environ["WANDB_RUN_GROUP"]) == ("1", "of the sweep")
