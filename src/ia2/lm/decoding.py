"""Greedy decoding of many prompts at once, seen by whoever wants to record it.

Written out instead of calling `generate` for three reasons: the body runs without the head on positions nobody reads;
adapters with virtual tokens decode correctly in padded batches; and attention masks follow from positions, so that a
padded slot, a shared prefix or a sliding window can never put a token where another expects it.

Prompts are padded on the right. What all prompts begin with (virtual tokens, shared demonstrations) is computed once.
Rows that have finished leave the batch. A batch that memory does not hold is begun anew as a smaller one.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from ia2.config import StopRule
from ia2.errors import MachineError, UserError
from ia2.icl.encoding import Ids
from ia2.icl.prompts import SEPARATOR
from ia2.lm.forward import Reader, repeated
from ia2.lm.masks import attention_masks
from ia2.lm.memory import fits
from ia2.lm.prefixes import prefix_groups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What one step of decoding shows, for the R rows that are still going, at the position that predicts a token."""

    step: int
    rows: Sequence[int]  # which prompts, by index
    hidden: Tensor  # [R, D], the decoder's last hidden states
    logits: Tensor  # [R, V], in float32
    activations: Tensor | None  # [L, R, D], as the model made them; None where the observer wants none


class Observer(Protocol):
    """Sees every step of decoding, for the rows that are still going."""

    @property
    def activations(self) -> bool:
        """Whether activations are wanted."""
        ...

    def see(self, seen: Seen) -> None:
        """Keep of a step what is wanted. Step 0 makes void what was seen of its rows: memory may run out half-way."""
        ...


