"""How alike the activations of two models are, on the responses of one teacher: outputs/similarity/.

All that is compared with one teacher is read together, a part of the examples at a time: each model's activations at
them are made once, and held only while a comparison needs them. Cosines go to disk as they come, so memory does not
grow with the number of examples. A comparison's JSON is written last: one that can be found is whole.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet
from torch import Tensor
from tqdm import tqdm

from ia2 import store
from ia2.analysis.activations import Turn, cosines, forced_activations, most_held, turns
from ia2.analysis.comparisons import ComparedModel, Comparison
from ia2.analysis.cosine_means import Mean, mean_over_examples, mean_over_layers, mean_over_tokens
from ia2.analysis.shared_prompts import TOKENS, SharedPrompts, read_shared_prompts, responses_folder
from ia2.config import absolute_model_id
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSpec
from ia2.models.adapters import saved_adapter
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel, parts_on_disk
from ia2.models.model_files import changed_parts
from ia2.report.reading import Problem
from ia2.report.similarities import SCHEMA, read_similarity

ACTIVATION_BYTES = 256 * 2**20
"""So much memory is held in activations at most, unless those of a single example take more."""
ROWS = pa.schema([("idx", pa.int64()), ("layer", pa.int32()), ("token", pa.int32()), ("cosine", pa.float32())])


STANDS, MISSING = "stands", "missing"


def state_of(root: Path, comparison: Comparison, revision: str) -> str:
    """STANDS, MISSING, or why it is to be made again: damaged, or resting on what has changed since.

    It rests on adapters, data, responses and the base model (`revision`). UserError where one of something else has its
    name, since two models can be called the same.
    """
    path, model_id = comparison.path(root), comparison.asked.model_id
    if not path.exists():
        return MISSING
    if isinstance(found := read_similarity(path), Problem):
        return f"it is damaged: {found.reason}"
    try:
        known = store.read_object(path)
        wanted = {**comparison.rests_on(root), "base_revision": revision, **_responses_on_disk(root, known)}
        changed = [name for name, value in wanted.items() if known[name] != value]
        base, was = known.get("base", {}).get("parts"), absolute_model_id(known["model_id"])
    except (UserError, KeyError, TypeError, AttributeError):
        return "the JSON is damaged"
    if was != model_id:
        raise UserError(f"{path} is of model_id={was!r}, not {model_id!r}; rename one of them, or use another --root")
    changed += changed_parts(base, parts_on_disk(model_id))
    return f"{', '.join(changed)} is not that of the files that are there" if changed else STANDS


def _responses_on_disk(root: Path, known: Mapping[str, Any]) -> dict[str, str]:
    """The digest of the responses that a comparison rests on, if they are still there."""
    folder = responses_folder(root, known["responses"])
    with store.file_lock(folder):
        return {"responses_sha256": store.file_digest(folder / TOKENS)} if (folder / TOKENS).exists() else {}


# Making them


@dataclass(frozen=True)
class Comparing:
    """The base model, the padded tokens of one batch at most, and the command line that asked for it."""

    lm: LanguageModel
    token_budget: int | None
    command: str


def check_student(side: ComparedModel, lm: LanguageModel) -> None:
    """UserError where the run's adapter belongs to another base model, or cannot be loaded."""
    if side.trained is not None:
        side.trained.check_base(lm)
        with saved_adapter(lm.model, side.trained.folder):
            pass


def place_of(root: Path, asked: EvaluationSpec) -> Path:
    """What is locked while comparisons with one teacher are made; nothing ever lies there."""
    return root / "outputs" / "similarity" / store.value_digest(asked.response_fields)


def compare(root: Path, comparisons: Sequence[Comparison], how: Comparing) -> None:
    """Make comparisons that share what is asked. To be called under the lock of `place_of`."""
    asked = comparisons[0].asked
    place = place_of(root, asked)
    names = {side.name for one in comparisons for side in one.sides}
    scene = read_shared_prompts(root, asked, names, how.lm, how.token_budget)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.{os.getpid()}-", suffix=".tmp", dir=place.parent) as folder:
        files = [Path(folder) / f"{number}.parquet" for number in range(len(comparisons))]
        with ExitStack() as stack:
            tables = [stack.enter_context(_table(path)) for path in files]
            _Pass(scene, comparisons, tables, how).make()
        for comparison, file in zip(comparisons, files, strict=True):
            _move(file, comparison.path(root))
    for comparison, table in zip(comparisons, tables, strict=True):  # last of all: nothing is left behind a whole one
        content = {**_described(root, comparison), **table.outcome(), **scene.provenance}
        more: dict[str, object] = {"base_revision": how.lm.revision, "base": how.lm.description, "command": how.command}
        path = comparison.path(root)
        with store.file_lock(path.with_suffix("")):
            more["rows_sha256"] = store.file_digest(path.with_suffix(".parquet"))
            store.write_object(path, {**content, **more})


