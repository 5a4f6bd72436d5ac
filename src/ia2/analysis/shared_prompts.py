"""What models that are compared are asked: queries, the teacher's responses to them, and what each model is shown.

The responses are decoded once for all that rest on them, and kept: outputs/responses/{digest}, laid out as targets are.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ia2 import store
from ia2.analysis.comparisons import ComparedModel, data_digests
from ia2.config import path_part
from ia2.errors import UserError
from ia2.evaluation.evaluation_set import EvaluationSpec, read_evaluation_set, with_demonstrations
from ia2.methods import BASE, OTHER_DEMONSTRATIONS, TEACHER
from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.prompts.tokenization import Ids, TokenizedExample
from ia2.training.targets import load_or_collect

FORMAT = 1


@dataclass(frozen=True)
class SharedPrompts:
    """n queries by their idx, the responses to them, and the prompts that each of the three base models is given.

    A run is given those of BASE: the queries alone.
    """

    idx: tuple[int, ...]
    responses: tuple[Ids, ...]
    prompts: dict[str, list[Ids]]
    provenance: dict[str, str]
    """Which responses: their folder's name, and sha256 of their tokens, taken as they were read."""

    def examples(self, side: ComparedModel, part: slice) -> list[TokenizedExample]:
        """What a model is fed for a part of the examples."""
        prompts = self.prompts[BASE if side.trained else side.name]
        return [TokenizedExample(*pair) for pair in zip(prompts[part], self.responses[part], strict=True)]

    def parts(self, most_tokens: int) -> Iterator[slice]:
        """Consecutive examples of at most `most_tokens` response tokens together, one example at least."""
        start, tokens = 0, 0
        for place, response in enumerate(self.responses):
            if place > start and tokens + len(response) > most_tokens:
                yield slice(start, place)
                start, tokens = place, 0
            tokens += len(response)
        yield slice(start, len(self.responses))


TOKENS = "tokens.safetensors"


def responses_folder(root: Path, digest: str) -> Path:
    """Where the responses of that digest lie."""
    return root / "outputs" / "responses" / path_part(digest)


def check_other_demonstrations(root: Path, asked: EvaluationSpec) -> None:
    """UserError where the split leaves too few examples to show other demonstrations."""
    others = dataclasses.replace(asked.demonstrations, control=OTHER_DEMONSTRATIONS)
    with_demonstrations(root, read_evaluation_set(root, asked.eval_dataset, 1), others)


def read_shared_prompts(
    root: Path, asked: EvaluationSpec, names: set[str], lm: LanguageModel, token_budget: int | None
) -> SharedPrompts:
    """What is asked, for sides of these names; the responses are decoded if they are not there."""
    bare = read_evaluation_set(root, asked.eval_dataset, asked.num_eval_examples)
    idx = tuple(query.idx for query in bare.queries)
    if len(set(idx)) < len(idx):
        raise UserError(
            f"{store.pool_path(root, asked.eval_dataset)}: two val_examples share an idx; give each its own"
        )
    shown = {BASE: bare, TEACHER: with_demonstrations(root, bare, asked.demonstrations)}
    if OTHER_DEMONSTRATIONS in names:
        others = dataclasses.replace(asked.demonstrations, control=OTHER_DEMONSTRATIONS)
        shown[OTHER_DEMONSTRATIONS] = with_demonstrations(root, bare, others)
    prompt_tokenizer = lm.prompt_tokenizer(asked.chat_template)
    prompts = {name: [prompt_tokenizer.prompt(prompt) for prompt in asks.prompts] for name, asks in shown.items()}
    identity = _identity(root, asked, lm)
    folder = responses_folder(root, store.value_digest(identity))
    with store.file_lock(folder):
        known = load_or_collect(
            folder,
            identity,
            {"tokens"},
            hooked=HookedModel(lm.model),
            prompts=prompts[TEACHER],
            how=lambda: _generation(asked, lm, token_budget),
        )
        provenance = {"responses": folder.name, "responses_sha256": store.file_digest(folder / TOKENS)}
    return SharedPrompts(idx, known.responses, prompts, provenance)


def _identity(root: Path, asked: EvaluationSpec, lm: LanguageModel) -> dict[str, object]:
    """What the responses depend on: equal identities, equal responses."""
    settings = dataclasses.asdict(asked)
    del settings["torch_dtype"]  # as it was asked for; `dtype` is what it came to
    return {
        "format": FORMAT,
        **settings,
        "icl_max_demos": asked.num_shown,
        "model_id": store.short_model_name(asked.model_id),
        "model_revision": lm.revision,
        "base": {"parts": lm.parts},
        "dtype": lm.dtype,
        **data_digests(root, asked),
    }


def _generation(asked: EvaluationSpec, lm: LanguageModel, token_budget: int | None) -> GenerationConfig:
    return GenerationConfig(asked.num_generated_tokens_eval, lm.stopper(asked.stop, asked.chat_template), token_budget)
