"""Questions in, answers out: the responses of a model, and what its distributions say about them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ia2.config import StopRule
from ia2.evaluation.evaluation_set import EvaluationSet
from ia2.evaluation.label_scores import LabelScores, score_labels
from ia2.evaluation.scoring import FirstTokenScores, Floats, ResponseScores
from ia2.models.decoding_state import StepOutput
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.prompts.tokenization import PromptTokenizer

ENDED = 2
"""A number of tokens (T) above 1, with which the ids of an answer hold what ends it."""


@dataclass(frozen=True)
class Asking:
    """How questions are put: at most T tokens a response, and whether all tokens are scored or the first alone."""

    num_generated_tokens: int
    stop: StopRule
    chat_template: bool
    token_budget: int | None
    every_token: bool


@dataclass(frozen=True)
class TokenScores:
    """What is known of n responses where every token is scored.

    `seconds` [n] are those of the batch that a response was decoded in, divided by the rows of it, since rows of one
    batch have no time of their own; the beginning that batches share is in the first of them.
    """

    responses: ResponseScores
    seconds: Floats
    top_texts: list[list[str]]  # of the most probable first tokens


@dataclass(frozen=True)
class Answers:
    """What a model said to n questions."""

    responses: list[str]
    first: FirstTokenScores
    tokens: TokenScores | None  # None where only the first token is scored
    labels: LabelScores | None  # None for free text
    seconds: float


def answer(hooked: HookedModel, lm: LanguageModel, questions: EvaluationSet, asking: Asking) -> Answers:
    """Put every question to the model; UserError where a prompt does not fit its context."""
    started, prompt_tokenizer = time.perf_counter(), lm.prompt_tokenizer(asking.chat_template)
    prompts = [prompt_tokenizer.prompt(prompt) for prompt in questions.prompts]
    rule: StopRule = "eos" if asking.stop == "eos" else "separator"
    labels = [prompt_tokenizer.answer(label, ENDED, rule) for label in questions.labels]
    first = FirstTokenScores(
        gold=[prompt_tokenizer.answer_ids(query.answer)[0] for query in questions.queries],
        labels=[label[0] for label in labels],
    )
    observer = _Timed(ResponseScores(first) if asking.every_token else first, len(prompts))
    with tqdm(total=len(prompts), desc=questions.dataset, unit="query", leave=False, disable=None) as bar:
        stopper = lm.stopper(rule, asking.chat_template)
        how = GenerationConfig(asking.num_generated_tokens, stopper, asking.token_budget)
        responses = generate(hooked, prompts, how, observer.see, progress=observer.then(bar.update))
    by_label = score_labels(hooked, prompts, labels, first, asking.token_budget) if labels else None
    texts = [prompt_tokenizer.text(ids) for ids in responses]
    seconds = time.perf_counter() - started
    return Answers(texts, first, _token_scores(prompt_tokenizer, observer), by_label, seconds)


class _Timed:
    """Passes on what decoding shows, and shares out the time of each batch among its rows."""

    def __init__(self, scores: FirstTokenScores | ResponseScores, size: int) -> None:
        self.scores = scores
        self.seconds = np.full(size, np.nan)
        self._rows: list[int] = []
        self._since = time.perf_counter()

    def see(self, seen: StepOutput) -> None:
        if not seen.step:
            self._rows = list(seen.rows)
        self.scores.see(seen)

    def then(self, advance: Callable[[int], object]) -> Callable[[int], None]:
        """What is to be told that a batch is done: takes its time, and tells `advance`."""

        def done(num_rows: int) -> None:
            now = time.perf_counter()
            self.seconds[self._rows] = (now - self._since) / len(self._rows)
            self._since = now
            advance(num_rows)

        return done


def _token_scores(prompt_tokenizer: PromptTokenizer, observer: _Timed) -> TokenScores | None:
    if not isinstance(observer.scores, ResponseScores):
        return None
    tokens = observer.scores.first.top_tokens
    known = np.unique(tokens[tokens >= 0]).tolist()
    texts = dict(zip(known, prompt_tokenizer.decode([[token] for token in known]), strict=True))
    top = [[texts[token] for token in row if token in texts] for row in tokens.tolist()]
    return TokenScores(observer.scores, observer.seconds, top)
