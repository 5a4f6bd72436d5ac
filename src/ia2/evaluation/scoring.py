"""Answers of a model to an evaluation set: responses, and the scores that its distributions give them.

Confidence and calibration are about the first token, for single-token and longer answers alike: it is where the answer
is decided, and a probability of a whole text would shrink with its length. Scores of all tokens are kept apart, for
those who ask for them: one softmax over each batch and step, and one transfer of its numbers.

Where the labels of a task differ in their first token, that token decides, and decoding has seen its distribution
already. Where two begin alike (`Saturday` and `Sunday` may share `S`), the probability of the whole label counts, with
the token that ends a response after it: without the end, `10` could never be more probable than `1`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import log_softmax
from torch import Tensor
from tqdm import tqdm

from ia2.config import StopRule
from ia2.evaluation.calibration import FirstTokenScores, Floats, ResponseScores
from ia2.evaluation.evaluation_set import EvaluationSet, EvaluationSpec, Grades
from ia2.models.generation import GenerationConfig, check_context, generate, run_batches
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.models.packing import DecodingState, StepOutput
from ia2.prompts.tokenization import Ids

ENDED = 2
"""A number of tokens (T) above 1, with which the ids of an answer include the token that ends it."""

TOP = 10
"""Number of most probable first tokens that are kept; the published ECE is about ten."""


@dataclass(frozen=True)
class LabelScores:
    """Natural log-probabilities [n, K] of K labels for n queries, by their first token or by all and the end."""

    rule: Literal["first_token", "full_sequence"]
    log_probabilities: Floats

    @property
    def log_shares(self) -> Floats:
        """The same divided by the sum over the labels: log p_k / sum_j p_j."""
        return np.asarray(log_softmax(self.log_probabilities, axis=1))


@dataclass(frozen=True)
class Answers:
    """Answers of a model to n prompts.

    `every_token` and `top_texts` (of the most probable first tokens) are None and empty where only the first token is
    scored, `labels` is None for free text. `row_seconds` [n] are those of the batch that a response was decoded in,
    divided by its rows, since rows of one batch have no time of their own; the beginning that batches share is in the
    first of them.
    """

    responses: list[str]
    first: FirstTokenScores
    labels: LabelScores | None
    every_token: ResponseScores | None
    top_texts: list[list[str]]
    row_seconds: Floats
    seconds: float


def answer(
    hooked: HookedModel, lm: LanguageModel, questions: EvaluationSet, spec: EvaluationSpec, token_budget: int | None
) -> Answers:
    """Generate and score a response to every prompt; UserError where one does not fit the model's context."""
    started, tokenizer = time.perf_counter(), lm.prompt_tokenizer(spec.chat_template)
    prompts = [tokenizer.prompt(prompt) for prompt in questions.prompts]
    rule: StopRule = "eos" if spec.stop == "eos" else "separator"
    labels = [tokenizer.answer(label, ENDED, rule) for label in questions.labels]
    gold = [tokenizer.answer_ids(query.answer)[0] for query in questions.queries]
    recorder = ScoreRecorder(gold, [label[0] for label in labels], spec.uncertainty_analysis)
    with tqdm(total=len(prompts), desc=questions.dataset, unit="query", leave=False, disable=None) as bar:

        def advance(num_rows: int) -> None:
            recorder.end_batch()
            bar.update(num_rows)

        stopper = lm.stopper(rule, spec.chat_template)
        config = GenerationConfig(spec.num_generated_tokens_eval, stopper, token_budget)
        responses = generate(hooked, prompts, config, recorder.record, progress=advance)
    by_label = score_labels(hooked, prompts, labels, recorder.first, token_budget) if labels else None
    texts = [tokenizer.text(ids) for ids in responses]
    seconds = time.perf_counter() - started
    top_texts = []
    if spec.uncertainty_analysis:
        known = np.unique(recorder.first.top_tokens[recorder.first.top_tokens >= 0]).tolist()
        names = dict(zip(known, tokenizer.decode([[token] for token in known]), strict=True))
        top_texts = [[names[token] for token in row if token in names] for row in recorder.first.top_tokens.tolist()]
    return Answers(texts, recorder.first, by_label, recorder.every_token(), top_texts, recorder.row_seconds, seconds)


