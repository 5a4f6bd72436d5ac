"""What the example browser is given, compared with the parquet files row by row."""

import json
import re

import pandas as pd
import pytest
from made_up import MadeUpStore, agree, config, rewrite, settings

from ia2.page import answers as module
from ia2.page.answers import (
    ENOUGH_QUERIES,
    MOST_CHARACTERS,
    MOST_QUERIES,
    QuerySet,
    browser_data,
    query_sets,
    shortened,
)
from ia2.page.templates import json_for_script
from ia2.results.records import examine_records


def sets_of(store: MadeUpStore, **limits: int) -> list[QuerySet]:
    groups = {str(title): rows for title, rows in store.summary().groupby("title", sort=False)}
    return query_sets(groups, {str(record.path): record for record in examine_records(store.root).found}, **limits)


def told(store: MadeUpStore) -> dict:
    """What the page's script reads, as it reads it."""
    return json.loads(json_for_script(browser_data(sets_of(store), store.root)))


def test_every_answer_of_every_run_is_the_one_in_its_parquet_file(full_store: MadeUpStore) -> None:
    records = {str(record.path): record for record in examine_records(full_store.root).found}
    data = told(full_store)
    (one,) = data["sets"]
    num = 0
    for row, model in zip(full_store.rows(), one["models"], strict=True):
        assert model["name"] == row.name
        for path, run in zip(row.records, model["runs"], strict=True):
            assert (full_store.root / run["file"]).with_suffix(".json") == records[path].path
            frame = pd.read_parquet(records[path].rows).sort_values("idx")
            for place, example in enumerate(frame[frame["with_icl"] == row.with_icl].to_dict("records")):
                assert one["idx"][place] == example["idx"]
                assert data["texts"][one["question"][place]] == example["question"]
                assert data["texts"][one["gold"][place]] == example["gold"].strip()
                assert data["texts"][run["response"][place]] == example["response"]
                parsed = run["parsed"][place]
                assert (None if parsed is None else data["texts"][parsed]) == (
                    None if pd.isna(example["parsed"]) else example["parsed"]
                )
                assert run["correct"][place] == int(example["correct"])
                assert run["confidence"][place] == pytest.approx(example["confidence"], abs=0.005)
                num += 1
    assert num == 5 * 3 * 40
    assert [run["run"] for run in one["models"][0]["runs"]] == [0, 1, 2]


def test_each_text_is_there_once(full_store: MadeUpStore) -> None:
    texts = told(full_store)["texts"]
    assert len(texts) == len(set(texts))


