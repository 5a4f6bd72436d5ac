"""Questions put to a model: texts, scores of the first token or of all, and the time that each response took."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import PREFIXING, TokenizerKind, tiny_model, tiny_tokenizer

from ia2.evaluation import scoring
from ia2.evaluation.evaluation_set import EvaluationSet, EvaluationSpec, grade
from ia2.evaluation.metrics import ScoredAnswers
from ia2.evaluation.scoring import ScoreRecorder, answer, answer_table
from ia2.models.hooked_model import HookedModel
from ia2.models.loading import LanguageModel
from ia2.models.packing import StepOutput
from ia2.prompts.prompt import Prompt
from ia2.tasks.task_spec import Example, TaskSpec

SPEC = TaskSpec(
    name="mood", template="Text:{text}\nLabel:", answer_template="{label}", parser="choice", labels={"0": "", "1": ""}
)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel(tiny_model("llama"), tiny_tokenizer(), "tiny", "a revision")


def questions(labels: Sequence[str] = ("0", "1")) -> EvaluationSet:
    queries = [Example(i, f"Text:{'very ' * i}good\nLabel:", str(i % 2)) for i in range(7)]
    spec = SPEC if labels else SPEC.model_copy(update={"labels": {}, "parser": "line"})
    return EvaluationSet("mood", spec, tuple(Prompt((), query) for query in queries))


def said(lm: LanguageModel, asked: EvaluationSet, every_token: bool, token_budget: int = 2048) -> ScoredAnswers:
    spec = EvaluationSpec("mood", "mood", 0, 4, 0, 4, "tiny", uncertainty_analysis=every_token)
    return answer(HookedModel(lm.model), lm, asked, spec, token_budget)


def table_of(asked: EvaluationSet, answers: ScoredAnswers) -> pd.DataFrame:
    golds = [query.answer for query in asked.queries]
    return answer_table(asked, grade(asked.spec, golds, answers.responses), answers)


def test_scoring_every_token_changes_nothing_of_the_first(lm: LanguageModel) -> None:
    asked = questions()
    first, every = (said(lm, asked, every_token) for every_token in (False, True))
    assert (first.token_sums, first.top_texts) == (None, ())
    for name, values in vars(first).items():
        if name not in ("token_sums", "top_texts", "row_seconds", "seconds"):
            np.testing.assert_array_equal(values, getattr(every, name))


def test_batched_equals_one_by_one(lm: LanguageModel) -> None:
    asked = questions()
    tables = [table_of(asked, said(lm, asked, True, budget)) for budget in (2048, 1)]
    batched, alone = (table.drop(columns="seconds").to_dict("list") for table in tables)
    for column, values in batched.items():
        if isinstance(values[0], float | np.ndarray):
            np.testing.assert_allclose(np.array(values), np.array(alone[column]), rtol=1e-4, err_msg=column)
        else:
            assert values == alone[column], column


def test_the_most_probable_tokens_are_texts_in_their_order(lm: LanguageModel) -> None:
    answers = said(lm, questions(), True)
    texts = [lm.tokenizer.decode([token]) for token in answers.top_tokens[0]]
    assert answers.top_texts[0] == texts
    assert len(texts) == 10


def test_label_probabilities_are_those_of_the_vocabulary(lm: LanguageModel) -> None:
    asked = questions()
    table = table_of(asked, said(lm, asked, True))
    prompt_tokenizer = lm.prompt_tokenizer()
    for prompt, found in zip(asked.prompts, table.label_probabilities, strict=True):
        with torch.no_grad():
            logits = lm.model(torch.tensor([prompt_tokenizer.prompt(prompt)])).logits[0, -1].double()
        ids = [prompt_tokenizer.ids(label)[0] for label in ("0", "1")]
        assert found == pytest.approx(logits.softmax(dim=-1)[ids].tolist(), rel=1e-4)


@pytest.mark.parametrize("kind", PREFIXING)
def test_first_token_scores_are_of_the_answer_where_every_text_begins_with_a_blank(kind: TokenizerKind) -> None:
    """Against one plain forward over the ids of the whole text, prompt and answer together."""
    lm, labels = LanguageModel(tiny_model("phi3"), tiny_tokenizer(kind=kind), "tiny", "a revision"), ("Label", "Output")
    queries = [Example(i, f"Text:a {word} :", labels[i % 2]) for i, word in enumerate(("film", "town", "Spain"))]
    spec = SPEC.model_copy(update={"labels": dict.fromkeys(labels, "")})
    asked = EvaluationSet("mood", spec, tuple(Prompt((), query) for query in queries))
    answers = said(lm, asked, False)
    assert answers.label_rule == "first_token"
    for query, found in zip(queries, answers.gold_log_probability, strict=True):
        whole = lm.tokenizer(query.question + query.answer, return_offsets_mapping=True)
        at = next(place for place, (start, _) in enumerate(whole.offset_mapping) if start == len(query.question))
        with torch.no_grad():
            logits = lm.model(torch.tensor([whole.input_ids[:at]])).logits[0, -1].double()
        assert found == pytest.approx(float(logits.log_softmax(dim=-1)[whole.input_ids[at]]), rel=1e-4)


def test_free_text_has_no_label_probabilities(lm: LanguageModel) -> None:
    free = questions(labels=())
    assert "label_probabilities" not in table_of(free, said(lm, free, True))


def test_the_time_of_a_batch_is_shared_among_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of two rows, 6 seconds; then one begun anew in halves, which count as batches of 3 seconds and 1."""
    clock = iter([0.0, 6.0, 9.0, 10.0])
    monkeypatch.setattr(scoring, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    recorder = ScoreRecorder([0] * 4)

    def shows(step: int, *rows: int) -> None:
        recorder.record(StepOutput(step, rows, torch.zeros(len(rows), 1), torch.zeros(len(rows), 3), None))

    shows(0, 2, 0)
    shows(1, 0)
    recorder.end_batch()
    shows(0, 1, 3)  # does not fit the memory
    shows(0, 1)
    recorder.end_batch()
    shows(0, 3)
    recorder.end_batch()
    assert recorder.answers.row_seconds.tolist() == [3.0, 3.0, 3.0, 1.0]


def test_every_response_has_its_time(lm: LanguageModel) -> None:
    answers = said(lm, questions(), True, token_budget=40)
    assert (answers.row_seconds > 0).all()
    assert answers.row_seconds.sum() <= answers.seconds
