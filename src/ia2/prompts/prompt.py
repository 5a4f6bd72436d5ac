"""Prompts: demonstrations and a query as one text, and as token ids.

Demonstrations live in the data: a `Prompt` with none is the student's input, with k the teacher's. Nothing below
this folder knows the difference. A prompt is kept in pieces (question, answer, separator, ..., query), which are
tokenised one by one, so that an answer has the same ids in every prompt: otherwise `:` and the answer's first letters
could merge in a demonstration and not at the query, and the model would be asked for a token it was never shown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from random import Random
from typing import TYPE_CHECKING

from ia2.config import StopRule
from ia2.errors import UserError, library_errors, within
from ia2.tasks.task_spec import Example, TaskSpec

if TYPE_CHECKING:  # splits are drawn without a library of models
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Prompt:
    """One question put to a model, after the demonstrations it may look at."""

    demonstrations: tuple[Example, ...]
    query: Example
    instruction: str = ""

    def instructed(self, spec: TaskSpec) -> "Prompt":
        """With the task's instruction, if it has one for prompts like this one (all, or those with demonstrations)."""
        wanted = bool(self.demonstrations) or spec.instruct == "both"
        return replace(self, instruction=spec.instruction if wanted else "")


def prompt_pieces(prompt: Prompt) -> list[str]:
    """The prompt in the pieces that are tokenised one by one, the instruction before all else."""
    opening = [prompt.instruction, SEPARATOR] if prompt.instruction else []
    pieces = [piece for demo in prompt.demonstrations for piece in (demo.question, demo.answer, SEPARATOR)]
    return [*opening, *pieces, prompt.query.question]


def prompt_text(prompt: Prompt) -> str:
    """Demonstrations joined by, and followed by, a blank line, then the query.

    >>> france, spain = Example(0, "Input: France\\nOutput:", " Paris"), Example(1, "Input: Spain\\nOutput:", " Madrid")
    >>> prompt_text(Prompt((france,), spain))
    'Input: France\\nOutput: Paris\\n\\nInput: Spain\\nOutput:'
    """
    return "".join(prompt_pieces(prompt))


def prompt_after(demonstrations: Iterable[Example], query: Example) -> Prompt:
    """`query` after those demonstrations that do not ask the same, since it would be shown its own answer."""
    return Prompt(tuple(demo for demo in demonstrations if demo.question != query.question), query)


def seeded(*names: object) -> Random:
    """A random generator that belongs to a purpose, the same on every machine."""
    return Random("/".join(map(str, names)))


def prompts_after_shared(
    queries: Sequence[Example], demonstrations: Sequence[Example], num_demonstrations: int, run_idx: int
) -> list[Prompt]:
    """Every query after one seeded list of `num_demonstrations` examples, the same for all queries.

    That is `icl_pool = train`: `demonstrations` are the run's own training examples, so that the prompted model has
    the same labels to look at as the trained one had to learn from.
    """
    chosen = tuple(demonstrations)
    order = seeded("evaluation", run_idx).sample(range(len(chosen)), min(num_demonstrations, len(chosen)))
    return [prompt_after((chosen[i] for i in order), query) for query in queries]


def prompts_after_fresh_draws(
    queries: Sequence[Example], pool: Sequence[Example], num_demonstrations: int, run_idx: int, purpose: str = "fresh"
) -> list[Prompt]:
    """Every query after its own draw of `num_demonstrations` examples of `pool` (`icl_pool = remaining`).

    Another `purpose` makes other draws.
    """
    draw = seeded(purpose, run_idx)
    size = min(num_demonstrations, len(pool))
    return [prompt_after(draw.sample(pool, size), query) for query in queries]


def with_wrong_answers(demos: Sequence[Example], labels: Sequence[str], run_idx: int) -> tuple[Example, ...]:
    """The demonstrations, in their order, each with a wrong answer, seeded by the run, as a control.

    A model that answers as well after them as after right ones took their format and their topic from demonstrations,
    not what they teach. Only answers change: questions, their order and number stay.

    With `labels`, the answers of a closed set: each answer becomes another label, chosen by the example and the run.
    Without: the answers change places so that as few as possible keep theirs, which is none unless more than half of
    them are the same. UserError where no answer can be wrong.
    """
    if not labels and demos:
        answers = _exchanged([demo.answer for demo in demos], run_idx)
        return tuple(replace(demo, answer=answer) for demo, answer in zip(demos, answers, strict=True))
    wrong = []
    for demo in demos:
        others = [label for label in labels if label != demo.answer]
        if not others:
            raise UserError(f"control=wrong_labels: {demo.answer!r} is the only label, so that no other could be shown")
        wrong.append(replace(demo, answer=seeded("wrong labels", run_idx, demo.idx).choice(others)))
    return tuple(wrong)


