"""`ia2 merge`: an adapter folded into its base model, for servers that know no adapters.

The sum is made in float32 and cast afterwards: added to bf16 weights, a small low-rank update would be rounded away.
The difference that this makes to logits is measured on a few sentences and reported.
"""

import dataclasses
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ia2 import store
from ia2.config import MergeConfig, ModelConfig
from ia2.errors import UserError
from ia2.models.adapters import saved_adapter
from ia2.models.kernels import unpack_linears
from ia2.models.loading import LanguageModel, load_model
from ia2.page.card import CARD, model_card, part_of
from ia2.training.trained_run import TrainedRun, read_trained_run

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
    """Distance of logits from those of the unmerged float32 model, on a few sentences.

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


def merge_adapter(config: MergeConfig) -> MergeReport:
    """Write base + adapter to `--out` as an ordinary model folder, print what that changed, and return the figures.

    A folder that was made of this very adapter and dtype before is kept. UserError for adapters of virtual tokens,
    which no weight can hold, for another base, and where anything else is at `--out`.
    """
    trained, out = read_trained_run(config.adapter), config.out
    dtype = trained.dtype if config.torch_dtype == "auto" else config.torch_dtype
    fields = {"model_id": config.model_id or trained.model_id, "torch_dtype": dtype, **config.placement()}
    dtype = "float32" if dtype == "auto" else dtype
    made_of = {
        "adapter_sha256": store.file_digest(trained.folder / "adapter_model.safetensors"),
        "dtype": f"torch.{dtype}",
    }
    with store.file_lock(out, keep=False):
        if os.path.lexists(out):
            description = store.read_object(out / MERGED) if (out / MERGED).is_file() else {}
            measured = description.pop("report", None)
            if description != made_of or measured is None:
                raise UserError(f"{out} exists; give another --out, since it is not what this command makes")
            report = MergeReport(**measured)
        else:
            report = _merge(trained, ModelConfig.model_validate(fields), out, made_of)
    print(f"wrote {out}: {report}")
    return report


@torch.no_grad()
def _merge(trained: TrainedRun, model: ModelConfig, out: Path, made_of: dict[str, str]) -> MergeReport:
    unmerged = _unmerged_logits(trained, model)  # first, so that one model is in memory at a time
    lm = load_model(model.model_copy(update={"torch_dtype": "float32"}))
    trained.check_base(lm)
    unpack_linears(lm.model)
    with saved_adapter(lm.model, trained.folder) as adapted:
        exact = _logits(adapted, lm)
        merged = cast(PreTrainedModel, cast(Any, adapted).merge_and_unload())
    in_float32 = float((_logits(merged, lm) - exact).abs().max())
    whole, name = LanguageModel(merged, lm.tokenizer, lm.model_id, lm.revision), made_of["dtype"].removeprefix("torch.")
    prefix = f"{store.temporary_path(out).stem}-"
    with (
        store.atomic_write(out) as temporary,
        TemporaryDirectory(prefix=prefix, suffix=".tmp", dir=out.parent) as folder,
    ):
        if name != "float32" and any(weight.is_meta for weight in merged.parameters()):
            # Weights that are kept away from where they compute can be cast through the disk alone
            _save(whole, Path(folder))
            whole = load_model(model.model_copy(update={"model_id": folder}))
        elif name != "float32":
            merged.to(getattr(torch, name))
        cast_down = (_logits(whole.model, whole) - exact).square().mean().sqrt()
        report = MergeReport(name, in_float32, float(cast_down), float((unmerged - exact).square().mean().sqrt()))
        _save(whole, temporary)
        store.write_json(temporary / MERGED, {**made_of, "report": dataclasses.asdict(report)})
        # The adapter's card, about the merged model, with what was measured of the adapter
        own = trained.folder / CARD
        measured = part_of(own.read_text(encoding="utf-8")) if own.exists() else None
        result = store.read_object(trained.folder / "final_loss_statistics.json")
        card = model_card(trained.description, result, measured or "Nothing.", str(report))
        (temporary / CARD).write_text(card, encoding="utf-8")
    return report


def _unmerged_logits(trained: TrainedRun, model: ModelConfig) -> Tensor:
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


def _save(lm: LanguageModel, folder: Path) -> None:
    with warnings.catch_warnings():  # it takes a part of the weights at a time, each of which has to fit
        warnings.filterwarnings("ignore", "Attempting to save a model with offloaded modules", UserWarning)
        lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