class ScoreRecorder:
    """Scores of n prompts by the first token of the response, and with `every` by all of them, filled in step by step.

    A row is seen at the steps that predict its tokens, of which the one that ends the response is the last, and never
    after: so nothing of what follows enters.
    """

    def __init__(self, gold: Sequence[int], labels: Sequence[int] = (), every: bool = False) -> None:
        size = len(gold)
        self.first = FirstTokenScores(
            token=np.zeros(size, dtype=np.int64),
            gold=np.array(gold),
            gold_rank=np.zeros(size, dtype=np.int64),
            confidence=np.full(size, np.nan),
            gold_log_probability=np.full(size, np.nan),
            sum_of_squares=np.full(size, np.nan),
            entropy=np.full(size, np.nan),
            label_log_probabilities=np.full((size, len(labels)), np.nan),
            top_tokens=np.full((size, TOP), -1),
            top_probabilities=np.zeros((size, TOP)),
        )
        self.row_seconds = np.full(size, np.nan)
        self._labels = torch.tensor(labels, dtype=torch.long)
        self._totals = np.zeros((3, size)) if every else None  # number of tokens, log-probability, entropy
        self._batch = np.arange(0)
        self._since = time.perf_counter()

    def record(self, step: StepOutput) -> None:
        """Record one step; step 0 makes void what was recorded of its rows, since memory may run out half-way."""
        if step.step and self._totals is None:
            return
        rows, log_probabilities = np.array(step.rows), step.logits.log_softmax(dim=-1)
        if not step.step:
            self._batch = rows
            self._record_first(rows, step.logits, log_probabilities)
        if self._totals is not None:
            entropy = torch.special.entr(log_probabilities.exp()).sum(dim=-1)
            taken = _array(torch.stack([log_probabilities.amax(dim=-1), entropy]))
            before = self._totals[:, rows] if step.step else 0.0
            self._totals[:, rows] = before + np.concatenate([np.ones((1, len(rows))), taken])

    def _record_first(self, rows: npt.NDArray[np.int64], logits: Tensor, log_probabilities: Tensor) -> None:
        scores, num_labels = self.first, len(self._labels)
        gold = torch.from_numpy(scores.gold[rows]).to(logits.device)[:, None]
        predicted = logits.argmax(dim=-1, keepdim=True)
        # The greatest logits, greatest first; of equal ones the lower id comes first, as in argmax, and in the rank too
        top = logits.topk(min(TOP, logits.shape[-1]), dim=-1).indices.sort(dim=-1).values
        top = top.gather(1, logits.gather(1, top).sort(dim=-1, descending=True, stable=True).indices)
        earlier = torch.arange(logits.shape[-1], device=logits.device) < gold
        of_gold = logits.gather(1, gold)
        rank = ((logits > of_gold) | ((logits == of_gold) & earlier)).sum(dim=-1, keepdim=True)
        ids = torch.cat([predicted, rank, top], dim=1).cpu().numpy()
        scores.token[rows], scores.gold_rank[rows] = ids[:, 0], ids[:, 1]
        scores.top_tokens[rows, : top.shape[1]] = ids[:, 2:]
        wanted = torch.cat([gold, predicted, self._labels.to(logits.device).expand(len(rows), -1), top], dim=1)
        logs = _array(log_probabilities.gather(1, wanted))
        scores.gold_log_probability[rows], scores.confidence[rows] = logs[:, 0], np.exp(logs[:, 1])
        scores.label_log_probabilities[rows] = logs[:, 2 : 2 + num_labels]
        scores.top_probabilities[rows, : top.shape[1]] = np.exp(logs[:, 2 + num_labels :])
        probabilities = log_probabilities.exp()
        squares, entropy = probabilities.square().sum(dim=-1), torch.special.entr(probabilities).sum(dim=-1)
        scores.sum_of_squares[rows], scores.entropy[rows] = _array(torch.stack([squares, entropy]))

    def end_batch(self) -> None:
        """Share out the time since the last batch ended among the rows of this one."""
        now = time.perf_counter()
        self.row_seconds[self._batch] = (now - self._since) / len(self._batch)
        self._since = now

    def every_token(self) -> ResponseScores | None:
        """Scores of all G tokens of each response; None where only the first token is recorded."""
        if self._totals is None:
            return None
        num_tokens, log_probability, entropy = self._totals
        return ResponseScores(num_tokens.astype(np.int64), log_probability, entropy / num_tokens)


