"""A sweep on a local Ray cluster of two nodes: one is lost midway, GPUs are shared out, what hangs is given up."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Commands
from tiny_runs import leftovers
from tiny_sweeps import ENDLESS, grid, jobs_of, summaries, weights, words

from ia2.errors import MachineError, UserError
from ia2.flows.sweep.executors import InProcess
from ia2.flows.sweep.on_ray import OnRay, RayWorker, _Crew, gpu_share
from ia2.flows.sweep.schedule import Outcome, Schedule

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


class TestOnACluster:
    pytestmark = on_a_cluster

    def test_a_lost_node_loses_no_run(self, cluster: Any, tmp_path: Path, tiny_model_folder: Path) -> None:  # noqa: ANN401
        changes = {"training_methods": ("act", "tok", "tna"), "lrs": (1e-2, 1e-3)}
        schedule = Schedule(jobs_of(grid(tmp_path / "ray", tiny_model_folder, **changes)))
        ended: list[str] = []

        def lose_a_node(outcome: Outcome) -> None:
            ended.append(outcome.key)
            if len(ended) == 6:
                cluster.remove_node(cluster.second, allow_graceful=False)

        OnRay(cluster.address, num_workers=2).execute(tmp_path / "ray", schedule, lose_a_node)
        assert {outcome.status for outcome in schedule.outcomes.values()} == {"done"}, schedule.failed
        assert set(Counter(ended).values()) == {1}
        alone = Schedule(jobs_of(grid(tmp_path / "alone", tiny_model_folder, **changes)))
        InProcess().execute(tmp_path / "alone", alone, lambda _outcome: None)
        assert weights(tmp_path / "ray") == weights(tmp_path / "alone")

    def test_gpus_are_shared_out(self, cluster: Any, tmp_path: Path, tiny_model_folder: Path) -> None:  # noqa: ANN401
        """The node's three cores and two GPUs hold three workers of half a GPU each, the head none."""
        schedule = Schedule(jobs_of(grid(tmp_path, tiny_model_folder, include_sequential=False)))
        free: list[tuple[float, float]] = []

        def note(_outcome: Outcome) -> None:
            available = ray.available_resources()
            free.append((available.get("CPU", 0.0), available.get("GPU", 0.0)))

        OnRay(cluster.address, num_workers=3, device="cuda").execute(tmp_path, schedule, note)
        assert (1.0, 0.5) in free
        assert len(weights(tmp_path)) == 4

    def test_a_run_that_hangs_is_given_up(self, cluster: Any, tmp_path: Path, tiny_model_folder: Path) -> None:  # noqa: ANN401
        endless = jobs_of(grid(tmp_path, tiny_model_folder, **ENDLESS, run_indices=(0,)))
        others = jobs_of(grid(tmp_path, tiny_model_folder, training_methods=("tok",), include_sequential=False))
        schedule = Schedule([*endless, *others])
        OnRay(cluster.address, num_workers=2, run_timeout=20).execute(tmp_path, schedule, lambda _outcome: None)
        assert [outcome.key for outcome in schedule.failed] == [endless[0].key]
        assert schedule.failed[0].reason == "it took longer than run_timeout=20 s"
        assert (tmp_path / "outputs" / endless[0].key / "failure.log").exists()
        assert len(weights(tmp_path)) == 2

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

    def test_where_no_worker_starts_that_is_said(self, cluster: Any) -> None:  # noqa: ANN401
        ray.init(address=cluster.address, log_to_driver=False)

        class Broken(RayWorker):
            def __init__(self) -> None:
                raise ImportError("no such package here")

        crew = _Crew(ray, ray.remote(num_cpus=1)(Broken), ())
        crew.hire(2)
        with pytest.raises(MachineError, match=r"no worker of the Ray cluster starts: .*no such package here"):
            listen_for_ever(crew)


def listen_for_ever(crew: _Crew) -> None:
    while True:
        list(crew.ended())


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


def test_a_worker_has_what_its_sweep_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("WANDB_RUN_GROUP", "of its node")
    assert RayWorker(tmp_path, {"OMP_NUM_THREADS": "1", "WANDB_RUN_GROUP": "of the sweep"}).is_up()
    assert os.environ["WANDB_RUN_GROUP"] == "of the sweep"
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_no_cluster_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--ray_address 127\.0\.0\.1:1: "):
        OnRay("127.0.0.1:1", 1).execute(tmp_path, Schedule([]), lambda _outcome: None)
