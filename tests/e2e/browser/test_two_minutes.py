"""The first evening in one go: a cold page, the two-minute button, the tour, the end, and what can be done then."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.e2e.browser.conftest import Site, live_button, open_tab, state_of, steps, visit, wait_for
from tests.records import log_lines
from trainer import launch
from trainer.run.rundir import RunDir

PATIENCE_MS = 600_000  # for a whole run of the preset, on a machine that does other things as well
POINTS = '.g-board .g-large svg[role="img"] path[class^="g-line"]'
TOUR = ("Live", "Groups", "Health", "Try it")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_a_cold_page_to_what_it_learnt_and_on(own_site: Site, new_page: Any) -> None:
    """The preset as it is: the button takes no other."""
    from playwright.sync_api import expect

    page = new_page(own_site, lang="en")
    began = time.monotonic()
    visit(page, own_site, lang="en")
    page.locator("[data-first]").click()
    expect(page.get_by_role("tab", name="Live")).to_have_attribute("aria-selected", "true")
    expect(state_of(page)).to_contain_text("tiny-1")
    line = page.locator(POINTS).first
    line.wait_for(state="attached", timeout=PATIENCE_MS)
    expect(line).not_to_have_attribute("d", line.get_attribute("d") or "")
    print(f"\na moving reward after 1 click, {time.monotonic() - began:.1f} s from opening the page")
    follow_the_tour(page)
    run = own_site.run("tiny-1")
    look_at_then_and_now(page)
    the_end_says_what_was_learnt(page, run)
    print(f"the end after {time.monotonic() - began:.0f} s")
    read_the_report(page)
    try_it(page)
    export_it(page, run)
    train_further(page, run)


def follow_the_tour(page: Any) -> None:
    """Four lines, each of which turns to what it is about; closed, it stays away."""
    from playwright.sync_api import expect

    tour = page.locator(".g-tour")
    expect(tour.locator("li")).to_have_count(len(TOUR))
    for place, name in enumerate(TOUR):
        tour.locator("li button").nth(place).click()
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
    open_tab(page, "Live")
    tour.locator("[data-tour-close]").click()
    expect(tour).to_be_hidden()


def look_at_then_and_now(page: Any) -> None:
    from playwright.sync_api import expect

    expect(page.locator(".g-then .g-answered").first).to_contain_text("Before GRPO", timeout=PATIENCE_MS)


def the_end_says_what_was_learnt(page: Any, run: RunDir) -> None:
    """ "47 % -> 99 %, right on 128 questions it never saw": what the run's own evaluations say."""
    from playwright.sync_api import expect

    card = page.locator(".g-finish")
    expect(card).to_be_visible(timeout=PATIENCE_MS)
    evals = {event["at"]: event for event in log_lines(run.events, "eval")}
    before, after = (100 * evals[at]["correct_frac"] for at in ("before", "after"))
    assert after > before
    shown = re.search(r"([\d.]+) % \u2192 ([\d.]+) %", card.inner_text())
    assert shown is not None, card.inner_text()
    assert [float(number) for number in shown.groups()] == pytest.approx([before, after], abs=0.5)
    assert "right on 128 questions it never saw" in card.inner_text()
    assert card.locator("li").count() > 0
    assert len(steps(run)) == 150
    for name in ("stop", "pause", "save", "resume"):
        expect(live_button(page, name)).to_be_hidden()
    told = page.locator(".g-then > .g-answered")
    expect(told).to_have_count(3)
    for place, text in enumerate(("Before GRPO", "Step 50", "(step 150)")):
        expect(told.nth(place)).to_contain_text(text)


def read_the_report(page: Any) -> None:
    from playwright.sync_api import expect

    live_button(page, "report").click()
    report = page.locator(".g-live .g-report iframe").content_frame.locator("body")
    for text in ("tiny-1", "128", "reward"):
        expect(report).to_contain_text(text)


def try_it(page: Any) -> None:
    from playwright.sync_api import expect

    live_button(page, "tryit").click()
    expect(page.get_by_role("tab", name="Try it")).to_have_attribute("aria-selected", "true")
    page.locator(".g-try textarea").first.fill("Reverse: abcde")
    page.locator(".g-try button.primary").click()
    for place in range(2):
        answer = page.locator(".try-card").nth(place).locator(".try-answer")
        expect(answer).to_have_text(re.compile(r"\S"), timeout=PATIENCE_MS)


def export_it(page: Any, run: RunDir) -> None:
    """The merged weights, written and downloaded."""
    from playwright.sync_api import expect

    open_tab(page, "Live")
    live_button(page, "export").click()
    expect(page.get_by_role("tab", name="Try it")).to_have_attribute("aria-selected", "true")
    page.get_by_role("button", name="Merged", exact=False).first.click()
    folder = page.locator(".g-try summary").filter(has_text=re.compile(r"merged-\d+"))  # of the best checkpoint
    folder.click(timeout=PATIENCE_MS)
    link = page.locator('a[href*="/exports/tiny-1/"]').filter(has_text="model.safetensors")
    with page.expect_download() as found:
        link.click()
    [weights] = run.exports.glob("*/model.safetensors")
    assert found.value.path().read_bytes() == weights.read_bytes()


def train_further(page: Any, run: RunDir) -> None:
    """Asks first; then it goes on with the next step."""
    from playwright.sync_api import expect

    open_tab(page, "Live")
    live_button(page, "further").click()
    question = page.locator(".g-sure").filter(has_text="150 more steps, from 150 to 300")
    expect(question).to_be_visible()
    question.get_by_role("button", name="No", exact=True).click()
    expect(question).to_be_hidden()
    live_button(page, "further").click()
    question.get_by_role("button", name="Yes, train further").click()
    expect(page.locator(".prose.g-told")).to_contain_text("to step 300")
    expect(live_button(page, "stop")).to_be_enabled(timeout=PATIENCE_MS)
    wait_for(lambda: len(steps(run)) > 152)
    live_button(page, "stop").click()
    expect(live_button(page, "resume")).to_be_enabled(timeout=PATIENCE_MS)
    assert launch.status_of(run) == "stopped"
    assert steps(run)[:152] == list(range(1, 153))
