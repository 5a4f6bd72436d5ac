"""`ia2 run`, `status` and `clean`: what they do, and what they say."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from tiny_runs import training, write_dataset

from ia2 import store
from ia2.cli import main, parse_arguments
from ia2.commands.train import train
from ia2.config import CleanConfig, Config, EvaluateConfig, PlotAllConfig, RunConfig, SweepConfig, TrainConfig
from ia2.errors import MachineError, UserError
from ia2.flows import experiments
from ia2.flows.cleaning import clean
from ia2.flows.commands import COMMANDS, SUBCOMMANDS, name_of, run
from ia2.flows.experiments import configs_of, run_experiment
from ia2.flows.status import in_words, size
from ia2.models.loading import ModelCache

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RECIPE = """
from ia2.config import CreateConfig, ModelConfig, PrepareConfig

def both():
    return [
        PrepareConfig(datasets=("capitals", "past_tense"), num_train_samples=20, num_val_samples=5),
        CreateConfig(datasets=("capitals",), num_train_examples=(4,), num_runs=1),
    ]

def wrong():
    return 3

def other():
    return [ModelConfig()]

def _hidden():
    return []
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.py"
    file.write_text(RECIPE)
    return file


def test_an_experiment_is_its_commands_in_order(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", f"{recipe}:both", "--root", str(tmp_path / "store"), "--dry_run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in said] == [["[1/2]", "ia2", "prepare"], ["[2/2]", "ia2", "create"]]
    assert not (tmp_path / "store").exists()
    assert main(["run", f"{recipe}:both", "--root", str(tmp_path / "store")]) == 0
    assert store.split_path(tmp_path / "store", "capitals", 4, 0).exists()
    assert store.pool_path(tmp_path / "store", "past_tense").exists()


def test_only_narrows_lists_and_leaves_out_what_has_nothing_left(recipe: Path, tmp_path: Path) -> None:
    config = RunConfig(experiment=f"{recipe}:both", only=("past_tense",), root=tmp_path, dry_run=True)
    (one,) = run_experiment(config)
    assert name_of(one) == "prepare"
    assert one.datasets == ("past_tense",)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="has nothing on sst2"):
        run_experiment(config.model_copy(update={"only": ("past_tense", "sst2")}))


NARROWED = """
from ia2.config import PrepareConfig, SweepConfig

def twice():
    return [
        PrepareConfig(datasets=("capitals", "past_tense")),
        SweepConfig(training_methods=("tok",), datasets=("capitals",)),
        PrepareConfig(datasets=("past_tense", "capitals")),
        SweepConfig(training_methods=("tok",), datasets=("past_tense",)),
    ]
"""


def test_what_is_narrowed_to_the_same_is_done_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.py").write_text(NARROWED)
    config = RunConfig(experiment=f"{tmp_path / 'recipe.py'}:twice", only=("capitals",), dry_run=True)
    assert [name_of(one) for one in run_experiment(config)] == ["prepare", "sweep"]
    told = capsys.readouterr().err
    assert "2 of 4 commands" in told
    assert "1 on other datasets" in told
    assert len(run_experiment(config.model_copy(update={"only": ()}))) == 4
    assert capsys.readouterr().err == ""


def test_what_a_sweep_of_an_experiment_leaves_out_is_said_before_it_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = "SweepConfig(training_methods=('tna',), label_types=('ground_truth', 'icl_outputs'), lrs=(1e-4, 1e-3))"
    (tmp_path / "recipe.py").write_text(f"from ia2.config import SweepConfig\ndef one():\n    return [{made}]\n")
    run_experiment(RunConfig(experiment=f"{tmp_path / 'recipe.py'}:one", dry_run=True))
    assert "2 runs of tna" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["paper.py:table1", "paper.py:joint", "paper.py:adapters", "small.py:grid"])
