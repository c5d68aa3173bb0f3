"""Nobody is shut out: axe-core finds nothing serious, what has the focus is seen, and the keyboard reaches all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from tests.builders import finished, write_run
from tests.e2e.browser.conftest import NARROW, TABS, WIDE, Site, Watch, open_tab, settle, tab_names, unfold, visit
from trainer.report import write as reports
from trainer.text import words

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
SCHEMES = ["light", pytest.param("dark", marks=pytest.mark.slow)]
# Nothing changes its colour any more; what pulses for ever does not count.
_STILL = """() => document.getAnimations().every((one) =>
    one.playState !== "running" || one.effect?.getComputedTiming().iterations === Infinity)"""
# [impact, rule, element] of what axe-core calls serious or critical, in the whole page or what a selector finds.
_RUN = """(within) => axe.run(within || document, {resultTypes: ["violations"]}).then((found) => found.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .flatMap((one) => one.nodes.map((node) => [one.impact, one.id, node.html.slice(0, 200)])))"""
# Whatever can have the focus and does not look otherwise with it, the boxes around it included.
_UNSEEN = """() => {
    const look = (one) => [one, one.parentElement, one.parentElement?.parentElement].map((each) => {
        const {outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor} = getComputedStyle(each);
        return [outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor].join();
    }).join("|");
    const unseen = [];
    for (const one of document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")) {
        if (!one.offsetParent || one.disabled) continue;
        document.activeElement?.blur();
        const before = look(one);
        one.focus({focusVisible: true, preventScroll: true});
        if (document.activeElement === one && look(one) === before) unseen.push(one.outerHTML.slice(0, 200));
    }
    document.activeElement?.blur();
    return unseen;
}"""


@pytest.fixture(scope="module", autouse=True)
def _made(site: Site) -> Iterator[None]:
    for name in ("tiny-1", "tiny-2"):
        write_run(site.outputs, name, finished())
    yield


def shut_out(page: Any, within: str = "") -> list[Any]:
    page.wait_for_function(_STILL)  # half-way colours are nobody's
    page.evaluate(AXE)
    found: list[Any] = page.evaluate(_RUN, within)
    return found


@pytest.mark.parametrize(
    ("language", "scheme", "size"),
    [("en", "light", WIDE), pytest.param("ko", "dark", NARROW, marks=pytest.mark.slow)],
    ids=["light", "dark"],
)
def test_no_tab_shuts_anybody_out(site: Site, new_page: Any, language: str, scheme: str, size: Any) -> None:
    page = new_page(site, size=size, scheme=scheme, lang=language, run="tiny-1")
    page.wait_for_function("language => document.documentElement.lang === language", arg=language)
    for name in tab_names(page):
        open_tab(page, name)
        settle(page)
        unfold(page)
        assert shut_out(page) == [], name
        assert page.evaluate(_UNSEEN) == [], name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_dialog_shuts_anybody_out(site: Site, new_page: Any, scheme: str) -> None:
    """What appears for a question: two runs beside each other, and whether one is to be deleted."""
    page = new_page(site, scheme=scheme, lang="en", tab="runs")
    for name in ("tiny-1", "tiny-2"):
        page.locator(f'.g-tick[data-run="{name}"]').click()
    page.locator('button[data-do="compare"]').click()
    page.locator(".g-panel svg").first.wait_for()
    assert shut_out(page) == []
    page.locator('button[data-do="more"][data-run="tiny-1"]').click()
    page.locator('button[data-do="delete"]').click()
    page.locator('.g-panel [data-do="deleted"]').wait_for()
    assert shut_out(page) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_report_shuts_anybody_out(site: Site, browser: Any, watch: Watch, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(reports.text_of([site.run("tiny-1")], "en", "html"), "utf-8")
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    watch.follow(page)
    watch.files.add(file.as_uri())
    page.goto(file.as_uri())
    unfold(page)
    found = shut_out(page)
    context.close()
    assert found == []


@pytest.mark.parametrize("language", ["en", pytest.param("ko", marks=pytest.mark.slow)])
def test_the_first_key_on_every_tab_offers_start_and_enter_goes_there(site: Site, new_page: Any, language: str) -> None:
    """Without a mouse: Tab, Enter, and what has the focus starts a run."""
    from playwright.sync_api import expect

    page, say = new_page(site, lang=language, run="tiny-1"), words(language)
    for tab in TABS:
        visit(page, site, lang=language, run="tiny-1", tab=tab)
        page.keyboard.press("Tab")
        link = page.locator("a:focus")
        expect(link).to_have_text(say("page.skip"))
        box = link.bounding_box()
        assert box is not None and box["width"] > 40 and box["x"] >= 0 and box["y"] >= 0, box
        assert shut_out(page, "a:focus") == [], tab
        page.keyboard.press("Enter")
        expect(page.get_by_role("tab", name=say("tab.train"), exact=True)).to_have_attribute("aria-selected", "true")
        expect(page.locator("[data-part=start]:focus, [data-part=start] [data-start]:focus")).to_be_visible()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('[data-part=start]') !== null"), tab


def test_on_a_phone_live_and_health_show_what_matters_and_the_rest_when_asked(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, size=NARROW, lang="en", run="tiny-1", tab="live")
    small = page.locator(".g-board-holder .g-cell")
    small.first.wait_for()
    seen = small.locator("visible=true")
    assert seen.count() == 3
    assert page.evaluate("document.documentElement.scrollHeight") < 5 * NARROW[1]
    page.get_by_label(words("en")("live.all_charts")).check()
    page.wait_for_function("() => document.documentElement.scrollHeight > 6 * innerHeight")
    assert seen.count() == small.count() > 10

    open_tab(page, words("en")("tab.health"))
    rows = page.locator(".g-health tbody tr")
    rows.first.wait_for()
    assert 0 < rows.locator("visible=true").count() < rows.count()
    page.get_by_label(words("en")("health.all")).check()
    expect(page.locator(".g-health tbody tr:visible")).to_have_count(rows.count())
