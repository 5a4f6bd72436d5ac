"""Evaluation at T = 1: ours beside a forward over one query after the other, logits of every position.

    python benchmarks/bench_evaluate.py                     on a CPU, with SmolLM2; for a GPU see gpu.py

Both sides predict the first token of every query and say how probable it and the gold answer are.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Literal
from unittest.mock import patch

import numpy as np
import plain
import torch
from comparing import Comparison, noise
from floors import distinct, forward
from machine import timed
from prompts import Ids, after_fresh, after_one_list, source
from results import Result, side
from running import Bench, evenly, main

from ia2.evaluation.metrics import ScoredAnswers
from ia2.evaluation.scoring import ScoreRecorder
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel

ONE_BATCH = 10**9
"""A token budget that every prompt fits into."""


@dataclass(frozen=True)
class EvaluateRow:
    """`num_queries` queries of about `length` tokens, each after demonstrations of that length: one list for all, or
    a fresh draw for each. The plain side answers `plain_queries` of them.

    With `shared_rows`, so many of the prompts are read in one batch with and without prefix sharing, and the peaks of
    memory above the weights compared.
    """

    name: str
    bar: float
    length: int
    num_queries: int
    plain_queries: int
    num_demonstrations: int = 0
    demonstrations: Literal["one list", "fresh"] = "one list"
    shared_rows: int = 0

    def small(self) -> "EvaluateRow":
        return replace(
            self, length=10, num_queries=9, plain_queries=9, num_demonstrations=min(self.num_demonstrations, 3)
        )

    def prompts(self, vocabulary: int) -> list[Ids]:
        drawn = source(self.length, vocabulary)
        queries = drawn.examples(self.num_queries)
        if self.demonstrations == "one list":
            return after_one_list(queries, drawn.examples(self.num_demonstrations))
        return after_fresh(queries, drawn.examples(4 * self.num_demonstrations), self.num_demonstrations, Random(1))

    def measure(self, bench: Bench) -> Result:
        prompts = self.prompts(bench.shape.vocabulary)
        gold = Random(2).choices(range(bench.shape.vocabulary), k=len(prompts))
        rows = evenly(len(prompts), self.plain_queries)
        hooked = HookedModel(bench.ours)
        runs = bench.in_turns(
            partial(_ours, hooked, prompts, gold, GenerationConfig(1, None)),
            lambda _scores: [plain.score(bench.plain, prompts[row], gold[row]) for row in rows],
        )
        more = (_memory_shared(bench, hooked, prompts[: self.shared_rows]),) if self.shared_rows else ()
        lengths = [len(prompt) for prompt in prompts]
        return Result(
            row=self.name,
            work=f"{len(prompts)} prompts of {min(lengths)} to {max(lengths)} tokens, T=1",
            bar=self.bar,
            ours=side(runs.ours),
            plain=side(runs.plain, f"{len(rows)} prompts measured, scaled", len(rows) / len(prompts)),
            phases=[forward(bench.shape, distinct(prompts), len(prompts))],
            compared=_compared(bench, prompts, rows, runs.ours[-1].value, runs.plain[-1].value),
            more=more,
        )


def _ours(hooked: HookedModel, prompts: Sequence[Ids], gold: Sequence[int], how: GenerationConfig) -> ScoredAnswers:
    recorder = ScoreRecorder(gold)
    generate(hooked, prompts, how, recorder.record)
    return recorder.answers


def _compared(
    bench: Bench, prompts: Sequence[Ids], rows: Sequence[int], ours: ScoredAnswers, others: Sequence[plain.Score]
) -> list[Comparison]:
    if bench.exact:
        comparison = bench.comparison()
        _compare_tokens(comparison, rows, ours, others)
        _compare_numbers(comparison, rows, ours, others)
        return [comparison]
    model = bench.in_float32()
    exact = [plain.score(model, prompts[row], int(ours.gold[row])) for row in rows]
    of_a_logit = noise(torch.stack([one.logits for one in others]), torch.stack([one.logits for one in exact]))
    comparison, against = bench.comparison(noise=2 * of_a_logit), bench.comparison("float32", 2**0.5 * of_a_logit)
    _compare_tokens(comparison, rows, ours, others)
    _compare_tokens(against, rows, ours, exact)
    _compare_numbers(against, rows, ours, exact)
    return [comparison, against]


def _compare_tokens(
    comparison: Comparison, rows: Sequence[int], ours: ScoredAnswers, others: Sequence[plain.Score]
) -> None:
    for row, other in zip(rows, others, strict=True):
        comparison.token(int(ours.token[row]), other.logits)


def _compare_numbers(
    comparison: Comparison, rows: Sequence[int], ours: ScoredAnswers, others: Sequence[plain.Score]
) -> None:
    """Log-probabilities: of the predicted token and of the gold answer's first."""
    logs = [math.log(one.confidence) for one in others]
    comparison.numbers("log confidences", np.log(ours.confidence[rows]), logs, unit=1.0)
    golds = [one.gold_log_probability for one in others]
    comparison.numbers("log-probabilities", ours.gold_log_probability[rows], golds, unit=1.0)


def _memory_shared(bench: Bench, hooked: HookedModel, prompts: Sequence[Ids]) -> str:
    """Peaks of memory of one batch, where what its prompts share is read once, and where every prompt is read whole."""
    work = partial(_ours, hooked, prompts, [0] * len(prompts), GenerationConfig(1, None, ONE_BATCH))
    shared = timed(bench.device, work, exact_memory=True).peak_bytes
    with patch("ia2.models.generation.prefix_groups", _one_group):
        whole = timed(bench.device, work, exact_memory=True).peak_bytes
    told = f"{shared / 1e6:.1f} MB with prefix sharing, {whole / 1e6:.1f} MB without"
    return f"peak above the weights of one batch of {len(prompts)} prompts: {told} ({shared / whole:.2f}, bar 0.25)"


def _one_group(prompts: Sequence[Ids]) -> list[tuple[int, list[int]]]:
    """In place of `prefix_groups`: nothing is shared."""
    return [(0, list(range(len(prompts))))]


ON_CPU = (EvaluateRow("evaluate", 6, length=10, num_queries=200, plain_queries=100),)
ON_GPU = (
    EvaluateRow("evaluate", 8, length=100, num_queries=500, plain_queries=32),
    EvaluateRow(
        "evaluate-one-list",
        8,
        length=100,
        num_queries=500,
        plain_queries=16,
        num_demonstrations=20,
        shared_rows=32,
    ),
    EvaluateRow(
        "evaluate-fresh",
        1.3,
        length=100,
        num_queries=500,
        plain_queries=16,
        num_demonstrations=20,
        demonstrations="fresh",
    ),
)

if __name__ == "__main__":
    sys.exit(main(ON_CPU, __doc__, "smollm2-135m"))
