"""What ia2 did not make survives every command, whatever it is called, and no command leaves its root."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tiny_runs import files_of, write_dataset
from undrawn import draw_nothing

from ia2 import store
from ia2.cli import main

SMALL = ("--num_train_examples", 4, "--num_generated_tokens", 3, "--num_train_epochs", 1)
FEW = ("--num_eval_examples", 3, "--icl_max_demos", 4)


def chain(root: Path, model: Path) -> list[tuple[object, ...]]:
    """Every command that writes below a root, but fit."""
    train = ("train", "--training_method", "a2t", "--dataset", "made_up", "--model_id", model, *SMALL)
    adapter = ("--adapter", store_run(root))
    return [
        train,
        (*train, "--retrain"),
        ("evaluate", "--model_id", model, *FEW),
        ("similarity", "--model_types", "act", *FEW),
        ("subspace",),
        ("reparse", "--parser", "number"),
        ("results",),
        ("tables",),
        ("plot", "--plot_types", "accuracy"),
        ("report",),
        ("predict", *adapter, "--file", root / "new.csv", "--out", root / "out.csv"),
        ("merge", *adapter, "--out", root / "merged"),
        ("status",),
        ("clean", "--targets"),
    ]


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """Pictures are files too, whatever is on them."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch.setattr)
        yield


def store_run(root: Path) -> Path:
    return root / "outputs" / "a2t" / "made_up" / "tiny-llama_qkv_8_8_3_4_0.0001_0_icl_outputs+num_train_epochs=1"


def fit_chain(root: Path, model: Path) -> list[tuple[object, ...]]:
    fit = ("fit", root.parent / "rows.csv", "--model_id", model, "--num_train_epochs", 1, "--lrs", 1e-2)
    return [fit, (*fit, "--overwrite"), ("clean",)]