class Stopper:
    """Says when a response has ended: at end-of-sequence, or when its text holds the separator.

    A blank line may be one token, part of one, or two newlines in a row, so what counts is the text: each token is
    known to contain it, to end in its first half, or to begin with its second.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rule: StopRule, eos: Sequence[int]) -> None:
        half = SEPARATOR[0]
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))]) if rule == "separator" else []
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
class Decoding:
    """How responses are decoded: at most T tokens, until `stopper` says so (None: always T tokens)."""

    num_generated_tokens: int
    stopper: Stopper | None
    token_budget: int = 2048
    advance: Callable[[int], object] = int
    """Told how many more prompts are answered, for progress bars."""


@torch.no_grad()
def decode(reader: Reader, prompts: Sequence[Ids], how: Decoding, observer: Observer | None = None) -> list[Ids]:
    """The greedy response to each prompt, in the order given; UserError where one does not fit the context."""
    if not prompts:
        return []
    check_context(reader, max(map(len, prompts)) + how.num_generated_tokens)
    responses: dict[int, list[int]] = {}

    def answer(state: State) -> None:
        answered = _decode_batch(state, how, observer)
        responses.update(answered)
        how.advance(len(answered))

    over_batches(reader, prompts, how.token_budget, answer)
    return [tuple(responses[index]) for index in range(len(prompts))]


def over_batches(reader: Reader, prompts: Sequence[Ids], token_budget: int, work: Callable[["State"], object]) -> None:
    """`work` on every prompt once, in batches that have read what their rows share and nothing else yet.

    Where memory runs out, a batch is begun anew with half its rows at most, and so are those after it. MachineError
    where a single prompt does not fit.
    """
    for group in prefix_groups(prompts):
        rests = {row: prompts[row][group.length :] for row in group.rows}
        prefix = _prefill_shared(reader, prompts[group.rows[0]][: group.length])
        waiting = sorted(rests, key=lambda row: -len(rests[row]))
        while waiting:
            rows = {row: rests[row] for row in waiting[: max(1, token_budget // len(rests[waiting[0]]))]}
            if fits(partial(_begin, work, reader, prefix, rows)):
                waiting = waiting[len(rows) :]
            else:
                token_budget = _smaller_budget(reader, rows, group.length)


def _begin(work: Callable[["State"], object], reader: Reader, prefix: DynamicCache, prompts: dict[int, Ids]) -> None:
    work(State(reader, prefix, list(prompts), list(prompts.values())))


def _smaller_budget(reader: Reader, rows: dict[int, Ids], num_shared: int) -> int:
    """The padded tokens of half the rows that memory did not hold."""
    longest = max(map(len, rows.values()))
    if len(rows) == 1:
        raise MachineError(
            f"out of memory: a single prompt of {num_shared + longest} tokens and its response do not fit on "
            f"{reader.device}; lower --max_icl_demos or --icl_max_demos, or use another --device"
        )
    log.warning("memory does not hold %d prompts at once; going on with %d", len(rows), len(rows) // 2)
    return len(rows) // 2 * longest


def check_context(reader: Reader, num_tokens: int) -> None:
    """UserError where a sequence of `num_tokens` is longer than the model can take; nothing is ever cut."""
    limit = getattr(reader.base.config, "max_position_embeddings", None)
    needed = num_tokens + reader.num_virtual_tokens
    if limit is not None and needed > limit:
        raise UserError(
            f"a prompt and its response take {needed} tokens, the model's context holds {limit}: "
            "lower --max_icl_demos, --icl_max_demos or --num_generated_tokens, or take a model with a longer context"
        )


def _prefill_shared(reader: Reader, ids: Ids) -> DynamicCache:
    """The cache, of one row, that every row starts from: virtual tokens, then the shared beginning."""
    cache = reader.virtual_cache(1) or DynamicCache()
    if ids:
        reader.run(input_ids=torch.tensor([ids], device=reader.device), past_key_values=cache, use_cache=True)
    return cache


class State:
    """A batch under way: the cache, the position each of its slots holds (-1: padding), and who is still going."""

    def __init__(self, reader: Reader, prefix: DynamicCache, rows: Sequence[int], prompts: Sequence[Ids]) -> None:
        self.reader = reader
        self.rows = list(rows)
        self.step = 0
        self.cache = repeated(prefix, len(rows))
        start, width = prefix.get_seq_length(), max(map(len, prompts))
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        slots = torch.arange(width)
        own = torch.where(slots < lengths[:, None], slots + start, -1)
        self.slots = torch.cat([torch.arange(start).expand(len(prompts), -1), own], dim=1)  # [R, slots so far]
        self.position = start + lengths  # [R] the position of the next token
        padded = [[*prompt, *[0] * (width - len(prompt))] for prompt in prompts]
        self.input_ids = torch.tensor(padded, device=reader.device)
        self.last = (lengths - 1).to(reader.device)

    def first(self, activations: bool) -> Seen:
        """Read the prompts, and see what their last tokens show."""
        return self._run(activations, self.last, input_ids=self.input_ids)

    def next(self, token: Tensor, activations: bool) -> Seen:
        """Feed one token [R] a row, and see what it shows."""
        self.step += 1
        self.slots = torch.cat([self.slots, self.position[:, None]], dim=1)
        position = self.position[:, None].to(self.reader.device)
        masks = attention_masks(self.reader, self.slots.to(self.reader.device), position)
        ids = token[:, None].to(self.reader.device)
        self.position = self.position + 1
        columns = torch.zeros(len(self.rows), dtype=torch.long, device=self.reader.device)
        return self._run(activations, columns, input_ids=ids, position_ids=position, attention_mask=masks)

    def back(self, num_tokens: int) -> None:
        """Forget the last tokens that were fed, and stand where the rows stood before them."""
        self.step -= num_tokens
        self.slots = self.slots[:, : self.slots.shape[1] - num_tokens]
        self.position = self.position - num_tokens
        self.cache.crop(-num_tokens)

    def _run(self, activations: bool, columns: Tensor, **inputs: Any) -> Seen:
        rows = torch.arange(len(self.rows), device=self.reader.device)
        if activations:
            self.reader.recorder.at(rows, columns)
        hidden = self.reader.hidden(rows, columns, past_key_values=self.cache, use_cache=True, **inputs)
        recorded = self.reader.recorder.take() if activations else None
        return Seen(self.step, self.rows, hidden, self.reader.logits(hidden), recorded)

    def keep(self, going: Tensor) -> None:
        """Let the rows leave that are not `going` [R]."""
        indices = going.nonzero().flatten()
        self.rows = [self.rows[index] for index in indices.tolist()]
        self.slots, self.position = self.slots[indices], self.position[indices]
        for layer in cast(list[DynamicLayer], self.cache.layers):
            layer.batch_select_indices(indices.to(layer.device))


def _decode_batch(state: State, how: Decoding, observer: Observer | None) -> dict[int, list[int]]:
    wants = observer is not None and observer.activations
    responses: dict[int, list[int]] = {row: [] for row in state.rows}
    seen = state.first(wants)
    previous: Tensor | None = None
    while True:
        if observer is not None:
            observer.see(seen)
        token = seen.logits.argmax(dim=-1).cpu()
        for row, value in zip(state.rows, token.tolist(), strict=True):
            responses[row].append(value)
        if seen.step + 1 == how.num_generated_tokens:
            return responses
        if how.stopper is not None:
            ended = how.stopper.ended(token, previous)
            if ended.all():
                return responses
            if ended.any():
                state.keep(~ended)
                token = token[~ended]
        previous = token
        seen = state.next(token, wants)
