"""What goes wrong with one record stops no other, and what is stopped goes on where it was."""

import dataclasses
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from described import describe
from ten_runs import NUM_RECORDS, Answers, Ten, assert_same_answers, rows_of
from tiny_runs import assert_whole, files_of, leftovers, results

from ia2 import cli, store
from ia2.commands import evaluate as flow
from ia2.commands.evaluate import evaluate
from ia2.errors import MachineError, UserError
from ia2.models.loading import ModelCache


@pytest.fixture
def here(ten: Ten, tmp_path: Path) -> Ten:
    return ten.copied(tmp_path / "root")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def described_as(folder: Path, part: str, **changes: Any) -> None:
    described = store.read_object(folder / "run.json")
    describe(folder, {**described, part: {**described[part], **changes}})


def of_another_base(folder: Path) -> None:
    """Weights of another digest: a base model is known by its parts, wherever it is and whatever it is called."""
    parts = store.read_object(folder / "run.json")["base"]["parts"]
    described_as(folder, "base", parts={**parts, "weights": "other"})


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights cut": (lambda folder: cut(folder / "adapter_model.safetensors"), "safetensors is damaged"),
    "weights gone": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "adapter_model.safetensors is missing",
    ),
    "config cut": (lambda folder: cut(folder / "run.json"), "is not valid JSON"),
    "adapter config cut": (lambda folder: cut(folder / "adapter_config.json"), "adapter_config.json is damaged"),
    "another base": (of_another_base, "whose weights are not those of the"),
}


@dataclasses.dataclass(frozen=True)
class Told:
    """What a command said: its last line, and the failures of the summary."""

    code: int
    line: str
    summary: list[str]


@pytest.fixture
def tell(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], Told]:
    def told(command: list[str]) -> Told:
        caplog.clear()
        code = cli.main(command)
        errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        return Told(code, capsys.readouterr().err.strip(), errors)

    return told


RARE = ("weights gone", "adapter config cut", "another base")


@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=pytest.mark.slow) if one in RARE else one for one in DAMAGES]
)
def test_a_damaged_adapter_stops_no_other(
    here: Ten, together: Answers, damage: str, tell: Callable[[list[str]], Told]
) -> None:
    folder, (spoil, says) = here.run("ia3-tok"), DAMAGES[damage]
    spoil(folder)
    told = tell(here.command)
    assert told.code == 1
    assert told.line.startswith(f"ia2: 1 of {NUM_RECORDS} records could not be made, the others stand; {folder}: ")
    assert says in told.line
    (summary,) = told.summary
    assert summary.startswith(str(folder))
    assert says in summary
    made = rows_of(here.records)
    assert len(made) == NUM_RECORDS - 1
    assert_same_answers(made, {name: rows for name, rows in together.items() if name in made})
    assert leftovers(here.root) == []
    before = {path: path.stat().st_mtime_ns for path in here.records}
    assert tell(here.command).code == 1
    assert {path: path.stat().st_mtime_ns for path in here.records} == before


def test_one_failure_and_nothing_else_is_told_as_it_is(here: Ten) -> None:
    of_another_base(here.run("ia3-tok"))
    with pytest.raises(UserError, match="was trained on"):
        evaluate(here.config("ia3-tok", run_indices=(0,)), ModelCache())
    of_another_base(here.run("ia3-tok", 1))
    with pytest.raises(MachineError, match="2 of 2 records could not be made"):
        evaluate(here.config("ia3-tok"), ModelCache())


