from hypothesis import given
from hypothesis import strategies as st

from ia2.prompts.prompt import Prompt, prompt_pieces, prompt_text, prompts_after_fresh_draws, prompts_after_shared
from ia2.tasks.task_spec import Example

POOL = tuple(Example(index, f"Q{index}:", f"{index}!") for index in range(30))
QUERIES = POOL[20:]


def test_the_prompt_is_demonstrations_joined_and_followed_by_a_blank_line_then_the_query() -> None:
    assert prompt_text(Prompt(POOL[:2], POOL[2])) == "Q0:0!\n\nQ1:1!\n\nQ2:"
    assert prompt_text(Prompt((), POOL[2])) == "Q2:"


@given(st.lists(st.sampled_from(POOL), max_size=5), st.sampled_from(POOL))
def test_the_text_is_the_pieces_laid_end_to_end_and_every_answer_is_a_piece_of_its_own(
    demonstrations: list[Example], query: Example
) -> None:
    prompt = Prompt(tuple(demonstrations), query)
    assert "".join(prompt_pieces(prompt)) == "\n\n".join(
        [*(d.question + d.answer for d in demonstrations), query.question]
    )
    assert prompt_pieces(prompt)[1::3] == [demo.answer for demo in demonstrations]
    assert prompt_pieces(Prompt((), query)) == [query.question]


def test_one_list_of_demonstrations_serves_all_evaluation_queries() -> None:
    prompts = prompts_after_shared(QUERIES, POOL[:10], 4, run_idx=0)
    assert [prompt.query for prompt in prompts] == list(QUERIES)
    (shown,) = {prompt.demonstrations for prompt in prompts}
    assert len(set(shown)) == 4
    assert set(shown) <= set(POOL[:10])


def test_the_list_belongs_to_the_run() -> None:
    shown = [prompts_after_shared(QUERIES, POOL[:20], 12, run_idx)[0].demonstrations for run_idx in (0, 0, 1)]
    assert shown[0] == shown[1]
    assert shown[0] != shown[2]


def test_no_more_demonstrations_than_there_are() -> None:
    for prompts in (
        prompts_after_shared(QUERIES, POOL[:8], 100, 3),
        prompts_after_fresh_draws(QUERIES, POOL[:8], 100, 3),
    ):
        assert all(sorted(shown.idx for shown in prompt.demonstrations) == list(range(8)) for prompt in prompts)


def test_no_demonstrations_at_all() -> None:
    assert prompts_after_shared(QUERIES, (), 8, 0) == [Prompt((), query) for query in QUERIES]
    assert prompts_after_fresh_draws(QUERIES, (), 8, 0) == [Prompt((), query) for query in QUERIES]
    assert prompts_after_shared(QUERIES, POOL, 0, 0) == [Prompt((), query) for query in QUERIES]


def test_every_query_draws_its_own_fresh_demonstrations() -> None:
    prompts = prompts_after_fresh_draws(QUERIES, POOL[:20], 6, run_idx=0)
    assert [prompt.query for prompt in prompts] == list(QUERIES)
    assert len({prompt.demonstrations for prompt in prompts}) == len(QUERIES)
    assert all(len(set(prompt.demonstrations)) == 6 for prompt in prompts)
    assert prompts == prompts_after_fresh_draws(QUERIES, POOL[:20], 6, run_idx=0)
    assert prompts != prompts_after_fresh_draws(QUERIES, POOL[:20], 6, run_idx=1)


def test_a_query_never_sees_its_own_question() -> None:
    """Not even from another row: its answer would be there to be copied."""
    twin = Example(99, POOL[5].question, POOL[5].answer)
    for prompts in (prompts_after_shared([twin], POOL, 30, 0), prompts_after_fresh_draws([twin], POOL, 30, 0)):
        assert POOL[5] not in prompts[0].demonstrations
        assert len(prompts[0].demonstrations) == 29
