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
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from ia2.config import StopRule
from ia2.evaluation.calibration import Floats
from ia2.evaluation.evaluation_set import EvaluationSet, EvaluationSpec, label_answers
from ia2.evaluation.metrics import Grades, ScoredAnswers
from ia2.models.generation import GenerationConfig, check_context, generate, run_batches
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.models.packing import DecodingState, StepOutput
from ia2.prompts.prompt import Ids

ENDED = 2
"""A number of tokens (T) above 1, with which the ids of an answer include the token that ends it."""

TOP = 10
"""Number of most probable first tokens that are kept; the published ECE is about ten."""


def answer(
    hooked: HookedModel, lm: LanguageModel, questions: EvaluationSet, spec: EvaluationSpec, token_budget: int | None
) -> ScoredAnswers:
    """Generate and score a response to every prompt; UserError where one does not fit the model's context."""
    started, tokenizer = time.perf_counter(), lm.prompt_tokenizer(spec.chat_template)
    prompts = [tokenizer.prompt(prompt) for prompt in questions.prompts]
    rule: StopRule = "eos" if spec.stop == "eos" else "separator"
    labels = [tokenizer.answer(label, ENDED, rule) for label in label_answers(questions.spec)]
    gold = [tokenizer.answer_ids(query.answer)[0] for query in questions.queries]
    recorder = ScoreRecorder(gold, [label[0] for label in labels], spec.uncertainty_analysis)
    with tqdm(total=len(prompts), desc=questions.dataset, unit="query", leave=False, disable=None) as bar:

        def advance(num_rows: int) -> None:
            recorder.end_batch()
            bar.update(num_rows)

        stopper = lm.stopper(rule, spec.chat_template)
        config = GenerationConfig(spec.num_generated_tokens_eval, stopper, token_budget)
        responses = generate(hooked, prompts, config, recorder.record, progress=advance)
    answers = recorder.answers
    if labels:
        score_labels(hooked, prompts, labels, answers, token_budget)
    answers.responses = [tokenizer.text(ids) for ids in responses]
    answers.seconds = time.perf_counter() - started
    if spec.uncertainty_analysis:
        known = np.unique(answers.top_tokens[answers.top_tokens >= 0]).tolist()
        names = dict(zip(known, tokenizer.decode([[token] for token in known]), strict=True))
        answers.top_texts = [[names[token] for token in row if token in names] for row in answers.top_tokens.tolist()]
    return answers


class ScoreRecorder:
    """Scores of n prompts by the first token of the response, and with `every` by all of them, filled in step by step.

    A row is seen at the steps that predict its tokens, of which the one that ends the response is the last, and never
    after: so nothing of what follows enters.
    """

    def __init__(self, gold: Sequence[int], labels: Sequence[int] = (), every: bool = False) -> None:
        size = len(gold)
        self.answers = ScoredAnswers(
            token=np.zeros(size, dtype=np.int64),
            gold=np.array(gold),
            gold_rank=np.zeros(size, dtype=np.int64),
            confidence=np.full(size, np.nan),
            gold_log_probability=np.full(size, np.nan),
            sum_of_squares=np.full(size, np.nan),
            entropy=np.full(size, np.nan),
            top_tokens=np.full((size, TOP), -1),
            top_probabilities=np.zeros((size, TOP)),
            label_log_probabilities=np.full((size, len(labels)), np.nan),
            token_sums=np.zeros((3, size)) if every else None,
            row_seconds=np.full(size, np.nan),
        )
        self._labels = torch.tensor(labels, dtype=torch.long)
        self._batch = np.arange(0)
        self._since = time.perf_counter()

    def record(self, step: StepOutput) -> None:
        """Record one step; step 0 makes void what was recorded of its rows, since memory may run out half-way."""
        sums = self.answers.token_sums
        if step.step and sums is None:
            return
        rows, log_probabilities = np.array(step.rows), step.logits.log_softmax(dim=-1)
        if not step.step:
            self._batch = rows
            self._record_first(rows, step.logits, log_probabilities)
        if sums is not None:
            entropy = torch.special.entr(log_probabilities.exp()).sum(dim=-1)
            taken = _array(torch.stack([log_probabilities.amax(dim=-1), entropy]))
            before = sums[:, rows] if step.step else 0.0
            sums[:, rows] = before + np.concatenate([np.ones((1, len(rows))), taken])

    def _record_first(self, rows: npt.NDArray[np.int64], logits: Tensor, log_probabilities: Tensor) -> None:
        answers, num_labels = self.answers, len(self._labels)
        gold = torch.from_numpy(answers.gold[rows]).to(logits.device)[:, None]
        predicted = logits.argmax(dim=-1, keepdim=True)
        # The greatest logits, greatest first; of equal ones the lower id comes first, as in argmax, and in the rank too
        top = logits.topk(min(TOP, logits.shape[-1]), dim=-1).indices.sort(dim=-1).values
        top = top.gather(1, logits.gather(1, top).sort(dim=-1, descending=True, stable=True).indices)
        earlier = torch.arange(logits.shape[-1], device=logits.device) < gold
        of_gold = logits.gather(1, gold)
        rank = ((logits > of_gold) | ((logits == of_gold) & earlier)).sum(dim=-1, keepdim=True)
        ids = torch.cat([predicted, rank, top], dim=1).cpu().numpy()
        answers.token[rows], answers.gold_rank[rows] = ids[:, 0], ids[:, 1]
        answers.top_tokens[rows, : top.shape[1]] = ids[:, 2:]
        wanted = torch.cat([gold, predicted, self._labels.to(logits.device).expand(len(rows), -1), top], dim=1)
        logs = _array(log_probabilities.gather(1, wanted))
        answers.gold_log_probability[rows], answers.confidence[rows] = logs[:, 0], np.exp(logs[:, 1])
        answers.label_log_probabilities[rows] = logs[:, 2 : 2 + num_labels]
        answers.top_probabilities[rows, : top.shape[1]] = np.exp(logs[:, 2 + num_labels :])
        probabilities = log_probabilities.exp()
        squares, entropy = probabilities.square().sum(dim=-1), torch.special.entr(probabilities).sum(dim=-1)
        answers.sum_of_squares[rows], answers.entropy[rows] = _array(torch.stack([squares, entropy]))

    def end_batch(self) -> None:
        """Share out the time since the last batch ended among the rows of this one."""
        now = time.perf_counter()
        self.answers.row_seconds[self._batch] = (now - self._since) / len(self._batch)
        self._since = now