def test_what_is_printed_can_be_typed(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig(experiment=f"{EXPERIMENTS}/{name}", root=tmp_path, max_parallel=4, gpus=(0, 2), dry_run=True)
    done = run_experiment(config)
    typed = [shlex.split(line.partition("] ")[2])[1:] for line in capsys.readouterr().out.splitlines()]
    assert [parse_arguments(words) for words in typed] == done
    for one in done:
        assert one.root == tmp_path
        if isinstance(one, SweepConfig):
            assert (one.max_parallel, one.gpus) == (4, (0, 2))


def test_every_command_can_be_part_of_an_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With values for what a command cannot do without, and one that stands without its flag."""
    needed: dict[str, dict[str, object]] = {
        "fit": {"file": tmp_path / "my rows.csv"},
        "train": {"training_method": "act"},
        "sweep": {"training_methods": ("act", "tok")},
        "predict": {"adapter": tmp_path, "text": "it's"},
        "merge": {"adapter": tmp_path, "out": tmp_path / "out"},
        "run": {"experiment": "other.py:all"},
    }
    configs = [kind(root=tmp_path, **needed.get(name, {})) for name, kind in SUBCOMMANDS.items()]
    recipe = tmp_path / "recipe.py"
    lines = [f"    {type(one).__name__}(**{dict(one)!r})," for one in configs]
    recipe.write_text(
        "\n".join(
            ["from pathlib import PosixPath", "from ia2.config import *", "def all():", "  return [", *lines, "  ]"]
        )
    )
    done = run_experiment(RunConfig(experiment=f"{recipe}:all", dry_run=True))
    assert [name_of(one) for one in done] == list(SUBCOMMANDS)
    typed = [shlex.split(line.partition("] ")[2])[1:] for line in capsys.readouterr().out.splitlines()]
    assert [parse_arguments(words) for words in typed] == done


def test_what_fails_stops_no_other_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.py").write_text(NARROWED)
    begun: list[str] = []

    def run(config: Config) -> None:
        begun.append(name_of(config))
        if config.datasets == ("capitals",):  # type: ignore[attr-defined]
            raise MachineError("2 of 3 jobs failed")

    monkeypatch.setattr(experiments, "run", run)
    assert main(["run", f"{tmp_path / 'recipe.py'}:twice", "--root", str(tmp_path)]) == 1
    assert begun == ["prepare", "sweep", "prepare", "sweep"]
    said = capsys.readouterr()
    assert "[2/4] failed: 2 of 3 jobs failed" in said.out
    assert said.err.strip() == "ia2: 1 of 4 commands failed; the same command goes on with what is left"


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ("recipe.py", "give file and function"),
        ("recipe.py:nothing", "has no experiment 'nothing'; it has both, wrong, other"),
        ("recipe.py:wrong", "does not return a list of configs"),
        ("recipe.py:other", "does not return a list of configs of commands"),
        ("missing.py:both", "no such Python file"),
    ],
)
def test_what_is_no_experiment(recipe: Path, experiment: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        configs_of(RunConfig(experiment=str(recipe.with_name(experiment))))


@pytest.mark.parametrize(
    "name", ["paper.py:table1", "paper.py:sample_efficiency", "paper.py:joint", "paper.py:adapters"]
)
def test_the_papers_grids_are_as_published(name: str) -> None:
    configs = configs_of(RunConfig(experiment=f"{EXPERIMENTS}/{name}"))
    sweeps = [one for one in configs if isinstance(one, SweepConfig)]
    assert sweeps
    for one in sweeps:
        assert (one.keep, one.stop, one.run_indices) == ("last", "published", (0, 1, 2, 3, 4))
        assert (one.lora_types, one.batch_size, one.num_train_epochs) == (("qko",), 4, 50)
    assert all(one.protocol == "published" for one in configs if isinstance(one, EvaluateConfig))
    plots = [one for one in configs if isinstance(one, PlotAllConfig)]
    assert len(plots) == len(sweeps)
    assert all(one.hp_selection == "performance" for one in plots)
    assert len(configs_of(RunConfig(experiment=f"{EXPERIMENTS}/small.py:grid"))) == 6


def test_every_command_has_a_function_that_can_be_found() -> None:
    import importlib  # noqa: PLC0415

    for config, place in COMMANDS.values():
        module, function = place.split(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert issubclass(config, Config)


# Status and clean


def test_status_and_clean_on_a_store(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path, "made_up", [f"q{i}" for i in range(20)])
    folder = train(training(tmp_path, tiny_model_folder, dataset="made_up"), ModelCache())
    broken = folder.with_name("broken")
    broken.mkdir()
    (broken / "failure.log").write_text("Traceback\nRuntimeError: made up\n")
    left = folder.with_name(f".{folder.name}.1.tmp")
    left.mkdir()
    (left / "history.jsonl").write_text('{"phase": "act", "step": 3, "train_loss": 0.5}\n{"phase": "a')
    words = ["--root", str(tmp_path)]
    assert main(["status", *words]) == 0
    out = capsys.readouterr().out
    assert "data     made_up: 1 splits" in out
    assert "targets  1 sets" in out
    assert "runs     act on made_up: 1" in out
    assert "act/made_up/broken: RuntimeError: made up" in out
    assert "in progress" not in out, "nobody holds its lock"
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        main(["status", *words])
        assert f"act/made_up/{folder.name}: phase act, step 3, train loss 0.5" in capsys.readouterr().out
        assert left not in clean(CleanConfig(root=tmp_path, dry_run=True))
    assert left in clean(CleanConfig(root=tmp_path, dry_run=True))
    assert left.exists()
    clean(CleanConfig(root=tmp_path))
    assert not left.exists()
    assert not list(tmp_path.rglob(".*.lock"))
    assert (folder / "adapter_model.safetensors").exists()
    (targets,) = [path for path in clean(CleanConfig(root=tmp_path, targets=True)) if path.parent.name == "targets"]
    assert not targets.exists()


def test_status_where_targets_are_being_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or were left by a process that was killed at it, in whatever shape."""
    targets = tmp_path / "outputs" / "targets"
    (targets / "0f").mkdir(parents=True)
    (targets / ".0f.7.tmp").mkdir()
    for name in (".0e.7.tmp", "0f/.tokens.safetensors.7.tmp", ".0d.7.tmp"):
        (targets / name).write_text("half")
    with store.file_lock(targets / "0d"):
        assert main(["status", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


def test_a_failure_is_shown_without_its_terminal_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "outputs" / "act" / "made_up" / "run"
    folder.mkdir(parents=True)
    (folder / "failure.log").write_bytes(b"ValueError: \x1b[2Jgone \xff\x07 caf\xc3\xa9\n")
    assert main(["status", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.isprintable() or set(out) - {"\n"} <= set(filter(str.isprintable, out))
    assert "\\x1b[2Jgone \\xff\\x07 café" in out


def test_clean_leaves_what_is_of_a_stranger_or_a_process_that_lives(tmp_path: Path) -> None:
    mine = [tmp_path / "outputs" / "targets" / "mine" / "notes", tmp_path / "data" / ".mine.tmp", tmp_path / ".env.tmp"]
    mine += [tmp_path / "outputs" / ".tool.lock", tmp_path / "reports" / f".report.html.{os.getpid()}.tmp"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [tmp_path / name for name in ("reports/.report.html", ".adapter", "plots/unified/.a.png")]
    for path in (path.with_name(f"{path.name}.{dead.pid}.tmp") for path in left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    assert len(clean(CleanConfig(root=tmp_path, targets=True))) == len(left)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(mine)


def test_what_an_evaluation_is_writing_is_no_leftover(tmp_path: Path) -> None:
    """The lock is on the record's name without an ending; its table and its JSON are written under it."""
    record = tmp_path / "outputs" / "evaluations" / "act" / "capitals" / "tiny_0.01_0__capitals.json"
    with store.file_lock(record.with_suffix("")):
        for path in (record, record.with_suffix(".parquet")):
            with store.atomic_write(path) as temporary:
                temporary.write_text("half")
                assert clean(CleanConfig(root=tmp_path)) == []
    left = record.with_name(f".{record.name}.1.tmp")
    left.write_text("half")
    assert clean(CleanConfig(root=tmp_path)) == [left, record.with_name(".tiny_0.01_0__capitals.lock")]


def test_responses_go_with_the_targets(tmp_path: Path) -> None:
    folders = [tmp_path / "outputs" / kind / "0f" for kind in ("targets", "responses")]
    for folder in folders:
        store.write_json(folder / "manifest.json", {})
    assert clean(CleanConfig(root=tmp_path)) == []
    with store.file_lock(folders[1]):
        assert clean(CleanConfig(root=tmp_path, targets=True, dry_run=True)) == folders[:1]
    assert clean(CleanConfig(root=tmp_path, targets=True)) == [folders[1].with_name(".0f.lock"), *folders]


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5e13, "50.0 TB")]
)
def test_sizes_in_words(num_bytes: int, words: str) -> None:
    assert in_words(num_bytes) == words


def test_an_empty_root_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == os.path.realpath(tmp_path)
    assert clean(CleanConfig(root=tmp_path)) == []


def test_what_goes_meanwhile_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process renames what it has written between our listing and our looking."""
    (tmp_path / "there").write_bytes(b"12345")
    monkeypatch.setattr(os, "walk", lambda folder: [(str(folder), [], ["there", ".gone.json.7.tmp"])])
    assert size([tmp_path, tmp_path / "gone"]) == 5


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), MachineError),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MachineError),
        (RuntimeError("a mistake of ours"), RuntimeError),
    ],
)
def test_memory_that_runs_out_in_any_command_is_told(
    error: RuntimeError, told: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: TrainConfig) -> None:
        raise error

    monkeypatch.setattr("ia2.commands.train.train", fail)
    with pytest.raises(told, match="--micro_batch_size 1" if told is MachineError else "a mistake of ours"):
        run(TrainConfig(training_method="act"))