def _exchanged(answers: list[str], run_idx: int) -> list[str]:
    """The answers, each moved on by as many places as the most frequent answer has, equal ones grouped together."""
    most = max(Counter(answers).values())
    if most == len(answers):
        raise UserError(
            f"control=wrong_labels: all {most} demonstrations have the answer {answers[0]!r}, so that none can take "
            "another's; show more with --icl_max_demos"
        )
    # places in random order, those of equal answers beside each other
    order = seeded("wrong labels", run_idx, len(answers)).sample(range(len(answers)), len(answers))
    first = {answer: rank for rank, answer in reversed(list(enumerate(answers[place] for place in order)))}
    order.sort(key=lambda place: first[answers[place]])
    moved = order[most:] + order[:most]
    return [answers[source] for _, source in sorted(zip(order, moved, strict=True))]


# Token ids

Ids = tuple[int, ...]
TEMPLATE_SECONDS = 10.0
"""A template is a program that comes with the model; it takes a millisecond."""


@dataclass(frozen=True)
class TokenizedExample:
    """One question and the response that is fed after it."""

    prompt: Ids
    response: Ids

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


_BEFORE = (":", "\n", "a", "0", "|")
"""Texts that a continuation is tokenised and decoded behind: the first that shares no token with it."""
_MARK = "\u27e6ia2:answer:{}\u27e7"
"""An answer's place in a rendered chat."""


