"""Greedy decoding of many prompts at once, seen by whoever wants to record it.

Written out instead of calling `generate` for three reasons: the body runs without the head on positions nobody reads;
adapters with virtual tokens decode correctly in padded batches; and attention masks follow from positions, so that a
padded slot, a shared prefix or a sliding window can never put a token where another expects it.

Prompts are padded on the right. What many prompts begin with (virtual tokens, shared demonstrations) is computed once
and held once for many of them (`lanes.py`). Rows that have finished leave the batch; where a GPU replays its steps,
they are no longer looked at (`replay.py`). A batch that memory does not hold is begun anew as a smaller one.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from ia2.config import StopRule
from ia2.errors import MachineError, UserError
from ia2.models.decoding_graphs import steps_after
from ia2.models.decoding_state import DecodingState, PrefixCache, StepOutput, read_prefixes
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import BatchScheduler, PackedRow, Suffix, read_together
from ia2.models.placement import attempt
from ia2.models.prefixes import prefix_groups
from ia2.models.token_budget import TokenBudget, affordable
from ia2.prompts.prompt import SEPARATOR
from ia2.prompts.tokenization import Ids, PromptTokenizer

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Sees every step of decoding, for the rows that are still going."""

    @property
    def activations(self) -> bool:
        """Whether activations are wanted."""
        ...

    def see(self, seen: StepOutput) -> None:
        """Keep of a step what is wanted. Step 0 makes void what was seen of its rows: memory may run out half-way."""
        ...


class Stopper:
    """Says when a response has ended: at end-of-sequence, or when its text holds the separator.

    A blank line may be one token, part of one, or two newlines in a row, so what counts is the text: each token is
    known to contain it, to end in its first half, or to begin with its second.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rule: StopRule, eos: Sequence[int]) -> None:
        half = SEPARATOR[0]
        known = [[token] for token in range(len(tokenizer))]
        texts = PromptTokenizer(tokenizer).decode(known) if rule == "separator" else []
        self._eos = torch.tensor(sorted(set(eos)), dtype=torch.long)
        self._whole = torch.tensor([SEPARATOR in text for text in texts], dtype=torch.bool)
        self._ends = torch.tensor([text.endswith(half) for text in texts], dtype=torch.bool)
        self._begins = torch.tensor([text.startswith(half) for text in texts], dtype=torch.bool)

    def ended(self, token: Tensor, previous: Tensor | None) -> Tensor:
        """Whether each of R rows [R] ends with `token` [R] after `previous` [R] (None at the first token)."""
        ended = torch.isin(token, self._eos)
        if len(self._whole):
            ended = ended | _flag(self._whole, token)
            if previous is not None:
                ended = ended | (_flag(self._ends, previous) & _flag(self._begins, token))
        return ended


def _flag(flags: Tensor, token: Tensor) -> Tensor:
    """flags[token], False for ids beyond the tokenizer's (padded vocabularies)."""
    return flags[token.clamp(max=len(flags) - 1)] & (token < len(flags))


@dataclass(frozen=True)
class GenerationConfig:
    """How responses are decoded: at most T tokens, until `stopper` says so (None: always T tokens)."""

    num_generated_tokens: int
    stopper: Stopper | None
    token_budget: int | None = None
    """Padded tokens of one batch (None: by the memory of the device)."""
    advance: Callable[[int], object] = int
    """Told how many more prompts are answered, for progress bars."""


@torch.no_grad()
def generate(
    hooked: HookedModel, prompts: Sequence[Ids], how: GenerationConfig, observer: Observer | None = None
) -> list[Ids]:
    """The greedy response to each prompt, in the order given; UserError where one does not fit the context."""
    if not prompts:
        return []
    check_context(hooked, max(map(len, prompts)) + how.num_generated_tokens)
    responses: dict[int, list[int]] = {}

    def answer(state: DecodingState) -> None:
        answered = _decode_batch(state, how, observer)
        responses.update(answered)
        how.advance(len(answered))

    for_each_batch(hooked, prompts, Feeding(how.token_budget, how.num_generated_tokens), answer)
    return [tuple(responses[index]) for index in range(len(prompts))]


