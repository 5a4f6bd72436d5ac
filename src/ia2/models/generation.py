"""Greedy decoding of many prompts at once, and teacher-forced passes over given responses.

Written out instead of calling `generate` for three reasons: the body runs without the head on positions nobody reads;
adapters with virtual tokens decode correctly in padded batches; and attention masks follow from positions, so that a
padded slot, a shared prefix or a sliding window can never put a token where another expects it.

Prompts are padded on the right. A prefix of many prompts (virtual tokens, shared demonstrations) is computed once and
held once for many of them (`packing.py`). Rows that have finished leave the batch; where a GPU replays its steps, they
are no longer looked at (`cuda_graphs.py`). A batch that memory does not hold is begun anew as a smaller one.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig, PreTrainedTokenizerBase

from ia2.config import StopRule
from ia2.errors import MachineError, UserError, ran_out_of_memory
from ia2.models.cuda_graphs import FEWEST_STEPS, ReplayedSteps
from ia2.models.hooked_model import HookedModel
from ia2.models.packing import (
    DecodingState,
    PackedRow,
    StepOutput,
    Suffix,
    TokenBudget,
    affordable,
    batch_size,
    halved,
    pack_rows,
    prefill_prefixes,
    prefix_groups,
)
from ia2.prompts.prompt import SEPARATOR, Ids, PromptTokenizer, TokenizedExample

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Stopper:
    """The end of a response: end-of-sequence, or the separator in its text.

    A blank line may be one token, part of one, or two newlines in a row, so the text decides: each token is known to
    contain it, to end in its first half, or to begin with its second.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rule: StopRule, eos: Sequence[int]) -> None:
        half = SEPARATOR[0]
        known = [[token] for token in range(len(tokenizer))]
        texts = PromptTokenizer(tokenizer).decode(known) if rule == "separator" else []
        texts.append("")  # of ids beyond the tokenizer's (padded vocabularies)
        self._eos = torch.tensor(sorted(set(eos)), dtype=torch.long)
        self._contains = torch.tensor([SEPARATOR in text for text in texts])
        self._ends = torch.tensor([text.endswith(half) for text in texts])
        self._begins = torch.tensor([text.startswith(half) for text in texts])

    def ended(self, token: Tensor, previous: Tensor | None) -> Tensor:
        """True for each of R rows [R] that ends with `token` [R] after `previous` [R] (None at the first token)."""
        known = token.clamp(max=len(self._contains) - 1)
        ended = torch.isin(token, self._eos) | self._contains[known]
        if previous is not None:
            ended |= self._ends[previous.clamp(max=len(self._ends) - 1)] & self._begins[known]
        return ended


@dataclass(frozen=True)
class GenerationConfig:
    """Responses of at most T tokens, each until `stopper` ends it (None: always T tokens)."""

    num_generated_tokens: int
    stopper: Stopper | None = None
    token_budget: int | None = None
    """Padded tokens of one batch (None: by the memory of the device)."""


@torch.no_grad()
def generate(  # noqa: PLR0913 - a request, and those who watch it
    hooked: HookedModel,
    prompts: Sequence[Ids],
    config: GenerationConfig,
    observe: Callable[[StepOutput], object] = lambda _output: None,
    *,
    activations: bool = False,
    progress: Callable[[int], object] = lambda _num_rows: None,
) -> list[Ids]:
    """The greedy response to each prompt, in the order given; UserError where one does not fit the context.

    `observe` is called with every step, with `activations` if requested. A step 0 voids earlier steps of its rows:
    memory may run out half-way, and the batch is begun again. `progress` is called with each batch's number of rows.
    """
    if not prompts:
        return []
    check_context(hooked, max(map(len, prompts)) + config.num_generated_tokens)
    num_steps = config.num_generated_tokens - 1
    replayed = hooked.on_one_gpu and num_steps >= FEWEST_STEPS

    def decode(state: DecodingState) -> dict[int, list[int]]:
        responses: dict[int, list[int]] = {row: [] for row in state.rows}
        output = state.next()
        steps = ReplayedSteps(state, num_steps) if replayed else state
        previous: Tensor | None = None
        while True:
            observe(output)
            token = output.logits.argmax(dim=-1).cpu()
            for row, value in zip(output.rows, token.tolist(), strict=True):
                responses[row].append(value)
            if output.step == num_steps:
                return responses
            if config.stopper is not None:
                active = ~config.stopper.ended(token, previous)
                if not active.any():
                    return responses
                if not active.all():
                    steps.keep(active)
                    token = token[active]
            previous = token
            output = steps.next(token)

    responses: dict[int, list[int]] = {}
    batches = run_batches(
        hooked, prompts, decode, config.token_budget, num_new_tokens=num_steps + 1, activations=activations
    )
    for answered in batches:
        responses |= answered
        progress(len(answered))
    return [tuple(responses[row]) for row in range(len(prompts))]