def _array(values: Tensor) -> Floats:
    return values.double().cpu().numpy()


def score_labels(
    hooked: HookedModel,
    prompts: Sequence[Ids],
    labels: Sequence[Ids],
    answers: ScoredAnswers,
    token_budget: int | None,
) -> None:
    """Choose what scores `labels` (with their ends): first tokens, as `answers` has them, or where two share one, all.

    One rule holds for all labels of a task: probabilities of one token and of several are not to be compared.
    """
    if len({label[0] for label in labels}) == len(labels):
        answers.label_rule = "first_token"
    else:
        answers.label_rule = "full_sequence"
        answers.label_log_probabilities = sequence_log_probabilities(hooked, prompts, labels, token_budget)


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


def answer_table(questions: EvaluationSet, grades: Grades, answers: ScoredAnswers) -> pd.DataFrame:
    """One row for each query, in their order; docs/artifacts.md defines the columns.

    Where every token is scored there are more columns than otherwise, after those that are always there.
    """
    columns: dict[str, Any] = {
        "idx": [query.idx for query in questions.queries],
        "question": [query.question for query in questions.queries],
        "gold": [query.answer for query in questions.queries],
        "response": answers.responses,
        "parsed": grades.parsed,
        "correct": grades.correct,
        "anywhere_correct": grades.anywhere,
        "confidence": answers.confidence,
        "first_token_correct": answers.first_correct,
        "gold_log_prob": answers.gold_log_probability,
        "entropy": answers.entropy,
    }
    if grades.gold_labels:
        shares = answers.log_shares
        columns["label_confidence"] = np.exp(shares.max(axis=1))
        columns["gold_label_log_prob"] = shares[np.arange(len(shares)), grades.gold_labels]
    if answers.token_sums is not None:
        num_tokens, log_probability, entropy = answers.token_sums
        top = zip(answers.top_probabilities, answers.top_texts, strict=True)
        columns["gold_rank"] = answers.gold_rank
        columns["top_tokens"] = answers.top_texts
        columns["top_probabilities"] = [row[: len(texts)] for row, texts in top]
        if grades.gold_labels:
            columns["label_probabilities"] = list(np.exp(answers.label_log_probabilities))
        columns["num_response_tokens"] = num_tokens.astype(np.int64)
        columns["response_log_prob"] = log_probability
        columns["response_entropy"] = entropy / num_tokens
        columns["seconds"] = answers.row_seconds
    return pd.DataFrame(columns)
