"""An adapter folded into its base model, for servers that know no adapters.

The sum is made in float32 and cast afterwards: added to bf16 weights, a small low-rank update would be rounded away.
How far the logits moved is measured on fixed random tokens and told.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ia2 import store
from ia2.config import ModelConfig
from ia2.errors import UserError
from ia2.lm.adapters import saved_adapter
from ia2.lm.loading import LanguageModel, load_model
from ia2.lm.packed import unpack_linears
from ia2.stages.predict import Predictor


@dataclass(frozen=True)
class MergeReport:
    """Largest absolute differences of logits from the unmerged float32 model.

    merged_float32: what merging itself changes. merged and unmerged: in the dtype that is written, the merged model
    and the unmerged one, so that the second says how much of the first is the dtype's own rounding.
    """

    dtype: str
    merged_float32: float
    merged: float
    unmerged: float

    def __str__(self) -> str:
        own = f"merging changes float32 logits by {self.merged_float32:.2g} at most"
        if self.dtype == "float32":
            return own
        return f"{own}; in {self.dtype} the merged model is {self.merged:.3g} off, the unmerged {self.unmerged:.3g}"


@torch.no_grad()
def merge(predictor: Predictor, model: ModelConfig, out: Path) -> MergeReport:
    """Write base + adapter as an ordinary model folder in `model.torch_dtype`, and say what that changed.

    UserError for adapters of virtual tokens, which no weight can hold, for another base, and where `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists; give another --out")
    dtype: torch.dtype = getattr(torch, "float32" if model.torch_dtype == "auto" else model.torch_dtype)
    lm = load_model(model.model_copy(update={"torch_dtype": "float32"}))
    if lm.revision != predictor.base["revision"]:
        raise UserError(f"{predictor.folder} was trained on {predictor.base['model_id']!r}, which this is not")
    unpack_linears(lm.model)
    tokens = _probe(lm)
    with saved_adapter(lm.model, predictor.folder) as adapted:
        if adapted.active_peft_config.is_prompt_learning:
            raise UserError(
                f"{predictor.folder} holds virtual tokens: no weights can hold them, serve it as an adapter"
            )
        exact = _logits(adapted, tokens)
        cast_model = copy.deepcopy(adapted).to(dtype)
        unmerged = _distance(_logits(cast_model, tokens), exact)
        del cast_model
        merged = cast(PreTrainedModel, cast(Any, adapted).merge_and_unload())
    in_float32 = _distance(_logits(merged, tokens), exact)
    merged.to(dtype)  # type: ignore[arg-type]  # transformers types `to` wrongly
    in_dtype = _distance(_logits(merged, tokens), exact)
    with store.writing(out) as temporary:
        merged.save_pretrained(temporary)
        lm.tokenizer.save_pretrained(temporary)
    return MergeReport(str(dtype).removeprefix("torch."), in_float32, in_dtype, unmerged)


def _probe(lm: LanguageModel) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(len(lm.tokenizer), (4, 32), generator=generator)
    return tokens.to(lm.model.device)


def _logits(model: Any, tokens: Tensor) -> Tensor:  # noqa: ANN401 - with or without an adapter
    return cast(Tensor, model(input_ids=tokens).logits).float()


def _distance(logits: Tensor, reference: Tensor) -> float:
    return float((logits - reference).abs().max())
