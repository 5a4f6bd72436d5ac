"""From text to token ids, and from ids to batches.

Pieces are tokenised one by one and their ids joined, so an answer has the same ids wherever it stands. Batches are
padded on the right whatever the tokenizer prefers: causal attention then needs no padding mask, and answer positions
follow from lengths alone.
"""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, repeat

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ia2.config import StopRule
from ia2.errors import UserError, library_errors, within
from ia2.icl.prompts import SEPARATOR, Episode, prompt_pieces

Ids = tuple[int, ...]
TEMPLATE_SECONDS = 10.0
"""A template is a program that comes with the model; it takes a millisecond."""


@dataclass(frozen=True)
class Encoded:
    """One question and the response that is fed after it."""

    prompt: Ids
    response: Ids

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


class Encoder:
    """Turns episodes and answers into ids; every piece of text is tokenised once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat: bool = False, vocabulary: int | None = None) -> None:
        """With `chat`, prompts are turns of the tokenizer's chat template; UserError where it has none.

        `vocabulary` is the number of tokens that the model has embeddings of (None: any).
        """
        if chat and not tokenizer.chat_template:
            raise UserError("--chat_template: this model's tokenizer has no chat template")
        self.tokenizer = tokenizer
        self.chat = chat
        self.vocabulary = vocabulary
        self._seen: dict[str, Ids] = {}
        self._start = self._start_ids()

    def _start_ids(self) -> Ids:
        """The beginning-of-sequence token, for tokenizers that put one before a text."""
        start = self.tokenizer.bos_token_id
        return self._known((start,)) if start is not None and self.tokenizer("a").input_ids[0] == start else ()

    def ids(self, piece: str) -> Ids:
        if piece not in self._seen:
            self._seen[piece] = self._known(self.tokenizer(piece, add_special_tokens=False).input_ids)
        return self._seen[piece]

    def _known(self, ids: Sequence[int]) -> Ids:
        """The ids, all of which the model has embeddings of; UserError names the first that it has not."""
        beyond = [token for token in ids if self.vocabulary is not None and token >= self.vocabulary]
        if beyond:
            raise UserError(
                f"the token {self.tokenizer.convert_ids_to_tokens(beyond[0])!r} has the id {beyond[0]}, and the model "
                f"has {self.vocabulary} embeddings: its tokenizer is another model's, or tokens were added without "
                "resize_token_embeddings; give a model and a tokenizer that belong together"
            )
        return tuple(ids)

    def prompt(self, episode: Episode) -> Ids:
        """The ids of a prompt."""
        if self.chat:
            return tuple(chain(*map(self.ids, self._chat_pieces(episode))))
        return tuple(chain(self._start, *map(self.ids, prompt_pieces(episode))))

    def _chat_pieces(self, episode: Episode) -> list[str]:
        """Demonstrations and query as turns of the tokenizer's own template, cut around the answers."""
        pieces: list[str] = []
        turns: list[dict[str, str]] = []
        written = ""
        for demo in episode.demonstrations:
            turns.append({"role": "user", "content": _opening(episode, turns) + demo.question})
            opened, answer = self._rendered(turns, to_answer=True), demo.answer.strip()
            turns.append({"role": "assistant", "content": answer})
            closed = self._rendered(turns, to_answer=False)
            if not (opened.startswith(written) and closed.startswith(opened + answer)):
                raise UserError("this model's chat template cannot be cut into turns; leave out --chat_template")
            pieces += [opened[len(written) :], answer, closed[len(opened + answer) :]]
            written = closed
        turns.append({"role": "user", "content": _opening(episode, turns) + episode.query.question})
        return [*pieces, self._rendered(turns, to_answer=True)[len(written) :]]

    def _rendered(self, turns: list[dict[str, str]], to_answer: bool) -> str:
        with library_errors(
            lambda why: f"this model's chat template cannot be rendered ({why}); leave out --chat_template"
        ):
            return within(
                TEMPLATE_SECONDS,
                lambda: str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=to_answer)),
            )

    def answer(self, answer: str, num_generated_tokens: int, stop: StopRule) -> Ids:
        """The ids of a ground-truth response: the whole answer and, for more than one token, what ends it.

        UserError where that is end-of-sequence and the tokenizer has no such token.
        """
        start = self.answer_ids(answer)
        if num_generated_tokens == 1:
            return start
        if not self.chat and stop == "separator":
            return start + self.ids(SEPARATOR)
        end = self.tokenizer.eos_token_id
        if end is None:
            raise UserError(
                f"{'chat_template' if self.chat else f'stop={stop}'}: ground truth ends in end-of-sequence, and "
                "this model's tokenizer has no such token; take --stop separator without --chat_template"
            )
        return (*start, *self._known((end,)))

    def answer_ids(self, answer: str) -> Ids:
        """The ids of an answer as it stands after a prompt; a chat turn begins without a space."""
        return self.ids(answer.strip() if self.chat else answer)

    def text(self, ids: Sequence[int]) -> str:
        """What a response says: its text up to the separator, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).split(SEPARATOR)[0]


def _opening(episode: Episode, turns: Sequence[object]) -> str:
    """The instruction stands in the first turn of the user, since not every template knows a system's."""
    return f"{episode.instruction}{SEPARATOR}" if episode.instruction and not turns else ""


@dataclass(frozen=True)
class Batch:
    """B examples of at most S tokens, padded on the right, with their M answer positions laid end to end.

    `rows` and `columns` say where an answer position stands, `tokens` which token it has to predict. A response of G
    tokens after a prompt of P has the positions P - 1 ... P + G - 2.
    """

    input_ids: Tensor  # [B, S]
    rows: Tensor  # [M]
    columns: Tensor  # [M]
    tokens: Tensor  # [M]

    def __len__(self) -> int:
        return self.input_ids.shape[0]


def collate(examples: Sequence[Encoded], device: torch.device, pad: int = 0) -> Batch:
    """The batch of `examples`; its last response token is never fed, since it predicts nothing."""
    width = max(map(len, examples)) - 1
    fed = [(example.prompt + example.response)[:-1] for example in examples]
    rows = [row for row, example in enumerate(examples) for _ in example.response]
    columns = [len(example.prompt) - 1 + step for example in examples for step in range(len(example.response))]
    tokens = [token for example in examples for token in example.response]
    return Batch(
        input_ids=torch.tensor([[*ids, *repeat(pad, width - len(ids))] for ids in fed], device=device),
        rows=torch.tensor(rows, device=device),
        columns=torch.tensor(columns, device=device),
        tokens=torch.tensor(tokens, device=device),
    )


def budget_batches(sequences: Sequence[Sized], token_budget: int) -> Iterator[list[int]]:
    """Indices of `sequences`, longest first, in batches of at most `token_budget` padded tokens (one at least)."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    while order:
        size = max(1, token_budget // max(1, len(sequences[order[0]])))
        yield order[:size]
        order = order[size:]
