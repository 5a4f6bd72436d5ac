"""Similarity of activations: two models on the responses of one teacher, from the models to frames.

Different models are only comparable on the same tokens, so the teacher's responses are fed to every model after that
model's own prompt (method.md, trap 25: after the first token of free-running answers, different tokens would be
compared). All that is compared with one teacher is computed together, a part of the examples at a time: activations of
each model are computed once, and held only while a comparison needs them. Cosines go to disk as they come, so memory
does not grow with the number of examples.

An example counts the same however long its response is: its tokens are averaged first. `n` is always a number of
examples, `sd` the standard deviation over them (ddof 1). A cosine is not defined, and NaN, where an activation is zero;
it enters no average.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, WrapValidator
from tqdm import tqdm

from ia2 import store
from ia2.analysis.pairing import name_beside, pairs
from ia2.config import ModelId, PathPart, StoredRun, path_part
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSpec, read_evaluation_set, with_demonstrations
from ia2.methods import BASE, OTHER_DEMONSTRATIONS, TEACHER
from ia2.store.measurements import Examined, Measurement, examine, read_rows, read_whole, why_stale, write_measured

if TYPE_CHECKING:  # reports read the records below and never import torch: a function that needs a model imports it
    from torch import Tensor

    from ia2.models.hooked_model import HookedModel
    from ia2.models.loading import LanguageModel
    from ia2.prompts.prompt import TokenizedExample
    from ia2.training.trained_run import TrainedRun

log = logging.getLogger(__name__)

SCHEMA = 2
ROWS = pa.schema([("idx", pa.int64()), ("layer", pa.int32()), ("token", pa.int32()), ("cosine", pa.float32())])
MISSING = "missing"
RESPONSE_FORMAT = 1
TOKENS = "tokens.safetensors"
ACTIVATION_BYTES = 256 * 2**20
"""Most memory that activations take at once, unless those of a single example take more."""

Floats = npt.NDArray[np.float64]

# The record, and its frames


OrNan = WrapValidator(lambda value, validate: math.nan if value is None else validate(value))
"""null in the JSON: not defined."""
Cosine = Annotated[float, Field(ge=-1.000001, le=1.000001), OrNan]


class LayerMean(BaseModel):
    """Mean of one layer over all examples."""

    model_config = ConfigDict(frozen=True)

    layer: int
    cosine: Cosine
    sd: Annotated[float, OrNan]
    n: int


class Similarity(Measurement):
    """One comparison: outputs/similarity/{method}/{dataset}/{name}.json, its cosines in the parquet beside it.

    `method` is the student: a training method, `base` (the untrained student: the floor), or `teacher` (the base model
    with demonstrations, compared with other demonstrations: the ceiling that another draw of demonstrations leaves).
    `reference` is `teacher`, `other_demonstrations` (a teacher shown others) or another method, of which each pair is
    compared once, under the one that comes first in METHODS; `reference_run` is then the other's configuration.
    """

    method: str
    reference: str
    trained_dataset: PathPart
    eval_dataset: PathPart
    icl_source_dataset: PathPart
    icl_max_demos: int
    num_train_examples: int
    run_idx: int
    num_generated_tokens_eval: int
    model_id: ModelId
    torch_dtype: str
    icl_pool: str
    stop: str
    num_eval_examples: int | None
    chat_template: bool
    run: StoredRun | None
    reference_run: StoredRun | None
    shows_demonstrations: bool
    num_examples: int
    num_tokens: int
    num_layers: int
    mean: Cosine
    sd: Annotated[float, OrNan]
    layers: tuple[LayerMean, ...]
    base_revision: str
    adapter_sha256: str | None
    reference_adapter_sha256: str | None
    eval_sha256: str
    split_sha256: str
    source_sha256: str
    responses: PathPart
    responses_sha256: str
    command: str = ""

    def check_rows(self, rows: pq.ParquetFile) -> None:
        """Raise ValueError where there is not a row for each layer and token."""
        if rows.metadata.num_rows != self.num_layers * self.num_tokens:
            raise ValueError(f"{self.num_layers} layers of {self.num_tokens} tokens, but {rows.metadata.num_rows} rows")

    def rows(self) -> pd.DataFrame:
        """Every cosine: idx, layer, token (counted from 0 in the response), cosine."""
        frame: pd.DataFrame = read_rows(self.parquet, ROWS.names).to_pandas().astype({"cosine": float})
        return frame

    def by_layer(self) -> pd.DataFrame:
        """layer, cosine, sd, n: the mean over tokens, then over examples. From the JSON: no parquet is read."""
        return pd.DataFrame([one.model_dump() for one in self.layers], columns=["layer", "cosine", "sd", "n"])

    def by_token(self) -> pd.DataFrame:
        """token, cosine, sd, n: the mean over layers, then over the n examples whose response has that token."""
        return self._means(["token"])

    def by_layer_and_token(self) -> pd.DataFrame:
        """layer, token, cosine, sd, n: the mean over the n examples whose response has that token."""
        return self._means(["layer", "token"])

    def _means(self, keys: list[str]) -> pd.DataFrame:
        """Within each example first, so that each counts the same."""
        of_examples = self.rows().groupby([*keys, "idx"], sort=True)["cosine"].mean()
        grouped = of_examples.groupby(level=keys, sort=True)
        return pd.DataFrame({"cosine": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.count()}).reset_index()

    def per_example(self) -> pd.DataFrame:
        """idx, cosine, num_tokens: the mean over the layers and tokens of each example."""
        frame = self.rows()
        means = frame.groupby(["idx", "layer"], sort=True)["cosine"].mean().groupby(level="idx").mean()
        return pd.DataFrame({"cosine": means, "num_tokens": frame.groupby("idx")["token"].max() + 1}).reset_index()


def examine_similarities(root: Path) -> Examined[Similarity]:
    """Every comparison below `root`, and the files that are not whole; UserError where one is newer than this."""
    return examine((root / "outputs" / "similarity").glob("*/*/*.json"), Similarity, SCHEMA)


# Who is compared with whom


@dataclass(frozen=True)
class ComparedModel:
    """One of the two: a run, by its method, or the base model as BASE, TEACHER or OTHER_DEMONSTRATIONS."""

    name: str
    trained: TrainedRun | None = None

    @property
    def key(self) -> str:
        """The same for equal models alone."""
        return str(self.trained.folder) if self.trained else self.name


@dataclass(frozen=True)
class Comparison:
    """Two models, student and reference, on the responses of the teacher that `asked` describes."""

    asked: EvaluationSpec
    models: tuple[ComparedModel, ComparedModel]

    @property
    def trained_dataset(self) -> str:
        """Dataset that the student was trained on; for the base model the one that demonstrations come from."""
        run = self.models[0].trained
        return run.config.dataset if run else self.asked.icl_source_dataset

    def path(self, root: Path) -> Path:
        """The JSON of its record."""
        student, reference = self.models
        name = f"{student.trained.folder.name if student.trained else self.asked.base_name}_vs_"
        if student.trained and reference.trained:
            name += name_beside(student.trained, reference.trained)
        else:
            name += reference.name
        folder = root / "outputs" / "similarity" / student.name / path_part(self.trained_dataset)
        return self.asked.existing_path(folder / f"{store.safe_filename(f'{name}__{self.asked.name}')}.json")

    def rests_on(self, root: Path) -> dict[str, str | None]:
        """sha256 of the files that decide it, but for the responses, which follow from them; None for no adapter."""
        adapters = [one.trained.folder / "adapter_model.safetensors" if one.trained else None for one in self.models]
        digests = [store.file_digest(file) if file else None for file in adapters]
        data = data_digests(root, self.asked)
        return {"adapter_sha256": digests[0], "reference_adapter_sha256": digests[1], **data}

    def reason_to_make(self, root: Path, revision: str) -> str | None:
        """MISSING, or the reason why its record is to be made again, as `why_stale`; None where it is current.

        It rests on adapters, data, responses and the base model (`revision`).
        """
        from ia2.models.loading import parts_on_disk

        def digests(content: Mapping[str, Any]) -> dict[str, str | None]:
            folder = root / "outputs" / "responses" / path_part(content["responses"])
            with store.file_lock(folder):  # responses that are gone follow from the rest
                kept = {"responses_sha256": store.file_digest(folder / TOKENS)} if (folder / TOKENS).exists() else {}
            return {**self.rests_on(root), "base_revision": revision, **kept}

        if not (path := self.path(root)).exists():
            return MISSING
        found = read_whole(path, Similarity, SCHEMA)
        return why_stale(path, found, digests, self.asked.model_id, parts_on_disk)


def data_digests(root: Path, asked: EvaluationSpec) -> dict[str, str]:
    """sha256 of the files of queries and demonstrations."""
    return {
        "eval_sha256": store.file_digest(store.pool_path(root, asked.eval_dataset)),
        "split_sha256": store.file_digest(asked.split_path(root)),
        "source_sha256": store.file_digest(store.pool_path(root, asked.icl_source_dataset)),
    }


def comparisons_with(root: Path, asked: EvaluationSpec, runs: Sequence[TrainedRun]) -> list[Comparison]:
    """Everything that is compared on the responses of one teacher.

    Where the split leaves too few examples to show other demonstrations, that control is left out, with a warning.
    """
    teacher, others = ComparedModel(TEACHER), ComparedModel(OTHER_DEMONSTRATIONS)
    references, found = [teacher, others], [(teacher, others)]
    try:
        with_demonstrations(root, read_evaluation_set(root, asked.eval_dataset, 1), asked, others=True)
    except UserError as error:
        log.warning("the control of other demonstrations is left out: %s", error)
        references, found = [teacher], []
    students = {run.folder: ComparedModel(run.config.training_method, run) for run in runs}
    found += product([ComparedModel(BASE), *students.values()], references)
    related = [pair for pair in pairs(runs) if pair.relation == "methods"]
    found += [(students[pair.one.folder], students[pair.other.folder]) for pair in related]
    return [Comparison(asked, both) for both in found]


# What they are fed


@dataclass(frozen=True)
class SharedPrompts:
    """n queries by their idx, the tokens of each response, and the examples that each of the base models is fed.

    A run is fed those of BASE: the queries alone. `provenance` is the name of the responses' folder and sha256 of their
    tokens, taken as they were read.
    """

    idx: tuple[int, ...]
    lengths: tuple[int, ...]
    examples: dict[str, list[TokenizedExample]]
    provenance: dict[str, str]

    def parts(self, most_tokens: int) -> Iterator[slice]:
        """Consecutive examples of at most `most_tokens` response tokens together, one example at least."""
        start, tokens = 0, 0
        for place, length in enumerate(self.lengths):
            if place > start and tokens + length > most_tokens:
                yield slice(start, place)
                start, tokens = place, 0
            tokens += length
        yield slice(start, len(self.lengths))


def read_shared_prompts(
    root: Path, asked: EvaluationSpec, names: set[str], lm: LanguageModel, token_budget: int | None
) -> SharedPrompts:
    """Prompts of the models of these names, and responses of the teacher, which are decoded once and kept."""
    from ia2.models.generation import GenerationConfig
    from ia2.models.hooked_model import HookedModel
    from ia2.prompts.prompt import TokenizedExample
    from ia2.training.targets import load_or_collect

    bare = read_evaluation_set(root, asked.eval_dataset, asked.num_eval_examples)
    idx = tuple(query.idx for query in bare.queries)
    if len(set(idx)) < len(idx):
        raise UserError(
            f"{store.pool_path(root, asked.eval_dataset)}: two val_examples share an idx; give each its own"
        )
    shown = {BASE: bare, TEACHER: with_demonstrations(root, bare, asked)}
    if OTHER_DEMONSTRATIONS in names:
        shown[OTHER_DEMONSTRATIONS] = with_demonstrations(root, bare, asked, others=True)
    prompt_tokenizer = lm.prompt_tokenizer(asked.chat_template)
    prompts = {name: [prompt_tokenizer.prompt(prompt) for prompt in asks.prompts] for name, asks in shown.items()}
    identity: dict[str, object] = {"format": RESPONSE_FORMAT, **asked.response_fields}
    del identity["torch_dtype"]  # as it was requested; `dtype` is the one that was loaded
    identity |= {"icl_max_demos": asked.num_shown, "model_id": store.short_model_name(asked.model_id)}
    identity |= {"model_revision": lm.revision, "base": {"parts": lm.parts}, "dtype": lm.dtype}
    identity |= data_digests(root, asked)
    folder = root / "outputs" / "responses" / store.value_digest(identity)
    with store.file_lock(folder):  # so that the digest is of what was read
        responses = load_or_collect(
            folder,
            identity,
            {"tokens"},
            hooked=HookedModel(lm.model),
            prompts=prompts[TEACHER],
            # Of no use where the responses exist, and a stopper reads the texts of all tokens
            how=lambda: GenerationConfig(
                asked.num_generated_tokens_eval, lm.stopper(asked.stop, asked.chat_template), token_budget
            ),
        ).responses
        provenance = {"responses": folder.name, "responses_sha256": store.file_digest(folder / TOKENS)}
    examples = {
        name: [TokenizedExample(*both) for both in zip(own, responses, strict=True)] for name, own in prompts.items()
    }
    return SharedPrompts(idx, tuple(map(len, responses)), examples, provenance)


# Cosines


def forced_activations(hooked: HookedModel, examples: Sequence[TokenizedExample], token_budget: int | None) -> Tensor:
    """Activations [L, M, D] at the M answer positions of all examples, in their order and in the model's dtype.

    Long demonstrations that many prompts begin with are read once. UserError where an example does not fit the model's
    context.
    """
    import torch

    from ia2.models.generation import teacher_forced

    found: dict[int, Tensor] = {}
    for rows, _, activations in teacher_forced(hooked, examples, token_budget, activations=True):
        assert activations is not None
        lengths = [len(examples[row].response) for row in rows]
        found.update(zip(rows, activations.split(lengths, dim=1), strict=True))
    return torch.cat([found[row] for row in range(len(examples))], dim=1)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosine [L, M] of each pair of activations [L, M, D], in float32 whatever theirs is; NaN where one is zero."""
    import torch

    found = []
    for pair in zip(first.split(1), second.split(1), strict=True):  # a layer at a time, to hold no copy of all
        one, other = (layer.float() for layer in pair)
        norms = torch.linalg.vector_norm(one, dim=-1) * torch.linalg.vector_norm(other, dim=-1)
        found.append((one * other).sum(dim=-1) / norms)
    return torch.cat(found)


