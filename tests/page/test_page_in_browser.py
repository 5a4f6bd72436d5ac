"""The page as a person has it: opened from disk in Chromium, without a network, by mouse and by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browsers import Tab, chromium
from made_up import MadeUpStore, config, fill, rewrite, settings
from playwright.sync_api import BrowserContext, Locator, Page, Playwright, expect, sync_playwright

from ia2.config import ReportConfig
from ia2.flows.reporting import write_report

pytestmark = pytest.mark.browser

EVIL = "日本<img src=x onerror=alert(1)>"
"""What models say, that would be a request and a dialogue if it were not escaped."""
NAME = "日本 &quot; ' onerror=alert(1)"
"""A dataset's name that is one; those with markup are refused where a record is read."""
MODELS = ["Base, no demonstrations", "Base + demonstrations (teacher)", "tok (SFT)", "act (IA2)", "a2t (IA2 → SFT)"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of three methods on capitals, one of tok on a set of trying texts, and one never evaluated."""
    store = MadeUpStore(tmp_path_factory.mktemp("store"))
    fill(store)
    asked = settings(eval_dataset=NAME)
    base = store.base((0.0, 50.0), eval=asked)
    tok = store.adapter(config("tok"), 25.0, 0.5, eval=asked)
    texts = [EVIL, "x" * 5000, "مرحبا بالعالم", "</script><script>alert(2)</script>"] * 10
    rewrite(tok, question=texts, response=texts[::-1], gold=[" <b>gold</b>"] * 40)
    rewrite(base, question=texts * 2, response=texts * 2, gold=[" <b>gold</b>"] * 80)
    store.run(config("act", dataset="past_tense"), 0.7)
    return write_report(ReportConfig(root=store.root))


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def context(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with chromium(playwright, tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext, report: Path) -> Iterator[Page]:
    """The page, wide; whatever a test did with it, nothing went wrong and nothing was fetched."""
    tab = Tab.opened(context, report)
    yield tab.page
    tab.page.close()
    assert tab.wrong == []


def names(page: Page) -> list[str]:
    """The models in the first table of results, as it stands."""
    return page.locator(".results").first.locator("tbody th").all_inner_texts()


def heading(page: Page, name: str) -> Locator:
    return page.locator(".results").first.get_by_role("columnheader", name=name, exact=True)


def shown(page: Page) -> str:
    return page.locator("#browser output").inner_text()


# Tables


def test_a_heading_sorts_down_then_up_then_as_it_was(page: Page) -> None:
    accuracy = heading(page, "Accuracy %")
    button = accuracy.get_by_role("button")
    assert names(page) == MODELS
    button.click()
    # 85, 75 twice, 65 and 0 percent
    assert names(page) == [MODELS[4], MODELS[1], MODELS[2], MODELS[3], MODELS[0]]
    expect(accuracy).to_have_attribute("aria-sort", "descending")
    button.click()
    assert names(page) == [MODELS[0], MODELS[3], MODELS[1], MODELS[2], MODELS[4]]
    expect(accuracy).to_have_attribute("aria-sort", "ascending")
    button.click()
    assert names(page) == MODELS
    assert accuracy.get_attribute("aria-sort") is None


def test_one_column_at_a_time_is_sorted_and_what_is_missing_comes_last(page: Page) -> None:
    heading(page, "Accuracy %").get_by_role("button").click()
    p_values = heading(page, "p").get_by_role("button")
    p_values.click()
    assert heading(page, "Accuracy %").get_attribute("aria-sort") is None
    assert set(names(page)[:2]) == {MODELS[3], MODELS[4]}  # the others have no p
    p_values.click()
    expect(heading(page, "p")).to_have_attribute("aria-sort", "ascending")
    assert set(names(page)[:2]) == {MODELS[3], MODELS[4]}


def test_headings_sort_by_keyboard(page: Page) -> None:
    heading(page, "Model").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert names(page) == sorted(MODELS, key=str.lower)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(heading(page, "Accuracy %")).to_have_attribute("aria-sort", "descending")


def test_words_and_choices_filter_the_results(page: Page) -> None:
    form, rows = page.locator("#result-filters"), page.locator(".results tbody tr:visible")
    assert rows.count() == 5 + 3
    form.get_by_label("Search").fill("DEMONSTRATIONS teacher")
    assert rows.count() == 2
    assert form.locator("output").inner_text() == "2 of 8 rows"
    form.get_by_label("Search").fill("")
    form.get_by_label("Evaluation set").select_option("capitals")
    assert rows.count() == 5
    assert page.locator(".result-set:visible").count() == 1
    for name in MODELS[:3]:
        form.get_by_label(name, exact=True).uncheck()
    assert names(page)[3:] == MODELS[3:]
    assert rows.count() == 2
    form.get_by_label("Search").fill("nothing like it")
    assert form.locator("output").inner_text() == "No row passes; choose less."


def test_results_filter_by_keyboard(page: Page) -> None:
    rows = page.locator(".results tbody tr:visible")
    page.locator("#result-filters input[type=search]").focus()
    page.keyboard.type("sft")
    assert rows.count() == 3
    page.keyboard.press("Tab")
    page.keyboard.press("End")  # the last evaluation set
    assert rows.count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # no more tok
    assert rows.count() == 0


# Answers


def answers(report: Path, method: str, with_icl: bool) -> pd.DataFrame:
    """What the first run of a method answered on capitals, at the learning rate that is shown."""
    records = (report.parents[1] / "outputs" / "evaluations" / method).rglob("*.parquet")
    found = [pd.read_parquet(path) for path in sorted(records)]
    frame = next(frame for frame in found if "Input: France\nOutput:" in set(frame["question"]))
    return frame[frame["with_icl"] == with_icl].set_index("idx")


def test_queries_are_looked_through_by_mouse(page: Page) -> None:
    browser = page.locator("#browser")
    assert shown(page) == "1 of 40 (idx 0)"
    assert not page.locator("#first-queries").is_visible()
    assert browser.locator(".question").inner_text() == "Input: France\nOutput:"
    assert browser.locator("dt").all_inner_texts() == [f"{m} {name}" for m, name in zip("✗✓✓✓✓", MODELS, strict=True)]
    browser.get_by_role("button", name="Next").click()
    assert shown(page) == "2 of 40 (idx 1)"
    browser.get_by_role("button", name="Previous").click()
    browser.get_by_role("button", name="Previous").click(force=True)  # there is none before the first
    assert shown(page) == "1 of 40 (idx 0)"
    assert "read as “Paris”, 0.50 sure, right in 3 of 3 runs" in browser.inner_text()


def test_queries_are_looked_through_by_keyboard(page: Page) -> None:
    page.locator("#browser button[name=next]").focus()
    for key, place in (
        ("Enter", 2),
        ("ArrowRight", 3),
        ("End", 40),
        ("ArrowRight", 40),
        ("ArrowLeft", 39),
        ("Home", 1),
    ):
        page.keyboard.press(key)
        assert shown(page).startswith(f"{place} of 40 ")
    page.locator("#browser input[type=search]").focus()
    page.keyboard.type("country 1")
    assert shown(page) == "1 of 12, of 40 (idx 10)"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")  # moves in the word, not in the queries
    assert shown(page) == "2 of 12, of 40 (idx 11)"


def test_only_what_is_wrong_or_where_models_disagree_is_shown(page: Page, report: Path) -> None:
    """The teacher has the first 29 of 40 right, the base model none, tok, act and a2t the first 28, 24 and 32."""
    for method, with_icl, right in (("base", True, 29), ("base", False, 0)):
        assert answers(report, method, with_icl)["correct"].sum() == right
    choice = page.locator("#browser").get_by_label("Show")
    expected = {
        "where models disagree": "1 of 32, of 40 (idx 0)",
        "where some model is wrong": "1 of 40 (idx 0)",
        "where no model is right": "1 of 8, of 40 (idx 32)",
        f"wrong: {MODELS[1]}": "1 of 11, of 40 (idx 29)",
        f"wrong: {MODELS[3]}": "1 of 16, of 40 (idx 24)",
    }
    for option, told in expected.items():
        choice.select_option("every query")
        page.locator("#browser button[name=next]").press("Home")
        choice.select_option(option)
        assert shown(page) == told


def test_the_query_that_is_shown_stays_while_it_passes(page: Page) -> None:
    page.locator("#browser button[name=next]").press("End")
    page.locator("#browser").get_by_label("Show").select_option("where no model is right")
    assert shown(page) == "8 of 8, of 40 (idx 39)"
    page.locator("#browser").get_by_label("Search").fill("country 39")
    assert shown(page) == "1 of 1, of 40 (idx 39)"
    page.locator("#browser").get_by_label("Search").fill("no such word")
    assert shown(page) == "No query passes; choose less."


def test_another_run_and_another_set_are_chosen(page: Page) -> None:
    browser = page.locator("#browser")
    browser.get_by_label("Show").select_option(f"wrong: {MODELS[1]}")
    browser.get_by_label("Run").select_option("1")
    assert shown(page) == "1 of 9, of 40 (idx 31)"  # 77.5% right instead of 72.5%
    browser.get_by_label("Evaluation set").select_option(index=1)
    assert shown(page) == "1 of 40 (idx 0)"
    assert browser.locator("dt").count() == 3
    browser.locator("summary").click()
    assert browser.locator(".source code").all_inner_texts() == [
        "outputs/evaluations/base/record021.parquet",
        "outputs/evaluations/tok/capitals/record022.parquet",
    ]


def test_texts_are_shown_as_they_are_and_nothing_in_them_runs(page: Page) -> None:
    browser = page.locator("#browser")
    browser.get_by_label("Evaluation set").select_option(index=1)
    assert browser.locator(".question").inner_text() == EVIL
    assert browser.locator(".gold strong").inner_text() == "<b>gold</b>"
    page.keyboard.press("Tab")
    browser.get_by_role("button", name="Next").click()
    assert browser.locator(".question").inner_text() == "x" * 4000 + " […] (1000 more characters in the parquet file)"
    assert browser.locator("img").count() == 0


# The whole


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(page: Page, tmp_path: Path, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator("#browser").get_by_label("Evaluation set").select_option(index=1)
    page.keyboard.press("Tab")
    for _ in range(2):  # the second query is one word of 4000 characters
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("#browser button[name=next]").click()
    page.screenshot(path=tmp_path / f"{width}_{scheme}.png", full_page=True)
    assert (tmp_path / f"{width}_{scheme}.png").stat().st_size > 50_000


def test_long_names_are_broken(context: BrowserContext, tmp_path: Path) -> None:
    store = MadeUpStore(tmp_path)
    asked = settings(eval_dataset="x" * 90, model_id="m" * 90)
    store.base((0.0, 75.0), eval=asked)
    tab = Tab.opened(context, write_report(ReportConfig(root=store.root)))
    tab.page.set_viewport_size({"width": 400, "height": 800})
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 400
    tab.page.close()


def test_an_accuracy_leads_to_its_commands_and_they_are_copied(page: Page) -> None:
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    page.get_by_role("link", name="85.0 ± 5.0").click()
    commands = page.locator(".again:target")
    assert commands.get_by_role("heading").inner_text() == "a2t (IA2 → SFT): 85.0%"
    button = commands.get_by_role("button").first
    button.click()
    expect(button).to_have_text("Copied")
    lines = page.evaluate("window.copied").splitlines()
    assert [line.split()[:4] for line in lines] == [["ia2", "train", "--model_id", "smollm2-135m"]] * 3
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('not allowed'); }; }")
    commands.get_by_role("button").last.click()
    assert page.evaluate("getSelection().toString()") == "ia2 evaluate --made_up"


def test_everything_that_takes_a_key_has_a_name(page: Page) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [tabindex="0"], [role=img]')]
            .filter((one) => !(one.textContent.trim() || one.labels?.length || one.ariaLabel))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_without_scripts_there_are_tables_figures_and_the_first_answers(
    playwright: Playwright, report: Path, tmp_path: Path
) -> None:
    with chromium(playwright, tmp_path, scripts=False) as context:
        tab = Tab.opened(context, report)
        page = tab.page
        assert page.locator(".results").first.locator("tbody tr:visible").count() == 5
        assert page.locator("figure svg:visible").count() == 5
        assert page.locator("#first-queries .query:visible").count() == 3 + 3
        assert page.locator("button:visible, input:visible, select:visible").count() == 0
        assert tab.wrong == []
