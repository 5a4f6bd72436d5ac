"""The documents are true of the code: what they name exists, and what is written is named, and the other way round."""

import ast
import doctest
import importlib
import inspect
import json
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from ia2.cli import SUBCOMMANDS
from ia2.commands.data_files import create_all, prepare_all
from ia2.commands.evaluate import evaluate
from ia2.commands.similarity import similarity
from ia2.commands.subspace import subspace
from ia2.commands.sweep.schedule import End
from ia2.commands.sweep.sweep import sweep
from ia2.commands.train import train
from ia2.config import (
    CreateConfig,
    EvaluateConfig,
    PrepareConfig,
    SimilarityConfig,
    SubspaceConfig,
    SweepConfig,
    TrainConfig,
)
from ia2.errors import MachineError
from ia2.methods import METHODS
from ia2.models.loading import ModelCache
from ia2.store import write_json

DOCS = Path(__file__).parents[1] / "docs"
METHOD, ARTIFACTS, DIFFERENCES = (
    (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("method", "artifacts", "differences")
)
DOCUMENTS = [DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two lines."""
    below = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)
    assert len(below) == 2, f"{len(below) - 1} headings {heading!r}"
    lines = re.split(r"^#+ ", below[1], flags=re.MULTILINE)[0].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    return table[2:]


def fields(heading: str) -> dict[str, str]:
    """Field -> last cell of the field table below a heading of artifacts.md."""
    return {row[0].strip("| `"): row[-1].strip("| ") for row in table_rows(ARTIFACTS, heading)}


# Method


LINKS = sorted(set(re.findall(r"\[`([\w.]+)`\]\(\.\./src/(ia2/[\w/]+)\.py\)", METHOD)))
DEFINED_IN_FULL = (
    "ia2.training.losses",
    "ia2.evaluation.metrics",
    "ia2.evaluation.calibration",
    "ia2.evaluation.statistics",
)


@pytest.mark.parametrize(("name", "module"), LINKS)
def test_what_the_method_names_is_defined_in_that_file(name: str, module: str) -> None:
    found = reduce(getattr, name.split("."), importlib.import_module(module.replace("/", ".")))
    assert not inspect.isroutine(found) or inspect.unwrap(found).__module__ == module.replace("/", ".")


@pytest.mark.parametrize("module", DEFINED_IN_FULL)
def test_every_loss_and_measure_has_its_definition(module: str) -> None:
    members = inspect.getmembers(importlib.import_module(module), inspect.isfunction)
    public = {name for name, one in members if one.__module__ == module and not name.startswith("_")}
    assert public <= {name for name, file in LINKS if file.replace("/", ".") == module}


DEFINED_OF_ANALYSES = {
    "ia2/analysis/similarity": (
        *("forced_activations", "cosines", "mean_cosines", "summary"),
        *("Similarity.by_layer", "Similarity.by_token", "Similarity.by_layer_and_token"),
    ),
    "ia2/analysis/subspace": (
        *("decompose", "subspace_overlap", "energy_shares", "energy_overlap", "effective_rank", "cosine"),
        "read_updates",
    ),
}
"""Measures in files that hold more than definitions."""


@pytest.mark.parametrize("module", DEFINED_OF_ANALYSES)
def test_every_measure_of_an_analysis_has_its_definition(module: str) -> None:
    assert {(name, module) for name in DEFINED_OF_ANALYSES[module]} <= {*LINKS}


def headings_of(file: Path) -> set[str]:
    """As a link to one is written."""
    titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-").lower() for title in titles}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_every_link_leads_to_a_file_or_a_heading(file: Path) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8"))
    for target in targets:
        path, _, heading = target.partition("#")
        other = file.parent / path if path else file
        assert target.startswith("https://") or other.exists(), target
        assert not heading or heading in headings_of(other), target


def test_the_variants_of_the_method_are_those_of_the_code() -> None:
    named = {row[0].strip("`") for row in table_rows(METHOD.split("The variants are the rows")[0], "Losses")}
    assert {"act", "tok", "tokl"} <= named
    variants = METHOD.split("The variants are the rows")[1].split("## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", variants, flags=re.MULTILINE)) == {one.variant for one in METHODS.values()}


def test_flags_and_defaults_are_those_of_the_configs() -> None:
    configs = list(SUBCOMMANDS.values())
    known = {"help"}.union(*(config.model_fields.keys() | config.aliases.keys() for config in configs))
    for file in DOCUMENTS:
        text = re.sub(r"^```console\n.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        named = set(re.findall(r"(?<![\w-])--(\w+)", text))
        assert file.name == "performance.md" or named <= known, file.name  # whose flags are those of benchmarks
    rows = table_rows(DIFFERENCES, "Defaults")
    stated = {row[0].strip("`-"): row[1].strip("`") for row in rows if row[1].startswith("`")}
    assert len(stated) >= 8
    for flag, default in stated.items():
        assert default in {str(config.model_fields[flag].default) for config in configs if flag in config.model_fields}


def test_what_the_published_protocol_sets_is_what_is_said() -> None:
    ours, theirs = (TrainConfig(training_method="act", protocol=protocol) for protocol in ("default", "published"))
    rows = {row[0].strip("`-"): row for row in table_rows(DIFFERENCES, "Defaults")}
    for flag in ("keep", "stop"):
        assert rows[flag][1].strip("`") == getattr(ours, flag)
        assert rows[flag][2].split("`")[1] == getattr(theirs, flag)
    changed = {name for name, value in theirs if value != getattr(ours, name)}
    assert changed == {"keep", "stop", "protocol"}


def test_every_trap_is_told_once() -> None:
    assert [row[0] for row in table_rows(DIFFERENCES, "What was a mistake")] == [str(i) for i in range(1, 29)]


def test_the_public_names_are_described_as_their_docstrings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_MODEL_ID", raising=False)
    described = runpy.run_path(str(DOCS / "make_api.py"))["text"]()
    assert described == (DOCS / "api.md").read_text(encoding="utf-8"), "run `python docs/make_api.py`"


EXAMPLES = sorted(file for file in (DOCS.parent / "src").rglob("*.py") if ">>> " in file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_in_docstrings_are_true(file: Path) -> None:
    name = ".".join(file.relative_to(DOCS.parent / "src").with_suffix("").parts).removesuffix(".__init__")
    outcome = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert outcome.attempted > 0
    assert outcome.failed == 0


# Artefacts


@dataclass(frozen=True)
class Written:
    """What the commands really wrote below a root."""

    root: Path

    def only(self, pattern: str) -> Path:
        (path,) = (path for path in self.root.glob(pattern) if not path.name.startswith("."))
        return path

    def json(self, pattern: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.only(pattern).read_text(encoding="utf-8"))
        return content

    def records(self) -> list[Path]:
        return sorted((self.root / "outputs" / "evaluations").rglob("[!.]*.json"))


INVENTED = [("a fine film", "1"), ("a dull film", "0"), ("good", "1"), ("bad", "0"), ("long", "0"), ("kind", "1")]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Written:
    """A run of two phases on capitals, and records of it and of the base model on free text and on labels."""
    root, model, models = tmp_path_factory.mktemp("artefacts"), str(tiny_model_folder), ModelCache()
    prepare_all(
        PrepareConfig(root=root, datasets=("capitals",), num_train_samples=8, num_val_samples=4, model_id=model)
    )
    create_all(
        CreateConfig(
            root=root,
            datasets=("capitals",),
            num_runs=1,
            ldr_mode=True,
            num_labelled_samples=2,
            num_unlabelled_samples=3,
            max_permutations=2,
        )
    )
    rows = [{"idx": i, "question": f"Text:{text}\nLabel:", "answer": label} for i, (text, label) in enumerate(INVENTED)]
    write_json(
        root / "data" / "sst2" / "main.json", {"metadata": {}, "train_examples": rows[:3], "val_examples": rows[3:]}
    )
    train(
        TrainConfig(
            root=root,
            model_id=model,
            device="cpu",
            training_method="a2t",
            dataset="capitals",
            label_type="ground_truth",
            num_train_examples=4,
            num_generated_tokens=2,
            num_train_epochs=2,
            log_gradient_norms=True,
            log_weight_norms=True,
            log_checkpoints=True,
            checkpoint_frequency=1,
        ),
        models,
    )
    shared = EvaluateConfig(root=root, model_id=model, device="cpu", num_generated_tokens_eval=1)
    evaluate(shared.model_copy(update={"model_types": ("a2t",), "eval_with_icl": True}), models)
    on_labels = {"eval_datasets": ("sst2",), "num_examples": (2,), "run_indices": (0,)}
    uncertain = {"uncertainty_analysis": True, "num_generated_tokens_eval": 2}
    evaluate(shared.model_copy(update={"model_types": ("base",), **on_labels, **uncertain}), models)
    similarity(SimilarityConfig(root=root, model_id=model, device="cpu", icl_max_demos=1), models)
    subspace(SubspaceConfig(root=root, model_id=model))
    return Written(root)


def paths(value: object, prefix: str = "") -> Iterator[str]:
    """Every path of a JSON value, in the notation of artifacts.md."""
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            yield from {path, *paths(inner, path)}
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{prefix}[]")


def check_fields(heading: str, *contents: object) -> None:
    """Each field of the table is written in some of the contents, and each that is written stands in the table.

    A field without fields of its own in the table (`config`, `task`) stands for all that is in it. One that is `absent
    where` the examples do not define it may be missing.
    """
    named = fields(heading)
    found = {re.sub(r"\bwith(out)?_icl", "{pass}", path) for content in contents for path in paths(content)}
    assert {name for name, meaning in named.items() if "absent where" not in meaning} - found == set()
    parents = {name[: match.start()] for name in named for match in re.finditer(r"\[\]|\.", name)}
    closed = tuple(f"{name}{mark}" for name in named.keys() - parents for mark in (".", "["))
    assert {path for path in found - named.keys() - parents if not path.startswith(closed)} == set()


def test_fields_of_data(written: Written) -> None:
    check_fields("`main.json`", written.json("data/capitals/main.json"))
    check_fields("`provenance.json`", written.json("data/capitals/provenance.json"))
    check_fields("`{N}_{run}.json`", written.json("data/capitals/train/4_0.json"))
    check_fields("`{N}_{M}_{K}_{run}.json`", written.json("data/capitals-ldr/train/2_3_2_0.json"))


def test_fields_of_targets(written: Written) -> None:
    check_fields("`manifest.json`", written.json("outputs/targets/*/manifest.json"))


def test_fields_of_a_run(written: Written) -> None:
    check_fields("`run.json`", written.json("outputs/a2t/capitals/*/run.json"))
    check_fields("`final_loss_statistics.json`", written.json("outputs/a2t/capitals/*/final_loss_statistics.json"))
    lines = written.only("outputs/a2t/capitals/*/history.jsonl").read_text(encoding="utf-8").splitlines()
    check_fields("`history.jsonl`", *map(json.loads, lines))
    run = written.only("outputs/a2t/capitals/*")
    assert [path.name for path in run.iterdir() if f"`{path.name}{'/' * path.is_dir()}" not in ARTIFACTS] == []
    checkpoint = written.only("outputs/a2t/capitals/*/checkpoints/tok_1")
    assert {path.name for path in checkpoint.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert written.json("outputs/a2t/capitals/*/run.json")["config"].keys() <= fields("The `config` object").keys()


def test_fields_of_a_sweep(written: Written, tiny_model_folder: Path, tmp_path: Path) -> None:
    config = SweepConfig(
        root=tmp_path,
        model_id=str(tiny_model_folder),
        training_methods=("tok",),
        datasets=("capitals",),
        num_train_examples=(4,),
        num_generated_tokens=(2,),
        num_train_epochs=1,
        max_failures=1,
    )
    (tmp_path / "data").symlink_to(written.root / "data")
    sweep(config)
    with pytest.raises(MachineError):
        sweep(config.model_copy(update={"datasets": ("capitals", "unknown"), "lrs": (1e-4, 1e-3)}))
    summaries = [json.loads(file.read_text(encoding="utf-8")) for file in (tmp_path / "outputs/sweeps").iterdir()]
    check_fields("The summary", *summaries)
    stated = fields("The summary")["jobs[].status"]
    assert set(re.findall(r"`(\w+)`", stated)) == set(get_args(End))


def test_fields_of_a_configuration() -> None:
    named = fields("The `config` object")
    applicable = [
        TrainConfig(training_method=method, ldr_mode=low_data, shuffle_demos=not low_data).relevant_fields().keys()
        for method in METHODS
        for low_data in (False, True)
    ]
    assert named.keys() == set().union(*applicable)
    always = {name for name, when in named.items() if when.startswith("always")}
    assert always == set.intersection(*map(set, applicable))


def test_fields_of_a_record(written: Written) -> None:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in written.records()]
    assert {record["kind"] for record in records} == {"base", "adapter"}
    check_fields("The record", *records)


def test_columns_of_the_examples(written: Written) -> None:
    named = list(fields("The examples"))
    uncertain = named[named.index("gold_rank") : named.index("seconds") + 1]
    for path in written.records():
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = set() if record["eval"]["uncertainty_analysis"] else set(uncertain)
        missing |= set() if record["labels"] else {"label_confidence", "gold_label_log_prob"}
        expected = [name for name in named if name not in missing]
        assert list(pd.read_parquet(path.with_suffix(".parquet")).columns) == expected


def test_fields_of_a_comparison(written: Written) -> None:
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in written.root.glob("outputs/similarity/*/*/[!.]*.json")
    ]
    assert {one["method"] for one in found} == {"base", "teacher", "act", "a2t"}
    check_fields("The comparison", *found)
    check_fields("The responses", written.json("outputs/responses/*/manifest.json"))
    for path in written.root.glob("outputs/similarity/*/*/[!.]*.parquet"):
        assert list(pd.read_parquet(path).columns) == list(fields("The cosines"))


def test_fields_of_a_pair(written: Written) -> None:
    check_fields("The pair", written.json("outputs/subspace/capitals/*.json"))
    rows = pd.read_parquet(written.only("outputs/subspace/capitals/*.parquet"))
    assert list(rows.columns) == list(fields("The layers and projections"))


def test_every_file_of_the_rooms_has_its_line() -> None:
    """The line is the first paragraph of the module's docstring."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    package = DOCS.parent / "src" / "ia2"
    rooms = ("prompts", "models", "training", "evaluation", "analysis", "commands", "store", "sources", "config")
    files = [file for room in rooms for file in (package / room).rglob("*.py") if file.name != "__init__.py"]
    for file in (*files, *(package / f"{name}.py" for name in ("methods", "errors", "cli"))):
        about = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
        name = "/".join(file.relative_to(package).parts[1:]) or file.name
        assert f"[`{name}`](../{file.relative_to(DOCS.parent)}) | {' '.join(about.split())} |" in page, file
