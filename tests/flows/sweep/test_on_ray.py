"""A sweep on a local Ray cluster of two nodes, one of which is lost midway."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import write_dataset

from ia2 import store
from ia2.config import SweepConfig
from ia2.errors import UserError
from ia2.flows.sweep.executors import InProcess
from ia2.flows.sweep.grid import expand
from ia2.flows.sweep.on_ray import OnRay
from ia2.flows.sweep.plan import Job, plan_of
from ia2.flows.sweep.schedule import Outcome, Schedule
from ia2.flows.training import resolve

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'ia2[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]  # ray's own, of many kinds


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with one core, and a second node with another."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def jobs_of(root: Path, model: Path) -> tuple[Job, ...]:
    write_dataset(root, "made_up", [f"q{i}" for i in range(30)])
    config = SweepConfig(
        root=root,
        model_id=str(model),
        training_methods=("act", "tok", "tna"),
        datasets=("made_up",),
        num_train_examples=(4,),
        num_generated_tokens=(2,),
        lrs=(1e-2, 1e-3),
        run_indices=(0, 1),
        num_train_epochs=1,
        include_sequential=True,
    )
    return plan_of(root, [resolve(one) for one in expand(config)]).jobs


def weights(root: Path) -> dict[str, bytes]:
    return {
        str(folder.relative_to(root)): (folder / "adapter_model.safetensors").read_bytes()
        for folder in store.run_folders(root)
    }


def test_a_lost_node_loses_no_run(cluster: Any, tmp_path: Path, tiny_model_folder: Path) -> None:  # noqa: ANN401
    schedule = Schedule(jobs_of(tmp_path / "ray", tiny_model_folder))
    ended: list[str] = []

    def lose_a_node(outcome: Outcome) -> None:
        ended.append(outcome.key)
        if len(ended) == 6:
            cluster.remove_node(cluster.second, allow_graceful=False)

    OnRay(cluster.address, num_workers=2).execute(tmp_path / "ray", schedule, lose_a_node)
    assert {outcome.status for outcome in schedule.outcomes.values()} == {"done"}, schedule.failed
    assert set(Counter(ended).values()) == {1}
    alone = Schedule(jobs_of(tmp_path / "alone", tiny_model_folder))
    InProcess().execute(tmp_path / "alone", alone, lambda _outcome: None)
    assert weights(tmp_path / "ray") == weights(tmp_path / "alone")


def test_no_cluster_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--ray_address 127\.0\.0\.1:1: "):
        OnRay("127.0.0.1:1", 1).execute(tmp_path, Schedule([]), lambda _outcome: None)