@torch.no_grad()
def teacher_forced(
    hooked: HookedModel, examples: Sequence[TokenizedExample], token_budget: int | None = None, *, activations: bool
) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
    """Batch by batch the indices of examples, and at their answer positions, end to end, hidden states [M, D] and, if
    requested, activations [L, M, D]. UserError where an example does not fit the context."""
    check_context(hooked, max(map(len, examples)))

    def read(state: DecodingState) -> tuple[list[int], Tensor, Tensor | None]:
        num_read = torch.tensor([len(examples[row].response) for row in state.rows])
        return state.rows, *state.forward(state.suffixes, state.lengths, num_read)

    prompts, fed = [example.prompt for example in examples], [example.response[:-1] for example in examples]
    yield from run_batches(hooked, prompts, read, token_budget, following=fed, activations=activations)


def run_batches(  # noqa: PLR0913 - the prompts, what is done with them, and what bounds a batch
    hooked: HookedModel,
    prompts: Sequence[Ids],
    work: Callable[[DecodingState], Result],
    token_budget: int | None = None,
    *,
    num_new_tokens: int = 0,
    following: Sequence[Ids] | None = None,
    activations: bool = False,
) -> Iterator[Result]:
    """Results of `work` on batches that hold every prompt once, with their shared prefixes read and nothing else yet.

    A batch has at most `token_budget` padded tokens (None: by the memory of the device). Each prompt is read in one
    pass with the tokens of `following`, which are never part of a shared prefix; `num_new_tokens` at most come after.

    Where memory runs out, a batch is begun anew as a smaller one, and so are those after it. MachineError where a
    single prompt does not fit.
    """

    def begin(prefixes: DynamicCache, batch: Sequence[PackedRow]) -> Result:
        return work(DecodingState(hooked, prefixes, batch, activations))

    budget = affordable(hooked.base, num_new_tokens) if token_budget is None else TokenBudget(token_budget)
    queue, most = sorted(prefix_groups(prompts), key=lambda group: -group[0]), budget.tokens
    while queue:
        # Prefixes that the budget allows together, longest first; prompts that share nothing are apart, ordinary rows
        longest, _ = queue[0]
        groups = [group for group in queue[: max(1, most // longest)] if group[0]] if longest else queue
        prefixes = attempt(prefill_prefixes, hooked, [prompts[rows[0]][:length] for length, rows in groups])
        if prefixes is None:
            _check_divisible(hooked, len(groups), longest)
            most = len(groups) // 2 * longest
            continue
        queue = queue[len(groups) :]
        suffixes = [
            Suffix(
                row,
                ids=prompts[row][length:] + (following[row] if following else ()),
                prefix=index,
                num_shared=hooked.num_virtual_tokens + length,
            )
            for index, (length, rows) in enumerate(groups)
            for row in rows
        ]
        waiting = pack_rows(suffixes, num_new_tokens, budget)
        while waiting:
            batch = waiting[: batch_size(waiting, budget)]
            result = attempt(begin, prefixes, batch)
            if result is None:
                first = batch[0][0]
                _check_divisible(hooked, sum(map(len, batch)), first.num_shared + len(first.ids))
                budget = halved(budget, batch)
                waiting = pack_rows(chain.from_iterable(waiting), num_new_tokens, budget)
            else:
                waiting = waiting[len(batch) :]
                yield result


def attempt(work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
    """The result of `work`, None where memory ran out: torch reports neither need nor free memory beforehand.

    The memory is free again by then, since no traceback holds on to it.
    """
    try:
        return work(*args, **kwargs)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _check_divisible(hooked: HookedModel, num_rows: int, num_tokens: int) -> None:
    """Log that memory did not hold this many rows at once; MachineError where it was one, of `num_tokens`."""
    if num_rows == 1:
        raise MachineError(
            f"out of memory: a single prompt of {num_tokens} tokens and its response do not fit on "
            f"{hooked.device}; lower --max_icl_demos or --icl_max_demos, or use another --device"
        )
    log.warning("memory does not hold %d prompts at once; going on with fewer", num_rows)


def context_of(config: PreTrainedConfig) -> int | None:
    """The most tokens that a sequence may have; None where the model has no such limit."""
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
