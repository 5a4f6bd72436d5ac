"""Collecting targets: ours beside a forward of the whole growing prompt for each token of one query after the other.

    python benchmarks/bench_collect.py                      on a CPU, with SmolLM2; for a GPU see gpu.py

Both sides decode exactly T tokens and record the attention outputs of every layer where each was predicted.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

import plain
import torch
from comparing import Comparison, noise
from floors import decoding
from prompts import Ids, after_orders, after_others, source
from results import Result, side
from running import Bench, evenly, main
from torch import Tensor

from ia2.models.generation import GenerationConfig
from ia2.models.hooked_model import HookedModel
from ia2.training.targets import Targets, collect


@dataclass(frozen=True)
class CollectRow:
    """`num_queries` queries of about `length` tokens, each after demonstrations of that length; T tokens a response.

    With `num_orders` the demonstrations are the same labelled ones for all queries, in so many orders (the low-data
    regime). The plain side answers `plain_queries` of the prompts, at `plain_steps` of the T steps (0: all).
    """

    name: str
    bar: float
    length: int
    num_demonstrations: int
    num_queries: int
    num_tokens: int
    plain_queries: int
    num_orders: int = 0
    plain_steps: int = 0
    rate_bar: float = 0.0

    def small(self) -> "CollectRow":
        return replace(
            self,
            length=10,
            num_demonstrations=min(self.num_demonstrations, 3),
            num_queries=5,
            num_tokens=min(self.num_tokens, 6),
            num_orders=min(self.num_orders, 3),
            plain_steps=min(self.plain_steps, 3),
        )

    def prompts(self, vocabulary: int) -> list[Ids]:
        drawn = source(self.length, vocabulary)
        queries = drawn.examples(self.num_queries)
        if self.num_orders:
            return after_orders(queries, drawn.examples(self.num_demonstrations), self.num_orders, Random(1))
        return after_others(queries, self.num_demonstrations, Random(1))

    def measure(self, bench: Bench) -> Result:
        prompts = self.prompts(bench.shape.vocabulary)
        rows = evenly(len(prompts), self.plain_queries)
        steps = evenly(self.num_tokens, self.plain_steps or self.num_tokens)
        hooked = HookedModel(bench.ours)
        runs = bench.in_turns(
            partial(_ours, hooked, prompts, self.num_tokens),
            lambda targets: _plain(bench, {row: (prompts[row], targets.responses[row]) for row in rows}, steps),
        )
        lengths = [len(prompt) for prompt in prompts]
        measured = f"{len(rows)} of {len(prompts)} prompts, {len(steps)} of {self.num_tokens} steps measured, scaled"
        return Result(
            row=self.name,
            work=f"{len(prompts)} prompts of {min(lengths)} to {max(lengths)} tokens, T={self.num_tokens}",
            bar=self.bar,
            ours=side(runs.ours),
            plain=side(runs.plain, measured, len(rows) * len(steps) / (len(prompts) * self.num_tokens)),
            phases=decoding(bench.shape, prompts, self.num_tokens),
            compared=_compared(bench, prompts, runs.ours[-1].value, runs.plain[-1].value),
            rate_bar=self.rate_bar,
        )


def _ours(hooked: HookedModel, prompts: Sequence[Ids], num_tokens: int) -> Targets:
    return collect(hooked, prompts, GenerationConfig(num_tokens, None), {"tokens", "activations"})


Seen = dict[int, dict[int, plain.Step]]
"""What the plain side saw: prompt -> step -> that."""


def _plain(bench: Bench, chosen: Mapping[int, tuple[Ids, Ids]], steps: Sequence[int]) -> Seen:
    """Where only some steps are measured, they go on from our response, and say what they would go on with."""
    seen: Seen = {}
    for row, (prompt, response) in chosen.items():
        if len(steps) == len(response):
            seen[row] = dict(enumerate(plain.decode(bench.plain, prompt, len(response))))
        else:
            seen[row] = {step: plain.step(bench.plain, prompt + response[:step]) for step in steps}
    return seen


def _compared(bench: Bench, prompts: Sequence[Ids], targets: Targets, seen: Seen) -> list[Comparison]:
    exact = None if bench.exact else _against_float32(bench, prompts, targets, list(seen))
    comparison = bench.comparison(noise=2**0.5 * exact.noise if exact else 0.0)
    for row, steps in seen.items():
        for number, step in steps.items():
            comparison.token(targets.responses[row][number], step.logits)
            if bench.exact:
                comparison.numbers("activations", _recorded(targets, row)[number], step.activations)
    return [comparison, exact] if exact else [comparison]


@torch.no_grad()
def _against_float32(bench: Bench, prompts: Sequence[Ids], targets: Targets, rows: Sequence[int]) -> Comparison:
    """All T tokens of some responses and their activations, beside one forward in float32 over each of them."""
    model = bench.in_float32()
    known = {row: plain.at_answer(model, prompts[row], targets.responses[row]) for row in rows}
    rounded = [plain.at_answer(bench.plain, prompts[row], targets.responses[row])[1] for row in rows]
    of_a_logit = noise(torch.cat(rounded), torch.cat([logits for _, logits in known.values()]))
    comparison = bench.comparison("float32", 2**0.5 * of_a_logit)
    for row, (activations, logits) in known.items():
        for token, at_token in zip(targets.responses[row], logits, strict=True):
            comparison.token(token, at_token)
        comparison.numbers("activations", _recorded(targets, row), activations.transpose(0, 1))
    return comparison


def _recorded(targets: Targets, row: int) -> Tensor:
    """Our activations [G, L, D] of one response."""
    assert targets.activations is not None
    start = sum(map(len, targets.responses[:row]))
    return targets.activations[start : start + len(targets.responses[row])]


ON_CPU = (
    CollectRow("collect-t32", 20, length=9, num_demonstrations=8, num_queries=16, num_tokens=32, plain_queries=1),
    CollectRow("collect-t1", 1.7, length=9, num_demonstrations=8, num_queries=16, num_tokens=1, plain_queries=16),
)
ON_GPU = (
    CollectRow(
        "collect-t200",
        40,
        length=94,
        num_demonstrations=31,
        num_queries=32,
        num_tokens=200,
        plain_queries=2,
        plain_steps=8,
    ),
    CollectRow(
        "collect-long",
        1.5,
        length=94,
        num_demonstrations=31,
        num_queries=32,
        num_tokens=1,
        plain_queries=8,
        rate_bar=0.5,
    ),
    CollectRow(
        "collect-orders",
        8,
        length=100,
        num_demonstrations=8,
        num_queries=20,
        num_tokens=1,
        plain_queries=16,
        num_orders=24,
    ),
)

if __name__ == "__main__":
    sys.exit(main(ON_CPU, __doc__, "smollm2-135m"))
