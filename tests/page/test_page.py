import re
import subprocess
import sys
from dataclasses import replace

import pytest
from made_up import MadeUpStore, config, fill, settings, training
from pages import Elements, text_of

from ia2.config import ReportConfig
from ia2.errors import UserError
from ia2.flows.reporting import page_data
from ia2.page.page import render_page
from ia2.page.sections import SECTIONS, Section
from ia2.results.costs import StageCost

STAGES = [StageCost("prepare", 0.5, 31_000), StageCost("train", 143.2, 33_000_000, "18 runs"), StageCost("fetch", 2.0)]


def page_of(store: MadeUpStore, stages: list[StageCost] | None = None) -> str:
    data = page_data(store.root, ReportConfig())
    return render_page(data if stages is None else replace(data, stages=tuple(stages)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a whole store, made once: most of its time goes into the figures."""
    store = MadeUpStore(tmp_path_factory.mktemp("whole"))
    fill(store)
    return page_of(store, STAGES)


def test_a_full_page_has_every_section_and_is_well_formed(whole: str) -> None:
    elements = Elements(whole)
    assert not elements.open
    anchors = ["accuracy", "results", "calibration", "examples", "training", "done", "costs", "advice", "findings"]
    anchors += ["commands"]
    assert [value for tag, name, value in elements.attributes if (tag, name) == ("h2", "id")] == anchors
    assert [value for value in elements.values("href") if value.startswith("#")][1:11] == [f"#{a}" for a in anchors]
    assert elements.tags.count("svg") == 3
    assert len(whole) < 2_000_000


@pytest.mark.parametrize("num_sets", [1, 3])
@pytest.mark.usefixtures("undrawn")
def test_the_first_screen_is_short(store: MadeUpStore, num_sets: int) -> None:
    for dataset in ("capitals", "aaa", "bbb")[:num_sets]:
        asked = settings(eval_dataset=dataset)
        store.base((0.0, 75.0), eval=asked)
        for method in ("tok", "a2t"):
            store.adapter(config(method), 70.0, 0.5, eval=asked)
    before = page_of(store).split("<table")[0]
    verdict, *prose = re.findall(r"<(?:p|figcaption)\b[^>]*>(.*?)</", before, flags=re.DOTALL)
    assert 5 < len(verdict.split()) <= 30
    assert len(" ".join([verdict, *prose]).split()) <= 80


def test_the_page_needs_no_network(whole: str) -> None:
    elements = Elements(whole)
    links = elements.values("href") + elements.values("src") + elements.values("xlink:href")
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "@import" not in whole


def test_every_figure_has_an_alternative_text_with_its_numbers(whole: str) -> None:
    labels = [value for value in Elements(whole).values("aria-label") if " on " in value]
    assert any("a2t (IA2 → SFT) 85.0%" in label for label in labels)
    assert any("calibration errors: Base, no demonstrations 0.20" in label for label in labels)
    assert any(label.startswith("Dev loss against step") for label in labels)


def test_what_a_model_wrote_is_escaped(whole: str) -> None:
    assert re.findall("<script[^>]*>", whole) == ['<script type="application/json" id="answers-data">', "<script>"]
    assert whole.count("</script") == 2
    assert "&lt;script&gt;alert(&#39;made up&#39;)&lt;/script&gt;" in whole


def test_three_examples_per_model_right_and_wrong(whole: str) -> None:
    assert whole.count('<article class="query">') == 3 + 1  # and the one that the browser fills in
    # three queries, five models; the base without demonstrations is never right
    assert whole.count('<div class="answer right">') == 12
    assert whole.count('<div class="answer wrong">') == 3
    assert text_of(whole).count("no answer found") == 3
    assert "Input: France" in whole


def test_numbers_sentences_and_costs_are_there(whole: str) -> None:
    text = text_of(whole)
    assert "85.0 ± 5.0" in text
    assert "The teacher is good enough" in text
    assert "4-bit (Q4_1), dequantised" in text
    assert "3 runs of each method" in text
    assert "prepare 0.5 31.0 kB" in text
    assert "train 143.2 33.0 MB 18 runs" in text
    assert "fetch 2.0 –" in text
    assert "Together 145.7" in text


def test_it_says_only_of_what_was_asked_that_it_was(store: MadeUpStore) -> None:
    for method, run_indices in (("tok", (0,)), ("act", (0, 1, 2))):
        for run_idx in run_indices:
            store.adapter(config(method, run_idx), 70.0, 0.5)
    alone = text_of(page_of(store))
    assert "smollm2-135m itself was not asked" in alone
    assert "once with demonstrations" not in alone
    assert "With demonstrations it is the teacher" not in alone
    assert "Adapters were trained, with N = 8 training examples and 1 to 3 runs of each method" in alone
    store.base((0.0, 75.0), eval=settings(icl_source_dataset="past_tense", num_train_examples=4))
    beside = text_of(page_of(store))
    assert (
        "answered queries of capitals (40 examples), once without and once with demonstrations from past_tense."
        in beside
    )
    assert "Adapters were then trained, with N = 8 training examples" in beside


def test_training_is_shown_once_where_both_passes_were_measured(store: MadeUpStore) -> None:
    settled = config("tok")
    store.run(settled, 0.5)
    metrics = {f"{when}_icl_{name}": value for when in ("without", "with") for name, value in (("accuracy", 70.0),)}
    store.write(store.content("adapter", settled, 0, metrics) | {"train": training(0.5)}, "tok", "capitals")
    labels = Elements(page_of(store)).values("aria-label")
    (described,) = (text for text in labels if text.startswith("Dev loss"))
    assert "capitals" in described


@pytest.mark.usefixtures("undrawn")
def test_another_model_has_no_note_on_quantisation(store: MadeUpStore) -> None:
    store.base((0.0, 75.0), eval=settings(model_id="Qwen/Qwen3-4B-Base"))
    assert "dequantised" not in page_of(store)


@pytest.mark.usefixtures("undrawn")
def test_a_weak_teacher_is_a_warning_on_the_page(store: MadeUpStore) -> None:
    store.base((0.0, 40.0))
    page = page_of(store)
    assert '<li class="warning">As a teacher it is weak: it is right in fewer than 50%' in page
    assert "<p>Reasonable: tok, given a weak teacher (N = 8, n = 40, teacher 40.0%" in page
    assert "a good teacher and 4 to 16 labels: a2t; in the paper" in text_of(page)


@pytest.mark.usefixtures("undrawn")
def test_evaluation_sets_are_grouped_with_out_of_distribution_starred_and_last(store: MadeUpStore) -> None:
    for dataset in ("aaa", "capitals"):
        store.base((0.0, 70.0), eval=settings(eval_dataset=dataset))
        store.adapter(config("tok"), 70.0, 0.5, eval=settings(eval_dataset=dataset))
    page = page_of(store)
    assert page.index("<h3>capitals</h3>") < page.index("<h3>aaa* (trained on capitals)</h3>")
    assert "*: out of distribution" in text_of(page)


@pytest.mark.usefixtures("undrawn")
def test_damaged_records_are_listed_and_not_counted(full_store: MadeUpStore) -> None:
    full_store.base((0.0, 1.0), run_idx=3).write_text('{"schema": 1, "kin')
    text = text_of(page_of(full_store))
    assert "outputs/evaluations/base/record021.json" in text
    assert "75.0 ± 2.5" in text


def test_an_empty_store_gives_a_page_that_says_so(store: MadeUpStore) -> None:
    assert "There are no evaluation records below" in text_of(page_of(store))


@pytest.mark.usefixtures("undrawn")
def test_one_record_gives_a_page(store: MadeUpStore) -> None:
    store.adapter(config("tok"), 70.0, 0.5)
    text = text_of(page_of(store))
    assert "n = 1 run" in text
    assert "±" not in text.split("Results")[1].split("Accuracy:")[0]


def test_unfair_candidates_are_an_error_and_no_page(store: MadeUpStore) -> None:
    store.adapter(config("tok", 0, 1e-3), 70.0, 0.5)
    store.adapter(config("tok", 0, 3e-4), 70.0, 0.5)
    store.adapter(config("tok", 1, 3e-4), 70.0, 0.5, eval=settings(run_idx=1))
    with pytest.raises(UserError, match=r"lr=0\.001 lacks run_idx 1"):
        page_of(store)


@pytest.mark.usefixtures("undrawn")
def test_later_work_can_add_a_section(full_store: MadeUpStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ia2.page.page.SECTIONS", [*SECTIONS, lambda data: Section("more", "More", data.stages[0].name)]
    )
    page = page_of(full_store, STAGES)
    assert '<h2 id="more">More</h2>' in page


def test_the_report_needs_no_torch() -> None:
    code = "import sys, ia2.page.page; sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
