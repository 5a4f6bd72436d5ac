"""Activation similarities: read strictly, and averaged to the frames that are shown.

One file pair below outputs/similarity compares two models on the same responses. `method` names the student: a training
method, `base` (the untrained student: the floor), or `teacher` (the base model with demonstrations, compared with other
demonstrations: the ceiling that another draw of demonstrations leaves). `reference` is what it is compared with:
`teacher`, `other_demonstrations` (a teacher shown others) or another method, of which each pair stands once, under the
one that comes first in METHODS. Where both are runs, `reference_run` is the other's configuration.

Every example counts the same, however long its response is: tokens are averaged within an example first. `n` is always
a number of examples, `sd` the standard deviation over them (ddof 1; NaN for a single one).
"""

import math
from pathlib import Path
from typing import Annotated

import pandas as pd
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, Field

from ia2.analysis.cosine_means import Mean
from ia2.config import ModelId, PathPart, StoredRun
from ia2.report.reading import Examined, Measured, Problem, examine, read_rows, read_whole, tell

SCHEMA = 2
COLUMNS = ("idx", "layer", "token", "cosine")


Cosine = Annotated[float, Field(ge=-1.000001, le=1.000001)]


class LayerMean(BaseModel):
    """What one layer comes to over all examples."""

    model_config = ConfigDict(frozen=True)

    layer: int
    cosine: Cosine | None
    sd: float | None
    n: int


class Similarity(Measured):
    """One comparison: outputs/similarity/{method}/{dataset}/{name}.json, its cosines in the parquet beside it."""

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
    mean: Cosine | None
    sd: float | None
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

    def check_rows(self, rows: pyarrow.parquet.ParquetFile) -> None:
        """Raise ValueError where there is not a row for each layer and token."""
        if rows.metadata.num_rows != self.num_layers * self.num_tokens:
            raise ValueError(f"{self.num_layers} layers of {self.num_tokens} tokens, but {rows.metadata.num_rows} rows")


Similarities = Examined[Similarity]
"""All that could be read below a root, and what could not."""

# Reading


def read_similarities(root: Path) -> tuple[Similarity, ...]:
    """Every comparison below `root` that is whole; what is not is told and left out.

    UserError where one was written by a newer version.
    """
    examined = examine_similarities(root)
    tell(examined.problems)
    return examined.found


def examine_similarities(root: Path) -> Similarities:
    """Every comparison below `root`, and the files that are not whole; UserError where one is newer than this."""
    return examine((root / "outputs" / "similarity").glob("*/*/*.json"), Similarity, SCHEMA)


def read_similarity(path: Path) -> Similarity | Problem:
    """One comparison, or why it cannot be counted; UserError where its schema is newer than this version's."""
    return read_whole(path, Similarity, SCHEMA)


# Averages


def cosines(similarity: Similarity) -> pd.DataFrame:
    """Every cosine: idx, layer, token (counted from 0 in the response), cosine."""
    frame: pd.DataFrame = read_rows(similarity.parquet, COLUMNS).to_pandas()
    return frame


def overall(similarity: Similarity) -> Mean:
    """One number for the comparison: the mean over layers and tokens of each example, then over examples."""
    return Mean(_number(similarity.mean), _number(similarity.sd), similarity.num_examples)


def by_layer(similarity: Similarity) -> pd.DataFrame:
    """layer, cosine, sd, n: the mean over tokens, then over examples. From the JSON: no parquet is read."""
    rows = [(one.layer, _number(one.cosine), _number(one.sd), one.n) for one in similarity.layers]
    return pd.DataFrame(rows, columns=["layer", "cosine", "sd", "n"])


def by_token(similarity: Similarity) -> pd.DataFrame:
    """token, cosine, sd, n: the mean over layers, then over the n examples that have so many tokens."""
    return _means(cosines(similarity), ["token"])


def by_layer_and_token(similarity: Similarity) -> pd.DataFrame:
    """layer, token, cosine, sd, n: the mean over the n examples that have so many tokens."""
    return _means(cosines(similarity), ["layer", "token"])


def per_example(similarity: Similarity) -> pd.DataFrame:
    """idx, cosine, num_tokens: the mean over the layers and tokens of each example."""
    frame = cosines(similarity).astype({"cosine": float})
    means = frame.groupby(["idx", "layer"], sort=True)["cosine"].mean().groupby(level="idx").mean()
    return pd.DataFrame({"cosine": means, "num_tokens": frame.groupby("idx")["token"].max() + 1}).reset_index()


def _means(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Within each example first, so that each counts the same."""
    frame = frame.astype({"cosine": float})
    of_examples = frame.groupby([*keys, "idx"], sort=True)["cosine"].mean()
    grouped = of_examples.groupby(level=keys, sort=True)
    return pd.DataFrame({"cosine": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.count()}).reset_index()


def _number(value: float | None) -> float:
    return math.nan if value is None else value