def test_at_most_200_queries_of_a_set_and_the_number_there_is(store: MadeUpStore) -> None:
    path = store.base((50.0, 75.0))
    rows = pd.read_parquet(path.with_suffix(".parquet"))
    frames = [rows.assign(idx=rows["idx"] + 1000 * number) for number in reversed(range(6))]
    pd.concat(frames).to_parquet(path.with_suffix(".parquet"))
    agree(path)
    (one,) = sets_of(store)
    assert one.num_queries == 240
    assert [query.idx for query in one.queries] == [1000 * (n // 40) + n % 40 for n in range(MOST_QUERIES)]
    assert all(len(run.answers) == MOST_QUERIES for model in one.models for run in model.runs)


def test_a_page_holds_as_many_queries_of_every_set_as_there_are_bytes_for(store: MadeUpStore) -> None:
    for dataset in ("capitals", "past_tense"):
        asked = settings(eval_dataset=dataset)
        rewrite(store.base((50.0, 75.0), eval=asked), response=[f"{dataset} {number}" for number in range(80)])
    whole = sets_of(store)
    assert {len(one.queries) for one in whole} == {40}
    size = len(json_for_script(browser_data(whole, store.root)).encode())
    some = sets_of(store, most_bytes=size // 2)
    (num,) = {len(one.queries) for one in some}
    assert 10 < num < 30
    assert len(json_for_script(browser_data(some, store.root)).encode()) < size // 2 + 2000
    assert [one.num_queries for one in some] == [40, 40]
    assert some[0].queries == whole[0].queries[:num]


def test_where_all_runs_would_leave_few_queries_one_run_of_each_model_is_shown(full_store: MadeUpStore) -> None:
    for path in full_store.written:
        num = len(pd.read_parquet(path.with_suffix(".parquet")))
        rewrite(path, response=[f"{path.stem} {number} " + "x" * 1000 for number in range(num)])
    per_query = 5 * 3 * 1000
    (all_runs,) = sets_of(full_store, most_bytes=2 * ENOUGH_QUERIES * per_query)
    (first_run,) = sets_of(full_store, most_bytes=ENOUGH_QUERIES * per_query // 2)
    assert (all_runs.has_all_runs, len(all_runs.queries)) == (True, 40)
    assert [len(model.runs) for model in all_runs.models] == [3] * 5
    assert (first_run.has_all_runs, len(first_run.queries)) == (False, 40)
    assert [[run.run_idx for run in model.runs] for model in first_run.models] == [[0]] * 5
    assert first_run.num_queries == 40


def test_a_long_text_is_cut_and_says_so(store: MadeUpStore) -> None:
    rewrite(store.base((50.0, 75.0)), response="日" * (MOST_CHARACTERS + 7))
    response = told(store)["texts"][-1]
    assert response == shortened("日" * (MOST_CHARACTERS + 7))
    assert response == "日" * MOST_CHARACTERS + " […] (7 more characters in the parquet file)"
    assert shortened("a" * MOST_CHARACTERS) == "a" * MOST_CHARACTERS


@pytest.mark.parametrize(
    "text",
    [
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "]]>",
        "a & b &amp; 'c' \"d\"",
        "\u2028\u2029\x00\x07",
        "日本 ☕ עברית",
    ],
)
def test_no_text_leaves_the_script_element(text: str) -> None:
    written = str(json_for_script({"texts": [text]}))
    assert json.loads(written) == {"texts": [text]}
    assert not re.search("[<>&']", written)


def test_a_query_that_a_run_was_not_asked_has_no_answer_and_comes_after_what_all_were_asked(
    store: MadeUpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.base((50.0, 75.0))
    path = store.adapter(config("tok"), 50.0, 0.5, eval=settings(num_eval_examples=20))
    rows = pd.read_parquet(path.with_suffix(".parquet"))
    rows[rows["idx"] >= 20].to_parquet(path.with_suffix(".parquet"))
    agree(path)
    (one,) = sets_of(store)
    assert [query.idx for query in one.queries] == list(range(40))
    assert [answer is None for answer in one.models[-1].runs[0].answers] == [True] * 20 + [False] * 20
    monkeypatch.setattr(module, "MOST_QUERIES", 25)
    (one,) = sets_of(store)
    assert [query.idx for query in one.queries] == [*range(5), *range(20, 40)]


def test_of_two_examples_of_one_idx_the_first_is_shown(store: MadeUpStore) -> None:
    path = store.base((50.0, 75.0))
    rows = pd.read_parquet(path.with_suffix(".parquet"))
    pd.concat([rows, rows.assign(response="another")]).to_parquet(path.with_suffix(".parquet"))
    agree(path)
    (one,) = sets_of(store)
    assert len(one.queries) == 40
    assert not any(answer.response == "another" for place in range(40) for answer in one.answers_to(place))


def test_damaged_bytes_are_told_with_the_file_and_the_remedy(store: MadeUpStore) -> None:
    path = store.base((50.0, 75.0)).with_suffix(".parquet")
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    (problem,) = examine_records(store.root).problems
    assert problem.path == path.with_suffix(".json")


def test_a_record_without_a_column_is_a_problem(store: MadeUpStore) -> None:
    path = store.base((50.0, 75.0)).with_suffix(".parquet")
    pd.read_parquet(path).drop(columns=["response", "parsed"]).to_parquet(path)
    results = examine_records(store.root)
    assert not results.found
    assert [problem.reason for problem in results.problems] == ["its rows lack response, parsed"]
