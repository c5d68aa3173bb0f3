"""What models, data and errors say does nothing in a browser: the page, the report, the address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser.conftest import NARROW, TABS, Site, Watch, open_tab, settle, tab_names, turn, unfold, visit
from tests.e2e.browser.poison import Canary, listening, write_poisoned
from trainer.report import write as reports
from trainer.run.rundir import RunDir

pytestmark = pytest.mark.slow

RUNS = ("evil-1", "evil-2")
# A piece as a person reads it: where it is missing, the texts were not shown, and the test would prove nothing.
SEEN = "<img src="
# What would be there if a piece had been taken for markup.
GROWN = (
    'img[src*="127.0.0.1"], image, iframe[srcdoc*="/frame"]:not([sandbox]), [onerror], [onload]:not(body), [ontoggle],'
    ' [onfocus], a[href^="javascript:" i], link[href*="/sheet"], script[src*="/script"], base[href*="127.0.0.1"],'
    ' meta[http-equiv="refresh"]'
)


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    with listening() as heard:
        yield heard


@pytest.fixture(scope="module")
def runs(site: Site, canary: Canary) -> list[RunDir]:
    ends = ("run_finished", "run_failed")
    return [write_poisoned(site.outputs, name, canary, end) for name, end in zip(RUNS, ends, strict=True)]


@pytest.mark.parametrize(("run", "language"), [(RUNS[0], "en"), (RUNS[1], "ko")])
def test_texts_of_a_run_do_nothing_in_any_tab(
    site: Site, runs: Any, canary: Canary, new_page: Any, run: str, language: str
) -> None:
    page = new_page(site, lang=language, run=run)
    read = ""
    for name in tab_names(page):
        open_tab(page, name)
        settle(page)
        unfold(page)
        read += page.inner_text("body")
        nothing_happened(page, canary)
    assert SEEN in read


def test_they_do_nothing_on_a_narrow_dark_screen(site: Site, runs: Any, canary: Canary, new_page: Any) -> None:
    page = new_page(site, size=NARROW, scheme="dark", run="evil-1", tab="live")
    read = ""
    for tab in TABS:  # the bar of a narrow page holds only some
        turn(page, tab)
        settle(page)
        unfold(page)
        read += page.inner_text("body")
        nothing_happened(page, canary)
    assert SEEN in read


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("number", [0, 1, None], ids=["finished", "failed", "compared"])
def test_a_report_that_was_saved_and_opened_does_nothing(
    runs: list[RunDir], canary: Canary, browser: Any, watch: Watch, tmp_path: Path, language: str, number: int | None
) -> None:
    """No headers of the page's protect a file: here it is the text alone."""
    file = tmp_path / "report.html"
    file.write_text(reports.text_of(runs if number is None else [runs[number]], language, "html"), "utf-8")
    context = browser.new_context()
    try:
        page = context.new_page()
        watch.follow(page)
        watch.files.add(file.as_uri())
        page.goto(file.as_uri())
        unfold(page)
        page.wait_for_timeout(500)
        # A comparison tells numbers and names only.
        assert number is None or SEEN in page.inner_text("body")
        nothing_happened(page, canary)
    finally:
        context.close()


def test_an_address_that_was_made_up_does_nothing(site: Site, runs: Any, canary: Canary, new_page: Any) -> None:
    page = None
    for piece in (*canary.pieces()[:2], "javascript:window.canary=1", "${alert(1)}", "../../etc"):
        everywhere = dict.fromkeys(("run", "tab", "lang", "preset", "step"), piece)
        if page is None:
            page = new_page(site, **everywhere)
        else:
            visit(page, site, **everywhere)
        settle(page)
        assert page.get_by_role("tab", name="Train").get_attribute("aria-selected") == "true"
        nothing_happened(page, canary)


def nothing_happened(page: Any, canary: Canary) -> None:
    """Dialogs, requests and refusals of the browser are the watch's to find, at the end of the test."""
    for frame in page.frames:
        grown = frame.locator(GROWN)
        assert grown.evaluate_all("all => all.map((each) => each.outerHTML.slice(0, 300))") == []
        assert frame.evaluate("typeof window.canary") == "undefined"
    assert canary.asked == []