class PromptTokenizer:
    """Ids of prompts and answers, and texts of responses; every piece of text is tokenised once.

    Tokenizers of the SentencePiece kind begin every text with a blank token. Only the first piece of a prompt gets it:
    later ones are tokenised behind some text, whose ids are cut off. Otherwise the first token of every answer would be
    that blank.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", chat: bool = False, vocabulary: int | None = None) -> None:
        """With `chat`, prompts are turns of the tokenizer's chat template; UserError where it has none.

        `vocabulary` is the number of tokens that the model has embeddings of (None: any).
        """
        if chat and not tokenizer.chat_template:
            raise UserError("--chat_template: this model's tokenizer has no chat template")
        self.tokenizer = tokenizer
        self.chat = chat
        self.vocabulary = vocabulary
        self._seen: dict[str, Ids] = {}
        start = tokenizer.bos_token_id
        begins = start is not None and tokenizer("a").input_ids[0] == start
        self._start: Ids = self._known((start,)) if begins else ()
        self._begins_with_blank = self._continued("a", _BEFORE) not in (None, self._tokenized("a"))
        # a text behind which a response keeps its leading blank, for tokenizers that drop it; else none
        blank = self.ids(" a")
        decoded = {text: tokenizer.decode([*self._tokenized(text), *blank]) for text in ("", *_BEFORE)}
        self._decoded_behind = next((text for text, shown in decoded.items() if shown == f"{text} a"), "")
        # in a chat the text before an answer, the blank that an answer begins with, and the ids that end its turn: the
        # first added token after a demonstration's answer and what is before it; none without such a token
        self._opening, self._blank, self.turn_end = "", "", Ids()
        if chat:
            opening, between, _ = self._rendered_around(["?", "?"], ["!"])
            self._opening = opening.rstrip(" ")
            self._blank = opening[len(self._opening) :]
            ids, added = self.ids(between), tokenizer.added_tokens_decoder
            last = next((index for index, token in enumerate(ids) if token in added), -1)
            self.turn_end = ids[: last + 1]

    def _tokenized(self, text: str) -> Ids:
        if text not in self._seen:
            self._seen[text] = self._known(self.tokenizer(text, add_special_tokens=False).input_ids)
        return self._seen[text]

    def _continued(self, piece: str, before: Sequence[str]) -> Ids | None:
        """The ids of `piece` behind the first text of `before` that shares no token with it; None behind none."""
        for text in before:
            start, whole = self._tokenized(text), self._tokenized(text + piece)
            if whole[: len(start)] == start:
                return whole[len(start) :]
        return None

    def ids(self, piece: str, before: str = "") -> Ids:
        """The ids of a piece that does not begin a prompt, and may follow `before`."""
        contexts = (*filter(None, [before]), *_BEFORE)
        continued = self._continued(piece, contexts) if self._begins_with_blank else None
        return self._tokenized(piece) if continued is None else continued

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

    def prompt(self, prompt: Prompt) -> Ids:
        """The ids of a prompt."""
        if self.chat:
            return self._chat_prompt(prompt)
        first, *others = prompt_pieces(prompt)
        return (*self._start, *self._tokenized(first), *chain.from_iterable(map(self.ids, others)))

    def _chat_prompt(self, prompt: Prompt) -> Ids:
        """Demonstrations and query as turns of the tokenizer's own template.

        The conversation is rendered whole, as history with an answer to the query, and cut off before that answer: so
        the query's turn opens as the template opens an answer without reasoning (an empty think block, a channel).
        """
        answers = [demo.answer.strip() for demo in prompt.demonstrations]
        questions = [demo.question for demo in (*prompt.demonstrations, prompt.query)]
        if prompt.instruction:  # in the first turn of the user, since not every template knows a system's
            questions[0] = f"{prompt.instruction}{SEPARATOR}{questions[0]}"
        parts = [part.removesuffix(self._blank) for part in self._rendered_around(questions, answers)]
        pieces = [self._tokenized(parts[0])]
        for answer, part in zip(answers, parts[1:-1], strict=True):
            pieces += [self.answer_ids(answer), self.ids(part)]
        return tuple(chain.from_iterable(pieces))

    def _rendered_around(self, questions: Sequence[str], answers: Sequence[str]) -> list[str]:
        """The template's text before, between and after the answers to all `questions`, of which the last is unknown.

        UserError where it changes an answer.
        """
        marks = [_MARK.format(index) for index in range(len(questions))]
        text, parts = self._rendered(questions, marks), []
        for mark in marks:
            part, _, text = text.partition(mark)
            parts.append(part)
        parts.append(text)
        last = [*answers, marks[-1]]
        joined = "".join(chain.from_iterable(zip(parts, last, strict=False))) + parts[-1]
        if joined != self._rendered(questions, last):
            raise UserError("this model's chat template cannot be cut into turns; leave out --chat_template")
        return parts

    def _rendered(self, questions: Sequence[str], answers: Sequence[str]) -> str:
        turns = [
            {"role": role, "content": content}
            for pair in zip(questions, answers, strict=True)
            for role, content in zip(("user", "assistant"), pair, strict=True)
        ]
        with library_errors(
            lambda why: f"this model's chat template cannot render a conversation ({why}); leave out --chat_template"
        ):
            return within(TEMPLATE_SECONDS, lambda: str(self.tokenizer.apply_chat_template(turns, tokenize=False)))

    def answer(self, answer: str, num_generated_tokens: int, stop: StopRule) -> Ids:
        """The ids of a ground-truth response: the whole answer and, for more than one token, its end.

        UserError where that is end-of-sequence and the tokenizer has no such token.
        """
        start = self.answer_ids(answer)
        if num_generated_tokens == 1:
            return start
        if self.turn_end:
            return start + self.turn_end
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
        """The ids of an answer after a prompt; in a chat its leading blank is the template's."""
        return self.ids(self._blank + answer.strip(), self._opening) if self.chat else self.ids(answer)

    def text(self, ids: Sequence[int]) -> str:
        """A response's text up to the separator or the end of the turn, without special tokens."""
        end = ids.index(self.turn_end[-1]) if self.turn_end and self.turn_end[-1] in ids else len(ids)
        return self.decode([ids[:end]], skip_special_tokens=True)[0].split(SEPARATOR)[0]

    def decode(self, responses: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        """The text of each response as it continues a prompt: its leading blank is kept."""
        behind = self._tokenized(self._decoded_behind)
        texts = self.tokenizer.batch_decode(
            [[*behind, *ids] for ids in responses], skip_special_tokens=skip_special_tokens
        )
        return [text[len(self._decoded_behind) :] for text in texts]