def test_a_base_that_is_gone_stops_no_other(here: Ten, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IA2_MODEL_ID", raising=False)
    described_as(here.run("act", 0), "config", model_id="/no/such/model")
    with pytest.raises(MachineError, match=r"1 of 2 records .*model_id='/no/such/model' could not be loaded"):
        evaluate(here.config("act", model_id=None), ModelCache())
    assert [path.stem.startswith("tiny-llama") for path in here.records] == [True]


@pytest.mark.parametrize("where", ["ia2.models.loading.load_model", "ia2.commands.evaluate.evaluate_run"])
def test_memory_that_runs_out_elsewhere_is_told(here: Ten, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(where, fail)
    with pytest.raises(MachineError, match="out of memory on the device 'auto'; use another --device"):
        evaluate(here.config("act"), ModelCache())


def test_memory_that_one_record_lacks_stops_no_other(here: Ten, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, make = list[int](), flow.evaluate_run

    def fail_first(*arguments: Any) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 1:
            raise MachineError("out of memory: a single prompt does not fit")
        return make(*arguments)

    monkeypatch.setattr(flow, "evaluate_run", fail_first)
    with pytest.raises(MachineError, match=r"1 of 2 records could not be made, .*: out of memory: a single prompt"):
        evaluate(here.config("act"), ModelCache())
    assert len(here.records) == 1


def test_a_mistake_of_ours_is_not_hidden(here: Ten, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes")

    monkeypatch.setattr(flow, "evaluate_run", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        evaluate(here.config("act"), ModelCache())


def test_a_record_of_another_model_stops_no_other(here: Ten) -> None:
    """Two models can be called the same; what is there stays as it is."""
    (path,) = evaluate(here.config("act", run_indices=(0,)), ModelCache())
    record = json.loads(path.read_text(encoding="utf-8"))
    store.write_object(path, {**record, "eval": {**record["eval"], "model_id": "org/tiny-llama"}})
    before = files_of(here.root)
    with pytest.raises(MachineError, match=rf"1 of 2 records .*{re.escape(str(path))} is of model_id='org/"):
        evaluate(here.config("act"), ModelCache())
    after = files_of(here.root)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == {str(here.run("act", 1).relative_to(here.root) / "README.md")}  # its card, of the record made
    assert len(after) == len(before) + 2


# Stopped, and gone on with


def test_an_interrupt_leaves_what_is_finished(
    here: Ten, monkeypatch: pytest.MonkeyPatch, tell: Callable[[list[str]], Told]
) -> None:
    asked, make = list[int](), flow.evaluate_run

    def stop_at_the_third(*arguments: Any) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return make(*arguments)

    monkeypatch.setattr(flow, "evaluate_run", stop_at_the_third)
    told = tell(here.command)
    assert told.code == 130
    assert "the same command goes on from there" in told.line
    assert len(here.records) == 2
    assert_whole(here.root)
    assert leftovers(here.root) == []
    assert tell(here.command).code == 0
    assert len(asked) == NUM_RECORDS + 1  # the third again, and none of the first two


def test_what_another_evaluation_makes_meanwhile_is_not_made_again(here: Ten, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, make, config = list[int](), flow.evaluate_run, here.config("act", "tok", "base", eval_with_icl=False)

    def another_first(*arguments: Any) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 1:
            evaluate(config, ModelCache())
        return make(*arguments)

    monkeypatch.setattr(flow, "evaluate_run", another_first)
    paths = evaluate(config, ModelCache())
    assert len(asked) == len(paths) + 1, "all by the other one, and the one that we were at"
    assert_whole(here.root)


def recorded(here: Ten) -> dict[str, Any]:
    return {
        name: json.dumps(value, default=str)
        for name, value in results(here.root).items()
        if name.startswith("outputs/evaluations") and not name.endswith("parquet")
    }


def test_a_record_that_was_cut_is_made_again(here: Ten, caplog: pytest.LogCaptureFixture) -> None:
    """Whether its JSON or its examples are cut, empty or gone; with one warning each, and to the same content."""
    config = here.config("act", "tok", "base", eval_with_icl=False)
    paths = evaluate(config, ModelCache())
    expected, answers = recorded(here), rows_of(paths)
    cut(paths[0])
    cut(paths[1].with_suffix(".parquet"))
    paths[2].with_suffix(".parquet").unlink()
    paths[3].with_suffix(".parquet").write_bytes(b"")
    untouched = {path: path.stat().st_mtime_ns for path in paths[4:]}
    caplog.clear()
    assert evaluate(config, ModelCache()) == paths
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert [str(path.with_suffix("")) in told for path, told in zip(paths, warnings, strict=False)] == [True] * 4
    assert len(warnings) == 4
    assert recorded(here) == expected
    assert_same_answers(rows_of(paths), answers)
    assert {path: path.stat().st_mtime_ns for path in paths[4:]} == untouched
