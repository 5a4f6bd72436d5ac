from hypothesis import given
from hypothesis import strategies as st

from ia2.icl.prompts import Episode, evaluation_episodes, fresh_episodes, prompt_pieces, prompt_text
from ia2.tasks.base import Example

POOL = tuple(Example(index, f"Q{index}:", f"{index}!") for index in range(30))
QUERIES = POOL[20:]


def test_the_prompt_is_demonstrations_joined_and_followed_by_a_blank_line_then_the_query() -> None:
    assert prompt_text(Episode(POOL[:2], POOL[2])) == "Q0:0!\n\nQ1:1!\n\nQ2:"
    assert prompt_text(Episode((), POOL[2])) == "Q2:"


@given(st.lists(st.sampled_from(POOL), max_size=5), st.sampled_from(POOL))
def test_the_text_is_the_pieces_laid_end_to_end_and_every_answer_is_a_piece_of_its_own(
    demonstrations: list[Example], query: Example
) -> None:
    episode = Episode(tuple(demonstrations), query)
    assert "".join(prompt_pieces(episode)) == "\n\n".join(
        [*(d.question + d.answer for d in demonstrations), query.question]
    )
    assert prompt_pieces(episode)[1::3] == [demo.answer for demo in demonstrations]
    assert prompt_pieces(Episode((), query)) == [query.question]


def test_one_list_of_demonstrations_serves_all_evaluation_queries() -> None:
    episodes = evaluation_episodes(QUERIES, POOL[:10], 4, run_idx=0)
    assert [episode.query for episode in episodes] == list(QUERIES)
    (shown,) = {episode.demonstrations for episode in episodes}
    assert len(set(shown)) == 4
    assert set(shown) <= set(POOL[:10])


def test_the_list_belongs_to_the_run() -> None:
    shown = [evaluation_episodes(QUERIES, POOL[:20], 12, run_idx)[0].demonstrations for run_idx in (0, 0, 1)]
    assert shown[0] == shown[1]
    assert shown[0] != shown[2]


def test_no_more_demonstrations_than_there_are() -> None:
    for episodes in (evaluation_episodes(QUERIES, POOL[:8], 100, 3), fresh_episodes(QUERIES, POOL[:8], 100, 3)):
        assert all(sorted(shown.idx for shown in episode.demonstrations) == list(range(8)) for episode in episodes)


def test_no_demonstrations_at_all() -> None:
    assert evaluation_episodes(QUERIES, (), 8, 0) == [Episode((), query) for query in QUERIES]
    assert fresh_episodes(QUERIES, (), 8, 0) == [Episode((), query) for query in QUERIES]
    assert evaluation_episodes(QUERIES, POOL, 0, 0) == [Episode((), query) for query in QUERIES]


def test_every_query_draws_its_own_fresh_demonstrations() -> None:
    episodes = fresh_episodes(QUERIES, POOL[:20], 6, run_idx=0)
    assert [episode.query for episode in episodes] == list(QUERIES)
    assert len({episode.demonstrations for episode in episodes}) == len(QUERIES)
    assert all(len(set(episode.demonstrations)) == 6 for episode in episodes)
    assert episodes == fresh_episodes(QUERIES, POOL[:20], 6, run_idx=0)
    assert episodes != fresh_episodes(QUERIES, POOL[:20], 6, run_idx=1)


def test_a_query_never_sees_its_own_question() -> None:
    """Not even from another row: its answer would be there to be copied."""
    twin = Example(99, POOL[5].question, POOL[5].answer)
    for episodes in (evaluation_episodes([twin], POOL, 30, 0), fresh_episodes([twin], POOL, 30, 0)):
        assert POOL[5] not in episodes[0].demonstrations
        assert len(episodes[0].demonstrations) == 29
