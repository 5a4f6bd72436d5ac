"""The answers of one pass as a table, one row for each query: what a record keeps beside its numbers."""

from typing import Any

import numpy as np
import pandas as pd

from ia2.evaluation.answering import Answers, TokenScores
from ia2.evaluation.evaluation_set import EvaluationSet, Grades


def answer_table(questions: EvaluationSet, marks: Grades, answers: Answers) -> pd.DataFrame:
    """The rows in order of the queries; docs/artifacts.md says what each column is.

    Where every token is scored there are more columns than otherwise, after those that are always there.
    """
    first, tokens = answers.first, answers.tokens
    columns: dict[str, Any] = {
        "idx": [query.idx for query in questions.queries],
        "question": [query.question for query in questions.queries],
        "gold": [query.answer for query in questions.queries],
        "response": answers.responses,
        "parsed": marks.parsed,
        "correct": marks.correct,
        "anywhere_correct": marks.anywhere,
        "confidence": first.confidence,
        "first_token_correct": first.correct,
        "gold_log_prob": first.gold_log_probability,
        "entropy": first.entropy,
    }
    if answers.labels is not None:
        logs = answers.labels.log_shares
        gold = logs[np.arange(len(logs)), list(questions.gold_labels)]
        columns |= {"label_confidence": np.exp(logs.max(axis=1)), "gold_label_log_prob": gold}
    return pd.DataFrame(columns | (_scored(answers, tokens) if tokens else {}))


def _scored(answers: Answers, tokens: TokenScores) -> dict[str, Any]:
    top = zip(answers.first.top_probabilities, tokens.top_texts, strict=True)
    labels = {} if answers.labels is None else {"label_probabilities": list(np.exp(answers.labels.log_probabilities))}
    return {
        "gold_rank": answers.first.gold_rank,
        "top_tokens": tokens.top_texts,
        "top_probabilities": [row[: len(texts)] for row, texts in top],
        **labels,
        "num_response_tokens": tokens.responses.num_tokens,
        "response_log_prob": tokens.responses.log_probability,
        "response_entropy": tokens.responses.entropy,
        "seconds": tokens.seconds,
    }
