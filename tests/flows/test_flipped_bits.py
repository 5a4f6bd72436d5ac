"""One bit flipped in a store: whatever it changes is named, and no number or answer of it is believed.

A small store is made once. Each flip is made in a copy of it, in which the commands then run that read the file. What
a command shows has to be what it shows of the undamaged store, or less; where it is less, and where a file was made
again, the damaged one is named.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from tiny_runs import evaluation, training
from undrawn import draw_nothing

from ia2 import store
from ia2.commands.evaluate import evaluate
from ia2.commands.predict import predict_from
from ia2.commands.similarity import similarity
from ia2.commands.subspace import subspace
from ia2.commands.train import train
from ia2.config import PredictConfig, ReportConfig, ResultsConfig, SimilarityConfig, SubspaceConfig
from ia2.errors import MachineError, UserError
from ia2.flows.reporting import write_report
from ia2.flows.results import gather
from ia2.models.loading import ModelCache

ACT = "outputs/act/capitals/[!.]*"
A2T = "outputs/a2t/capitals/[!.]*"


@dataclass(frozen=True)
class Store:
    """A root, the base model of its runs, and the models in memory."""

    root: Path
    model: Path
    models: ModelCache

    def only(self, pattern: str) -> Path:
        (path,) = self.root.glob(pattern)
        return path


# What commands show, as a set of things of which a damaged store may show fewer


def results(there: Store) -> set[Any]:
    table = pd.read_csv(gather(ResultsConfig(root=there.root)))
    return set(table[["record", "metric", "value"]].itertuples(index=False, name=None))


def report(there: Store) -> set[Any]:
    page = write_report(ReportConfig(root=there.root)).read_text(encoding="utf-8")
    return {page}


def predictions(there: Store) -> set[Any]:
    config = PredictConfig(adapter=there.only(ACT), text="France")
    return set(predict_from(config, there.models))


def records(there: Store) -> set[Any]:
    paths = evaluate(evaluation(there.root, there.model, eval_with_icl=True), there.models)
    found = {path: store.read_object(path) for path in paths if path.exists()}
    return {(path.name, name, value) for path, record in found.items() for name, value in record["metrics"].items()}


def continued(there: Store) -> set[Any]:
    """A second phase that is trained from the first."""
    shutil.rmtree(there.only(A2T))
    train(training(there.root, there.model, training_method="a2t"), there.models)
    return {
        (path.parent.parent.parent.name, path.read_bytes()) for path in there.root.glob("outputs/*/*/*/*.safetensors")
    }


def another_rate(there: Store) -> set[Any]:
    """A run that needs the data and the targets."""
    folder = train(training(there.root, there.model, lr=0.02), there.models)
    return {(folder / "adapter_model.safetensors").read_bytes()}


def similarities(there: Store) -> set[Any]:
    paths = similarity(SimilarityConfig(root=there.root, num_eval_examples=3), there.models)
    return {(path.name, str(store.read_object(path)["layers"])) for path in paths}


def similarities_anew(there: Store) -> set[Any]:
    """The comparisons, made again on the responses that are there."""
    shutil.rmtree(there.root / "outputs" / "similarity")
    return similarities(there)


def overlaps(there: Store) -> set[Any]:
    paths = subspace(SubspaceConfig(root=there.root))
    return {(path.name, pd.read_parquet(path.with_suffix(".parquet")).to_csv()) for path in paths}


Command = Callable[[Store], set[Any]]
OF_A_RUN: tuple[Command, ...] = (results, report, predictions, records, similarities, overlaps, continued)
KINDS: dict[str, tuple[Command, ...]] = {
    "data/capitals/main.json": (records, another_rate),
    "data/capitals/train/4_0.json": (records, another_rate),
    "outputs/targets/[!.]*/manifest.json": (report, another_rate),
    "outputs/targets/[!.]*/tokens.safetensors": (report, another_rate),
    "outputs/targets/[!.]*/activations.safetensors": (report, another_rate),
    f"{ACT}/run.json": OF_A_RUN,
    f"{ACT}/adapter_config.json": OF_A_RUN,
    f"{ACT}/adapter_model.safetensors": OF_A_RUN,
    f"{ACT}/final_loss_statistics.json": OF_A_RUN,
    f"{ACT}/history.jsonl": OF_A_RUN,
    "outputs/evaluations/act/capitals/[!.]*.json": (results, report, records),
    "outputs/evaluations/act/capitals/[!.]*.parquet": (results, report, records),
    "outputs/evaluations/base/[!.]*.json": (results, report, records),
    "outputs/evaluations/base/[!.]*.parquet": (results, report, records),
    "outputs/similarity/act/capitals/[!.]*_vs_teacher__*.json": (report, similarities),
    "outputs/similarity/act/capitals/[!.]*_vs_teacher__*.parquet": (report, similarities),
    "outputs/responses/[!.]*/manifest.json": (similarities_anew,),
    "outputs/responses/[!.]*/tokens.safetensors": (similarities_anew,),
    "outputs/subspace/capitals/[!.]*.json": (report, overlaps),
    "outputs/subspace/capitals/[!.]*.parquet": (report, overlaps),
}
"""A kind of file -> the commands that read it, the ones that make files again last."""
COMMANDS = tuple(dict.fromkeys(command for commands in KINDS.values() for command in commands))


@dataclass(frozen=True)
class Undamaged:
    """The store as it was made, and what each command shows of it."""

    kept: Path
    store: Store
    shown: dict[Command, set[Any]]

    def restored(self) -> Store:
        shutil.rmtree(self.store.root, ignore_errors=True)
        shutil.copytree(self.kept, self.store.root)
        return self.store


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[Undamaged]:
    folder = tmp_path_factory.mktemp("flips")
    there = Store(folder / "root", tiny_model_folder, ModelCache())
    train(training(there.root, there.model, training_method="a2t"), there.models)
    for command in (records, similarities, overlaps):
        command(there)
    there.root.rename(folder / "kept")
    made = Undamaged(folder / "kept", there, {})
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch.setattr)  # a page is compared by its words and numbers
        for command in COMMANDS:
            made.shown[command] = command(made.restored())
        yield made


def flip(path: Path, random: Random) -> str:
    """Flip one bit, and return which."""
    content = bytearray(path.read_bytes())
    place, bit = random.randrange(len(content)), random.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place} of {path}"


def check(undamaged: Undamaged, pattern: str, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    there, named = undamaged.restored(), False
    path = there.only(pattern)
    key = path.read_bytes().rfind(b'"sha256"') if pattern.startswith("data/") else -1
    flipped = flip(path, Random(seed))
    # data whose key `sha256` became another are whole, and read as those without one, which people write
    lost_its_digest = key >= 0 and path.read_bytes()[key : key + 8] != b'"sha256"'
    for command in KINDS[pattern]:
        caplog.clear()
        try:
            shown, error = command(there), ""
        except (UserError, MachineError) as failure:
            shown, error = set(), str(failure)
        told = caplog.text + error
        names_it = any(name in told for name in (path.name, str(path.parent)))
        named = named or names_it
        wrong = shown - undamaged.shown[command]
        if command is report and names_it:
            wrong = {page for page in wrong if path.name not in page and path.parent.name not in page}
        assert not wrong, f"{command.__name__} believes {flipped}: {str(wrong)[:500]}"
        assert shown == undamaged.shown[command] or names_it, f"{command.__name__} does not name {flipped}: {told}"
    assert named or lost_its_digest, f"nothing names {flipped}"


@pytest.mark.parametrize("pattern", KINDS)
def test_a_flipped_bit_is_named(undamaged: Undamaged, pattern: str, caplog: pytest.LogCaptureFixture) -> None:
    check(undamaged, pattern, 0, caplog)


@pytest.mark.parametrize("command", [report, records, another_rate])
def test_the_versions_that_made_data_decide_nothing(undamaged: Undamaged, command: Command) -> None:
    there = undamaged.restored()
    flip(there.only("data/capitals/provenance.json"), Random(0))
    assert command(there) == undamaged.shown[command]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_of_200_flipped_bits_none_is_believed(undamaged: Undamaged, caplog: pytest.LogCaptureFixture) -> None:
    patterns = list(KINDS)
    for seed in range(200):
        check(undamaged, patterns[seed % len(patterns)], seed + 1, caplog)
