"""The sections of the page that show comparisons: there where something was compared, absent elsewhere."""

import pytest
from made_up import MadeUpStore, config, settings
from made_up_comparisons import run as applicable
from made_up_comparisons import write_overlap, write_similarity
from pages import Elements, text_of

from ia2.config import ReportConfig
from ia2.errors import UserError
from ia2.flows.reporting import page_data
from ia2.page.page import render_page
from ia2.page.sections import MOST_ANALYSES


def page_of(store: MadeUpStore, **filters: tuple[str, ...]) -> str:
    return render_page(page_data(store.root, ReportConfig(**filters)))


def alternatives(page: str, beginning: str) -> list[str]:
    return [text for text in Elements(page).values("aria-label") if text.startswith(beginning)]


def anchors(page: str) -> list[str]:
    return [value for tag, name, value in Elements(page).attributes if (tag, name) == ("h2", "id")]


@pytest.mark.usefixtures("undrawn")
def test_nothing_compared_gives_no_section(full_store: MadeUpStore) -> None:
    page = page_of(full_store)
    assert not {"similarity", "overlap"} & set(anchors(page))
    assert "Similarity to the teacher" not in text_of(page)


def test_similarities_are_drawn_and_their_means_told(store: MadeUpStore) -> None:
    write_similarity(store.root, mean=0.625)
    write_similarity(store.root, "base", method="base", run=None, mean=None)
    page = page_of(store)
    (told,) = alternatives(page, "Cosine")
    assert told == (
        "Cosine with the teacher by layer, tiny trained on capitals, N = 8; over all layers: "
        "Base, no demonstrations –, act (IA2) 0.625."
    )
    assert "tiny trained on capitals, N = 8" in text_of(page)
    assert "Similarity to the teacher ia2 Copy" in text_of(page)


def test_a_place_and_a_size_have_a_figure_each_and_the_rest_is_named(store: MadeUpStore) -> None:
    for number in range(MOST_ANALYSES + 2):
        write_similarity(store.root, f"{number}", eval_dataset=f"set{number // 2}", num_train_examples=4 + number % 2)
    page = page_of(store)
    assert len(alternatives(page, "Cosine")) == MOST_ANALYSES
    assert "set2, N = 4 and tiny trained on capitals, evaluated on set2, N = 5. This draws them: ia2 plot" in text_of(
        page
    )


def test_overlaps_are_drawn_and_their_means_told(store: MadeUpStore) -> None:
    write_overlap(store.root, "one", 0.25)
    write_overlap(store.root, "two", 0.75)
    write_overlap(store.root, "control", 0.125, relation="runs", config_b=applicable(run_idx=3))
    write_overlap(store.root, "absent", num_rows=0)
    page = page_of(store)
    (told,) = alternatives(page, "Overlap of left")
    assert told.endswith("N = 8: act – tok (same run) 0.500, act – act (other run) 0.125.")
    assert 'fill="var(--ground)"' in page  # what is white on paper is the ground of a dark page
    assert "#ffffff" not in page


@pytest.mark.usefixtures("undrawn")
def test_pairs_without_subspaces_give_no_section(store: MadeUpStore) -> None:
    write_overlap(store.root, "absent", num_rows=0)
    assert "overlap" not in anchors(page_of(store))


@pytest.mark.usefixtures("undrawn")
def test_filters_choose_comparisons_too(full_store: MadeUpStore) -> None:
    write_similarity(full_store.root)
    write_overlap(full_store.root, "one")
    assert {"similarity", "overlap"} <= set(anchors(page_of(full_store, model_types=("act", "tok"))))
    assert not {"similarity", "overlap"} & set(anchors(page_of(full_store, model_types=("tok",))))


@pytest.mark.usefixtures("undrawn")
def test_a_comparison_that_is_not_whole_is_a_problem(full_store: MadeUpStore) -> None:
    write_similarity(full_store.root).write_text("{")
    write_overlap(full_store.root, "one").with_suffix(".parquet").write_bytes(b"PAR1")
    text = text_of(page_of(full_store))
    assert "outputs/similarity/act/capitals/one.json" in text
    assert "outputs/subspace/capitals/one.json : its rows cannot be read" in text


def test_a_comparison_of_a_newer_schema_is_refused(full_store: MadeUpStore) -> None:
    write_similarity(full_store.root, schema=3)
    with pytest.raises(UserError, match="has schema 3, newer than 2"):
        page_of(full_store)


def test_accuracy_against_n_is_drawn_where_several_were_evaluated(store: MadeUpStore) -> None:
    for num, accuracy in ((4, 60.0), (8, 70.0)):
        asked = settings(num_train_examples=num)
        store.base((0.0, 75.0), eval=asked)
        if num == 4:
            assert not alternatives(page_of(store), "Accuracy on")
        store.adapter(config("tok", num_train_examples=num), accuracy, 0.5, eval=asked)
    (told,) = alternatives(page_of(store), "Accuracy on")
    assert told.startswith("Accuracy on capitals against the number of training examples:")
    assert "tok (SFT) at N = 4 60.0%, tok (SFT) at N = 8 70.0%" in told