def _array(values: Tensor) -> Floats:
    return values.double().cpu().numpy()


def score_labels(
    hooked: HookedModel,
    prompts: Sequence[Ids],
    labels: Sequence[Ids],
    first: FirstTokenScores,
    token_budget: int | None,
) -> LabelScores:
    """By the first tokens of `labels` (with their ends), as in `first`, where no two share one; else by all tokens.

    One rule holds for all labels of a task: probabilities of one token and of several are not to be compared.
    """
    if len({label[0] for label in labels}) == len(labels):
        return LabelScores("first_token", first.label_log_probabilities)
    return LabelScores("full_sequence", sequence_log_probabilities(hooked, prompts, labels, token_budget))


@torch.no_grad()
def sequence_log_probabilities(
    hooked: HookedModel, prompts: Sequence[Ids], labels: Sequence[Ids], token_budget: int | None
) -> Floats:
    """log P(label | prompt), summed over the label's tokens, for every pair [n, K]; UserError where one is too long.

    A prompt is read once: each label is fed after it and forgotten again.
    """
    longest = max(map(len, labels))
    check_context(hooked, max(map(len, prompts)) + longest)
    scores = np.full((len(prompts), len(labels)), np.nan)

    def score(state: DecodingState) -> tuple[Sequence[int], Floats]:
        start = state.next().logits.log_softmax(dim=-1)
        columns = []
        for label in labels:
            total = start[:, label[0]].double()
            for token, following in pairwise(label):
                step = state.next(torch.full((len(state.rows),), token))
                total = total + step.logits.log_softmax(dim=-1)[:, following].double()
            state.undo(len(label) - 1)
            columns.append(total)
        return state.rows, torch.stack(columns, dim=1).cpu().numpy()

    for rows, found in run_batches(hooked, prompts, score, token_budget, num_new_tokens=longest - 1):
        scores[rows] = found
    return scores


def answer_table(questions: EvaluationSet, grades: Grades, answers: Answers) -> pd.DataFrame:
    """One row for each query, in their order; docs/artifacts.md defines the columns.

    Where every token is scored there are more columns than otherwise, after those that are always there.
    """
    first, labels, every_token = answers.first, answers.labels, answers.every_token
    columns: dict[str, Any] = {
        "idx": [query.idx for query in questions.queries],
        "question": [query.question for query in questions.queries],
        "gold": [query.answer for query in questions.queries],
        "response": answers.responses,
        "parsed": grades.parsed,
        "correct": grades.correct,
        "anywhere_correct": grades.anywhere,
        "confidence": first.confidence,
        "first_token_correct": first.correct,
        "gold_log_prob": first.gold_log_probability,
        "entropy": first.entropy,
    }
    if labels is not None:
        shares = labels.log_shares
        columns["label_confidence"] = np.exp(shares.max(axis=1))
        columns["gold_label_log_prob"] = shares[np.arange(len(shares)), list(questions.gold_labels)]
    if every_token is not None:
        top = zip(first.top_probabilities, answers.top_texts, strict=True)
        columns["gold_rank"] = first.gold_rank
        columns["top_tokens"] = answers.top_texts
        columns["top_probabilities"] = [row[: len(texts)] for row, texts in top]
        if labels is not None:
            columns["label_probabilities"] = list(np.exp(labels.log_probabilities))
        columns["num_response_tokens"] = every_token.num_tokens
        columns["response_log_prob"] = every_token.log_probability
        columns["response_entropy"] = every_token.entropy
        columns["seconds"] = answers.row_seconds
    return pd.DataFrame(columns)