class _Pass:
    """One reading of every model at every response."""

    def __init__(
        self, scene: SharedPrompts, comparisons: Sequence[Comparison], tables: Sequence["_Table"], how: Comparing
    ) -> None:
        self.scene = scene
        self.tables = tables
        self.how = how
        self.sides = {side.key: side for one in comparisons for side in one.sides}
        self.pairs = [(one.student.key, one.reference.key) for one in comparisons]
        self.order = turns(list(self.sides), self.pairs)

    def make(self) -> None:
        config, dtype = self.how.lm.model.config, self.how.lm.model.dtype
        bytes_of_token = config.num_hidden_layers * config.hidden_size * dtype.itemsize * most_held(self.order)
        parts = list(self.scene.parts(ACTIVATION_BYTES // bytes_of_token))
        for part in tqdm(parts, desc="similarity", unit="part", leave=False, disable=None):
            self._compare(part)

    def _compare(self, part: slice) -> None:
        idx, lengths = self.scene.idx[part], [len(response) for response in self.scene.responses[part]]
        held: dict[str, Tensor] = {}
        for turn in self.order:
            held[turn.model] = self._activations(turn, part)
            for pair in turn.pairs:
                one, other = self.pairs[pair]
                self.tables[pair].add(idx, lengths, cosines(held[one], held[other]).cpu().numpy())
            for model in turn.done:
                del held[model]

    def _activations(self, turn: Turn, part: slice) -> Tensor:
        """[L, M, D] of one model at the responses of a part of the examples."""
        side, model = self.sides[turn.model], self.how.lm.model
        with ExitStack() as stack:
            attached = stack.enter_context(saved_adapter(model, side.trained.folder)) if side.trained else model
            hooked = HookedModel(attached)
            return forced_activations(hooked, self.scene.examples(side, part), self.how.token_budget)


# What is written


@dataclass
class _Table:
    """Rows that go to disk as they come; what stays is one mean for each example and layer."""

    writer: parquet.ParquetWriter
    num_tokens: int = 0
    means: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def add(self, idx: Sequence[int], lengths: Sequence[int], found: npt.NDArray[np.float32]) -> None:
        """The cosines [L, M] of n examples with responses of `lengths` tokens, M together."""
        num_layers, tokens = len(found), np.concatenate([np.arange(length) for length in lengths])
        columns = {
            "idx": np.repeat(np.repeat(idx, lengths), num_layers),
            "layer": np.tile(np.arange(num_layers), len(tokens)),
            "token": np.repeat(tokens, num_layers),
            "cosine": found.T.ravel(),
        }
        self.writer.write_table(pa.table(columns, schema=ROWS))
        self.means.append(mean_over_tokens(found, lengths))
        self.num_tokens += len(tokens)

    def outcome(self) -> dict[str, Any]:
        """What all examples come to."""
        means = np.concatenate(self.means)
        whole, layers = mean_over_examples(mean_over_layers(means)), map(mean_over_examples, means.T)
        return {
            "num_examples": len(means),
            "num_tokens": self.num_tokens,
            "num_layers": means.shape[1],
            "mean": _known(whole.mean),
            "sd": _known(whole.sd),
            "layers": [_layer(number, mean) for number, mean in enumerate(layers)],
        }


def _layer(number: int, mean: Mean) -> dict[str, Any]:
    return {"layer": number, "cosine": _known(mean.mean), "sd": _known(mean.sd), "n": mean.n}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


@contextmanager
def _table(path: Path) -> Iterator[_Table]:
    with parquet.ParquetWriter(path, ROWS) as writer:
        yield _Table(writer)


def _described(root: Path, comparison: Comparison) -> dict[str, Any]:
    """Who was compared with whom, on what."""
    student, reference = comparison.sides
    return {
        "schema": SCHEMA,
        "method": student.name,
        "reference": reference.name,
        "trained_dataset": comparison.trained_dataset,
        **comparison.asked.response_fields,
        "run": _config(student),
        "reference_run": _config(reference),
        "shows_demonstrations": student.shows_demonstrations,
        **comparison.rests_on(root),
    }


def _config(side: ComparedModel) -> dict[str, Any] | None:
    return None if side.trained is None else dict(side.trained.description["config"])


def _move(rows: Path, path: Path) -> None:
    """Move the rows to their place beside the JSON; one that stood before must not stand beside the new rows."""
    with store.file_lock(path.with_suffix("")):
        path.unlink(missing_ok=True)
        with store.atomic_write(path.with_suffix(".parquet")) as temporary:
            rows.replace(temporary)