def begin(root: Path) -> Path:
    write_dataset(root, "made_up", [f"q{i}" for i in range(20)])
    (root / "new.csv").write_text("x\nhere\n")
    lines = [f"sentence number {i} of these,{'ab'[i % 2]}" for i in range(16)]
    (root.parent / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return root


def run(commands: list[tuple[object, ...]], root: Path) -> list[int]:
    """Exit codes; what is not one line, and so no exit code, is an exception here."""
    outside = ("merge", "predict")
    return [main([*map(str, words), *(() if words[0] in outside else ("--root", str(root)))]) for words in commands]


CHAINS = {"chain": chain, "fit": fit_chain}
Chain = Callable[[Path, Path], list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> dict[str, list[str]]:
    """Every name that the commands give to a file or folder, by the chain that does."""
    found = {}
    for name, commands in CHAINS.items():
        root = begin(tmp_path_factory.mktemp(name) / "root")
        codes = [run([words], root)[0] for words in commands(root, tiny_model_folder)[:-1]]
        assert set(codes) == {0}, codes
        given = {str(path.relative_to(root)) for path in root.rglob("*")}
        found[name] = sorted(given - {"data", "data/made_up", "data/made_up/main.json", "new.csv"})
    return found


def survives(place: str, commands: Chain, folder: Path, model: Path) -> None:
    """A folder of a stranger at a place, with a file and a folder in it."""
    root = begin(folder / "root")
    strange = root / place
    (strange / "inner").mkdir(parents=True)
    for file in (strange / "notes", strange / "inner" / ".kept.1.tmp.txt"):
        file.write_text("precious")
    codes = run(commands(root, model), root)
    assert set(codes) <= {0, 1, 2}
    assert {name: content for name, content in files_of(strange).items() if content == b"precious"} == {
        "notes": b"precious",
        "inner/.kept.1.tmp.txt": b"precious",
    }


@pytest.mark.parametrize(("name", "draw"), [("chain", 0), ("chain", 1), ("fit", 0)])
def test_a_folder_of_a_stranger_survives(
    name: str, draw: int, names: dict[str, list[str]], tmp_path: Path, tiny_model_folder: Path
) -> None:
    place = Random(f"strangers {name}").sample(names[name], 4)[draw]
    survives(place, CHAINS[name], tmp_path, tiny_model_folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CHAINS)
def test_a_folder_of_a_stranger_survives_under_every_name(
    name: str, names: dict[str, list[str]], tmp_path: Path, tiny_model_folder: Path
) -> None:
    for number, place in enumerate(names[name]):
        survives(place, CHAINS[name], tmp_path / str(number), tiny_model_folder)
        shutil.rmtree(tmp_path / str(number))


def test_fit_leaves_a_folder_called_adapter(tmp_path: Path, tiny_model_folder: Path) -> None:
    root = begin(tmp_path / "root")
    (root / "adapter").mkdir()
    (root / "adapter" / "notes").write_text("precious")
    assert run(fit_chain(root, tiny_model_folder)[:2], root) == [2, 2]
    assert files_of(root / "adapter") == {"notes": b"precious"}
    assert not (root / "outputs").exists(), "found before anything is trained"


def test_fit_leaves_an_adapter_that_somebody_trained(tmp_path: Path, tiny_model_folder: Path) -> None:
    root = begin(tmp_path / "root")
    (root / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "README.md", "config.json"):
        (root / "adapter" / name).write_text("{}")
    before = files_of(root / "adapter")
    assert run(fit_chain(root, tiny_model_folder)[:1], root) == [2]
    assert files_of(root / "adapter") == before


def test_a_note_in_a_run_of_ours_keeps_it(tmp_path: Path, tiny_model_folder: Path) -> None:
    root = begin(tmp_path / "root")
    train, retrain, *_ = chain(root, tiny_model_folder)
    assert run([train], root) == [0]
    (store_run(root) / "notes").write_text("precious")
    before = files_of(store_run(root))
    assert run([retrain], root) == [2]
    assert files_of(store_run(root)) == before


def test_the_adapter_of_another_file_is_replaced_only_if_asked(tmp_path: Path, tiny_model_folder: Path) -> None:
    root = begin(tmp_path / "root")
    fit, overwrite, _ = fit_chain(root, tiny_model_folder)
    shutil.copy(root.parent / "rows.csv", root.parent / "other.csv")
    other = [(words[0], root.parent / "other.csv", *words[2:]) for words in (fit, overwrite)]
    dataset = lambda: store.read_object(root / "adapter" / "run.json")["config"]["dataset"]  # noqa: E731
    assert run([fit], root) == [0]
    assert dataset() == "rows"
    assert run(other[:1], root) == [2]
    assert dataset() == "rows"
    assert run(other[1:], root) == [0]
    assert dataset() == "other"


def test_predict_writes_over_nothing_unasked(tmp_path: Path, tiny_model_folder: Path) -> None:
    root = begin(tmp_path / "root")
    train, *_, predict, merge, _, _ = chain(root, tiny_model_folder)
    (root / "out.csv").write_text("precious")
    assert run([train, predict], root) == [0, 2]
    assert (root / "out.csv").read_text() == "precious"
    assert run([(*predict, "--overwrite")], root) == [0]
    assert "answer" in (root / "out.csv").read_text()
    assert run([merge, merge], root) == [0, 0], "what is there is what it makes"
    assert run([(*merge, "--torch_dtype", "bfloat16")], root) == [2]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    root = begin(tmp_path_factory.mktemp("evaluated") / "root")
    assert set(run(chain(root, tiny_model_folder)[:5], root)) == {0}
    return root


SHOWN = [
    ("results",),
    ("results", "--out", "{out}.parquet"),
    ("tables",),
    ("plot", "--plot_types", "accuracy"),
    ("report",),
]


@pytest.mark.parametrize(
    "words",
    [
        *SHOWN,
        pytest.param(("results", "--out", "{out}.csv"), marks=pytest.mark.slow),
        pytest.param(("report", "--out", "{out}.html"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_file_of_a_stranger_where_results_are_shown_is_not_replaced(
    words: tuple[str, ...], evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(evaluated, tmp_path / "root")
    command = tuple(word.format(out=tmp_path / "shown") for word in words)
    before = files_of(tmp_path).keys()
    assert run([command, command], root) == [0, 0], "what it wrote itself it replaces"
    made = {Path(name).suffix: tmp_path / name for name in sorted(files_of(tmp_path).keys() - before)}
    assert made
    for path in made.values():
        ours = path.read_bytes()
        for strange in ("file", "folder"):
            path.unlink()
            notes = path if strange == "file" else path / "notes"
            notes.parent.mkdir(exist_ok=True)
            notes.write_text("precious")
            capsys.readouterr()
            assert run([command], root) == [2]
            assert capsys.readouterr().err.splitlines()[-1].startswith(f"ia2: {path} ")
            assert notes.read_text() == "precious"
            notes.unlink()
            if strange == "folder":
                path.rmdir()
            path.write_bytes(ours)
    assert run([command], root) == [0]


# Out of the root

HOSTILE = [
    "../../escaped",
    "/tmp/ia2-escaped",
    "a/b",
    "..",
    ".",
    "",
    ".hidden",
    "a\nb",
    "\x1b[31mred",
    "<b>bold</b>",
    "x" * 201,
]


def edit(file: Path, change: Callable[[Any], None]) -> None:
    """Change a file, whose digest then is right again: it is not for its damage that it is refused."""
    content = json.loads(file.read_text())
    change(content)
    store.write_object(file, content)


KINDS = {
    "run": ("outputs/a2t/made_up/*/run.json", ("config", "dataset")),
    "task": ("outputs/a2t/made_up/*/run.json", ("task", "name")),
    "record": ("outputs/evaluations/a2t/made_up/*.json", ("eval", "eval_dataset")),
    "source": ("outputs/evaluations/a2t/made_up/*.json", ("eval", "icl_source_dataset")),
    "run of a record": ("outputs/evaluations/a2t/made_up/*.json", ("run", "dataset")),
    "base record": ("outputs/evaluations/base/*.json", ("eval", "eval_dataset")),
    "similarity": ("outputs/similarity/act/made_up/*.json", ("trained_dataset",)),
    "responses": ("outputs/similarity/act/made_up/*.json", ("responses",)),
    "overlap": ("outputs/subspace/made_up/*.json", ("config_a", "dataset")),
    "pool": ("data/made_up/main.json", ("metadata", "task", "name")),
}


QUICK = ("run", "record", "pool")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(pytest.param(kind, HOSTILE[0], marks=[] if kind in QUICK else pytest.mark.slow) for kind in KINDS),
        ("record", HOSTILE[1]),
    ],
)
def test_no_command_writes_out_of_its_root(
    kind: str, name: str, evaluated: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    root = shutil.copytree(evaluated, tmp_path / "a" / "b" / "root")
    pattern, fields = KINDS[kind]
    file = next(one for one in root.glob(pattern) if not one.name.startswith("."))

    def change(content: Any) -> None:  # noqa: ANN401
        *outer, last = fields
        for field in outer:
            content = content[field]
        content[last] = name

    edit(file, change)
    model = tiny_model_folder
    commands = chain(root, model)
    codes = run([*commands[2:5], *commands[6:10]], root)
    assert set(codes) <= {0, 1, 2}
    outside = [path for path in tmp_path.rglob("*") if path != root and root not in path.parents]
    assert sorted(path.name for path in outside) == ["a", "b"]
    assert not Path("/tmp/ia2-escaped").exists()


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "words",
    [
        ("train", "--training_method", "act", "--dataset"),
        ("evaluate", "--model_types", "base", "--eval_datasets"),
        ("create", "--datasets"),
        ("prepare", "--datasets"),
        ("similarity", "--eval_datasets"),
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_is_none_is_refused(name: str, words: tuple[str, ...], tmp_path: Path) -> None:
    assert main([*words, name, "--root", str(tmp_path / "root")]) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
