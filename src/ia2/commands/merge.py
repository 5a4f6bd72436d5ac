"""An adapter folded into its base model, for servers that know no adapters.

The sum is made in float32 and cast afterwards: added to bf16 weights, a small low-rank update would be rounded away.
How far the logits moved is measured on a few sentences and told.
"""

import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ia2 import store
from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.models.adapters import saved_adapter
from ia2.models.kernels import unpack_linears
from ia2.models.loading import LanguageModel, load_model
from ia2.report.cards import CARD, model_card, part_of, read_subject
from ia2.training.trained_run import TrainedRun

MERGED = "merge.json"
"""In a merged model's folder: which adapter went in, and what the merging changed."""

PROBE = (
    "Input: Portugal\nOutput: Lisbon\n\nInput: Kenya\nOutput:",
    "Text:The second half drags, but the last scene is worth the wait.\nLabel:",
    "Question:A baker sells 12 loaves in the morning and twice as many later. How many in all?\nAnswer:",
    "The river rises in the hills to the north, turns south after forty miles and meets the sea in a wide delta.",
)


@dataclass(frozen=True)
class MergeReport:
    """How far logits are from those of the unmerged float32 model, on a few sentences.

    merged_float32: the largest difference that merging itself makes. merged and unmerged: root mean squares in the
    dtype that is written, of the merged model and of the unmerged one, whose rounding is no fault of merging.
    """

    dtype: str
    merged_float32: float
    merged: float
    unmerged: float

    def __str__(self) -> str:
        own = f"merging changes float32 logits by {self.merged_float32:.2g} at most"
        if self.dtype == "float32":
            return own
        return (
            f"{own}; in {self.dtype} the merged model is {self.merged:.4g} (root mean square) away from the unmerged "
            f"float32 one, the unmerged {self.dtype} model {self.unmerged:.4g}"
        )


@torch.no_grad()
def merge(trained: TrainedRun, model: ModelConfig, out: Path) -> MergeReport:
    """Write base + adapter as an ordinary model folder in `model.torch_dtype`, and say what that changed.

    What was merged of this very adapter and dtype before is taken as it is. UserError for adapters of virtual tokens,
    which no weight can hold, for another base, and where anything else is at `out`.
    """
    dtype: torch.dtype = getattr(torch, "float32" if model.torch_dtype == "auto" else model.torch_dtype)
    made_of = {"adapter_sha256": store.file_digest(trained.folder / "adapter_model.safetensors"), "dtype": str(dtype)}
    with store.file_lock(out, keep=False):
        if not os.path.lexists(out):
            return _merged(trained, model, dtype, out, made_of)
        description = store.read_object(out / MERGED) if (out / MERGED).is_file() else {}
        report = description.pop("report", None)
        if description != made_of or report is None:
            raise UserError(f"{out} exists; give another --out, since it is not what this command makes")
        return MergeReport(**report)


def _merged(
    trained: TrainedRun, model: ModelConfig, dtype: torch.dtype, out: Path, made_of: Mapping[str, str]
) -> MergeReport:
    unmerged = _unmerged(trained, model)
    lm = load_model(model.model_copy(update={"torch_dtype": "float32"}))
    trained.check_base(lm)
    unpack_linears(lm.model)
    with saved_adapter(lm.model, trained.folder) as adapted:
        exact = _logits(adapted, lm)
        merged = cast(PreTrainedModel, cast(Any, adapted).merge_and_unload())
    in_float32 = float((_logits(merged, lm) - exact).abs().max())
    whole = LanguageModel(merged, lm.tokenizer, lm.model_id, lm.revision)
    with store.atomic_write(out) as temporary, _cast(whole, model, dtype, out) as cast_down:
        report = MergeReport(
            dtype=str(dtype).removeprefix("torch."),
            merged_float32=in_float32,
            merged=_root_mean_square(_logits(cast_down.model, cast_down) - exact),
            unmerged=_root_mean_square(unmerged - exact),
        )
        _save(cast_down, temporary)
        store.write_json(temporary / MERGED, {**made_of, "report": dataclasses.asdict(report)})
        (temporary / CARD).write_text(_card(trained, report), encoding="utf-8")
    return report


@contextmanager
def _cast(merged: LanguageModel, model: ModelConfig, dtype: torch.dtype, out: Path) -> Iterator[LanguageModel]:
    """The merged float32 model in `dtype`. Weights that lie away from where they compute are cast through the disk."""
    if dtype == torch.float32:
        yield merged
    elif not any(weight.is_meta for weight in merged.model.parameters()):
        merged.model.to(dtype)  # type: ignore[arg-type]  # transformers types `to` wrongly
        yield merged
    else:
        with TemporaryDirectory(prefix=f"{store.temporary_path(out).stem}-", suffix=".tmp", dir=out.parent) as folder:
            _save(merged, Path(folder))
            yield load_model(model.model_copy(update={"model_id": folder}))


def _save(lm: LanguageModel, folder: Path) -> None:
    with warnings.catch_warnings():  # it takes a part of the weights at a time, each of which has to fit
        warnings.filterwarnings("ignore", "Attempting to save a model with offloaded modules", UserWarning)
        lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)


def _card(trained: TrainedRun, report: MergeReport) -> str:
    """The adapter's card, about the merged model, with what was measured of the adapter."""
    own = trained.folder / CARD
    measured = part_of(own.read_text(encoding="utf-8")) if own.exists() else None
    return model_card(read_subject(trained.folder, trained.labels_used, str(report)), measured or "Nothing.")


def _unmerged(trained: TrainedRun, model: ModelConfig) -> Tensor:
    """The logits of the base in the dtype that is written, with the adapter beside it."""
    lm = load_model(model)
    trained.check_base(lm)
    with saved_adapter(lm.model, trained.folder) as adapted:
        if adapted.active_peft_config.is_prompt_learning:
            raise UserError(f"{trained.folder} holds virtual tokens: no weights can hold them, serve it as an adapter")
        return _logits(adapted, lm)


def _logits(model: Any, lm: LanguageModel) -> Tensor:  # noqa: ANN401 - with or without an adapter
    """Logits [M, V] in float32 at every token of the probe."""
    tokens = [torch.tensor([lm.tokenizer(text).input_ids], device=lm.model.device) for text in PROBE]
    return torch.cat([cast(Tensor, model(input_ids=ids).logits)[0].float() for ids in tokens])


def _root_mean_square(difference: Tensor) -> float:
    return float(difference.square().mean().sqrt())