def reading_order(pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, int], int]:
    """Models in the order in which they are read, each with the turn of its last pair, and the most held at once."""
    turn = {model: number for number, model in enumerate(dict.fromkeys(model for pair in pairs for model in pair))}
    last = {model: max(max(turn[one], turn[other]) for one, other in pairs if model in (one, other)) for model in turn}
    return last, max(sum(turn[model] <= now <= last[model] for model in turn) for now in turn.values())


def pairwise_cosines(
    lm: LanguageModel, shared: SharedPrompts, comparisons: Sequence[Comparison], token_budget: int | None
) -> Iterator[tuple[int, slice, npt.NDArray[np.float32]]]:
    """The cosines [L, M] of each comparison, by its number, at each part of the examples.

    Each pair is compared at the turn of its later model.
    """
    from ia2.models.adapters import saved_adapter
    from ia2.models.hooked_model import HookedModel

    models = {model.key: model for one in comparisons for model in one.models}
    pairs = [(one.models[0].key, one.models[1].key) for one in comparisons]
    (last, most_held), config = reading_order(pairs), lm.model.config
    bytes_of_token = config.num_hidden_layers * config.hidden_size * lm.model.dtype.itemsize * most_held
    parts = list(shared.parts(ACTIVATION_BYTES // bytes_of_token))
    for part in tqdm(parts, desc="similarity", unit="part", leave=False, disable=None):
        held: dict[str, Tensor] = {}
        for turn, key in enumerate(last):
            run = models[key].trained
            with saved_adapter(lm.model, run.folder) if run else nullcontext(lm.model) as model:
                examples = shared.examples[BASE if run else key][part]
                held[key] = forced_activations(HookedModel(model), examples, token_budget)
            for number, pair in enumerate(pairs):
                if key in pair and held.keys() >= {*pair}:
                    yield number, part, cosines(held[pair[0]], held[pair[1]]).cpu().numpy()
            held = {model: activations for model, activations in held.items() if last[model] > turn}


# Means


def mean_cosines(cosines: npt.ArrayLike, lengths: Sequence[int]) -> Floats:
    """Mean [n, L] of each example and layer, of `cosines` [L, M] of n responses of `lengths` tokens end to end."""
    array = np.asarray(cosines, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != sum(lengths) or min(lengths, default=0) < 1:
        raise ValueError(f"cosines: want [L, {sum(lengths)}] and no empty response, got {list(array.shape)}")
    means: Floats = pd.DataFrame(array.T).groupby(np.repeat(np.arange(len(lengths)), lengths)).mean().to_numpy()
    return means


def summary(means: npt.ArrayLike) -> dict[str, Any]:
    """Numbers of a record, of `mean_cosines` [n, L] of all examples; None where there is none.

    `mean` is over the layers of each example, then over examples; those of `layers` are over examples.
    """
    of_layers = pd.DataFrame(np.asarray(means, dtype=np.float64))
    values = of_layers.assign(whole=of_layers.mean(axis=1))
    over = pd.DataFrame({"cosine": values.mean(), "sd": values.std(ddof=1), "n": values.count()}).astype(object)
    *layers, whole = over.where(over.notna(), None).to_dict("records")
    numbers = {"num_layers": len(layers), "mean": whole["cosine"], "sd": whole["sd"]}
    return {**numbers, "layers": [{"layer": number, **layer} for number, layer in enumerate(layers)]}


# On disk


def compare(
    root: Path, comparisons: Sequence[Comparison], lm: LanguageModel, token_budget: int | None, command: str
) -> None:
    """Make the records of comparisons that share a teacher, but for those that another process has made meanwhile."""
    asked = comparisons[0].asked
    place = root / "outputs" / "similarity" / store.value_digest(asked.response_fields)  # locked, and never written
    with ExitStack() as stack:
        stack.enter_context(store.file_lock(place))
        comparisons = [one for one in comparisons if one.reason_to_make(root, lm.revision)]
        if not comparisons:
            return
        names = {model.name for one in comparisons for model in one.models}
        shared = read_shared_prompts(root, asked, names, lm, token_budget)
        files = [store.temporary_path(place, str(number)) for number in range(len(comparisons))]
        means: list[list[Floats]] = [[] for _ in comparisons]
        for file in files:
            stack.callback(store.remove, file)
        with ExitStack() as tables:
            writers = [tables.enter_context(pq.ParquetWriter(file, ROWS)) for file in files]
            for number, part, found in pairwise_cosines(lm, shared, comparisons, token_budget):
                lengths = shared.lengths[part]
                tokens = np.concatenate([np.arange(length) for length in lengths])
                columns = {
                    "idx": np.repeat(np.repeat(shared.idx[part], lengths), len(found)),
                    "layer": np.tile(np.arange(len(found)), len(tokens)),
                    "token": np.repeat(tokens, len(found)),
                    "cosine": found.T.ravel(),
                }
                writers[number].write_table(pa.table(columns, schema=ROWS))
                means[number].append(mean_cosines(found, lengths))
        for comparison, of_examples, file in zip(comparisons, means, files, strict=True):
            path, (student, reference) = comparison.path(root), comparison.models
            runs = [one.trained.description["config"] if one.trained else None for one in comparison.models]
            content = {
                **{"schema": SCHEMA, "method": student.name, "reference": reference.name},
                **{"trained_dataset": comparison.trained_dataset, **asked.response_fields},
                **{"run": runs[0], "reference_run": runs[1]},
                "shows_demonstrations": student.name in (TEACHER, OTHER_DEMONSTRATIONS),
                **comparison.rests_on(root),
                **{"num_examples": len(shared.idx), "num_tokens": sum(shared.lengths)},
                **summary(np.concatenate(of_examples)),
                **shared.provenance,
                **{"base_revision": lm.revision, "base": lm.description, "command": command},
            }
            with store.file_lock(path.with_suffix("")):
                write_measured(path, content, "rows_sha256", file.replace)
