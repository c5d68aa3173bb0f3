"""Nobody is shut out: axe-core finds nothing serious, what has the focus is seen, and the keyboard reaches all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from tests.builders import finished, write_run
from tests.e2e.browser.conftest import NARROW, WIDE, Site, Watch, open_tab, settle, tab_names, unfold
from trainer.report import write as reports

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
# Nothing changes its colour any more; what pulses for ever does not count.
_STILL = """() => document.getAnimations().every((one) =>
    one.playState !== "running" || one.effect?.getComputedTiming().iterations === Infinity)"""
# [impact, rule, element] of what axe-core calls serious or critical.
_RUN = """() => axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations
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


def shut_out(page: Any) -> list[Any]:
    page.wait_for_function(_STILL)  # half-way colours are nobody's
    page.evaluate(AXE)
    found: list[Any] = page.evaluate(_RUN)
    return found


@pytest.mark.parametrize(
    ("language", "scheme", "size"), [("en", "light", WIDE), ("ko", "dark", NARROW)], ids=["light", "dark"]
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
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
