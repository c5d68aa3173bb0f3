"""From a cold page to a run that is going, with one click."""

from __future__ import annotations

from typing import Any

from tests.e2e.browser.conftest import NARROW, Site, open_tab, state_of


def test_one_click_starts_the_first_run_and_a_tour_that_stays_closed(own_site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(own_site, lang="en")
    expect(page.locator("#g-opening")).to_have_count(0)
    expect(page.locator(".g-chooser")).to_be_hidden()
    page.locator("[data-first]").click()
    live = page.get_by_role("tab", name="Live")
    expect(live).to_have_attribute("aria-selected", "true")
    expect(state_of(page)).to_contain_text("tiny-1")
    assert own_site.run("tiny-1").read_spec().optim.max_steps == 150
    tour = page.locator(".g-tour")
    expect(tour).to_be_visible()
    expect(tour.locator("li")).to_have_count(4)
    tour.get_by_role("button", name="Groups", exact=True).click()
    expect(page.get_by_role("tab", name="Groups")).to_have_attribute("aria-selected", "true")
    tour.locator("[data-tour-close]").click()
    expect(tour).to_be_hidden()
    page.reload()
    page.wait_for_function("window.pageOpened === true")
    expect(page.locator(".g-chooser")).to_be_visible()
    expect(tour).to_be_hidden()


def test_presets_for_other_machines_unfold_with_their_reasons_and_nothing_is_cut(site: Site, new_page: Any) -> None:
    from playwright.sync_api import expect

    page = new_page(site, size=NARROW, lang="ko")
    fold = page.locator("details.t-class").first
    card = fold.locator(".t-card").first
    expect(card).to_be_hidden()
    fold.locator("> summary").click()
    card.locator("label").click()
    expect(card.locator("input")).to_be_checked()
    card.locator("summary").click()
    expect(card.locator(".t-why")).to_contain_text("model.name")
    cut = page.evaluate(
        "[...document.querySelectorAll('.t-cards')].filter((each) => each.scrollHeight > each.clientHeight + 1).length"
    )
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert (cut, wide) == (0, 0)
    page.locator("[data-own]").click()
    assert page.evaluate("document.activeElement.closest('[data-part=data]') !== null")
    open_tab(page, page.get_by_role("tab").nth(1).inner_text().strip())
    expect(page.locator(".g-tour")).to_be_hidden()