@dataclass(frozen=True)
class Feeding:
    """What prompts are fed in batches of at most so many padded tokens (None: by the memory of the device): after each
    prompt and in the same pass what `after` says, which is never part of what rows share; then so many tokens at most.
    """

    token_budget: int | None
    num_new_tokens: int = 0
    after: Sequence[Ids] | None = None


def for_each_batch(
    hooked: HookedModel, prompts: Sequence[Ids], feeding: Feeding, work: Callable[[DecodingState], object]
) -> None:
    """`work` on every prompt once, in batches that have read what their rows share and nothing else yet.

    Where memory runs out, a batch is begun anew as a smaller one, and so are those after it. MachineError where a
    single prompt does not fit.
    """
    told, after = feeding.token_budget, feeding.after
    budget = affordable(hooked.base, feeding.num_new_tokens) if told is None else TokenBudget(told)
    waiting = list(read_together(prefix_groups(prompts), budget.tokens))
    while waiting:
        groups = waiting.pop(0)
        shared = [prompts[group.rows[0]][: group.length] for group in groups]
        beginnings = attempt(read_prefixes, hooked, shared)
        if beginnings is None:
            half = len(groups) // 2
            _tell_smaller(hooked, len(groups), len(shared[0]))
            waiting[:0] = [groups[:half], groups[half:]]
            continue
        rests = [
            Suffix(row, prompts[row][group.length :] + (after[row] if after else ()), place)
            for place, group in enumerate(groups)
            for row in group.rows
        ]
        queue = BatchScheduler(rests, beginnings.lengths, feeding.num_new_tokens, budget)
        _work_off(queue, hooked, partial(_begin, work, hooked, beginnings))
        budget = queue.budget


def _begin(
    work: Callable[[DecodingState], object], hooked: HookedModel, beginnings: PrefixCache, lanes: Sequence[PackedRow]
) -> None:
    work(DecodingState(hooked, beginnings, lanes))


def _work_off(queue: BatchScheduler, hooked: HookedModel, work: Callable[[Sequence[PackedRow]], object]) -> None:
    while queue.lanes:
        lanes = queue.next()
        if attempt(lambda lanes: (work(lanes), True), lanes) is not None:
            queue.drop(lanes)
        else:
            rest = lanes[0][0]
            _tell_smaller(hooked, sum(map(len, lanes)), queue.shared[rest.beginning] + len(rest.ids))
            queue.halve(lanes)


def _tell_smaller(hooked: HookedModel, num_rows: int, num_tokens: int) -> None:
    """Say that memory did not hold so many rows at once; MachineError where it was one of so many tokens."""
    if num_rows == 1:
        raise MachineError(
            f"out of memory: a single prompt of {num_tokens} tokens and its response do not fit on "
            f"{hooked.device}; lower --max_icl_demos or --icl_max_demos, or use another --device"
        )
    log.warning("memory does not hold %d prompts at once; going on with fewer", num_rows)


def context_of(config: PreTrainedConfig) -> int | None:
    """How many tokens a sequence may have; None where the model has no such limit."""
    limit: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit


def check_context(hooked: HookedModel, num_tokens: int) -> None:
    """UserError where a sequence of `num_tokens` is longer than the model can take; nothing is ever cut."""
    limit = context_of(hooked.base.config)
    needed = num_tokens + hooked.num_virtual_tokens
    if limit is not None and needed > limit:
        raise UserError(
            f"a prompt and its response take {needed} tokens, the model's context holds {limit}: "
            "lower --max_icl_demos, --icl_max_demos or --num_generated_tokens, or take a model with a longer context"
        )


def _decode_batch(state: DecodingState, how: GenerationConfig, observer: Observer | None) -> dict[int, list[int]]:
    responses: dict[int, list[int]] = {row: [] for row in state.rows}
    seen = state.first(observer is not None and observer.activations)
    steps = steps_after(state, how.num_generated_tokens - 1)
    previous: Tensor | None = None
    while True:
        if observer is not None:
            observer.see(seen)
        token = seen.logits.argmax(dim=-1).cpu()
        for row, value in zip(steps.rows, token.tolist(), strict=True):
            responses[row].append(value)
        if seen.step + 1 == how.num_generated_tokens:
            return responses
        if how.stopper is not None:
            ended = how.stopper.ended(token, previous)
            if ended.all():
                return responses
            if ended.any():
                steps.keep(~ended)
                token = token[~ended]
        previous = token
        seen = steps.next(token)
